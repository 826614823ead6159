"""Lesson 9: is_repetitive, is_overlong, penalised_reward and is_garbled."""

import random
import unicodedata

from checking.tasks import Case, Mistake, Task

# --- is_repetitive --------------------------------------------------------------------------------


def repetitive(ids, n, limit, *, more=lambda count, limit: count > limit,
               starts=lambda length, n: range(length - n + 1), size=lambda n: n):
    n = size(n)
    runs = [list(ids[i : i + n]) for i in starts(len(ids), n)]
    return any(more(sum(run == other for other in runs), limit) for run in runs)


def consecutive(ids, n, limit):
    """How often a run follows upon itself."""
    for i in range(len(ids)):
        count = 1
        while (list(ids[i + count * n : i + (count + 1) * n]) == list(ids[i : i + n]) and i
               + (count + 1) * n <= len(ids)):
            count += 1
        if count > limit:
            return True
    return False


def non_overlapping(ids, n, limit):
    for i in range(len(ids) - n + 1):
        count, j = 0, 0
        while j <= len(ids) - n:
            same = list(ids[j : j + n]) == list(ids[i : i + n])
            count, j = count + same, j + (n if same else 1)
        if count > limit:
            return True
    return False


def _joined(ids, n, limit):
    runs = ["".join(map(str, ids[i : i + n])) for i in range(len(ids) - n + 1)]
    return any(runs.count(run) > limit for run in runs)


def _found(text, part):
    return sum(text.startswith(part, i) for i in range(len(text)))


def repetitive_cases(seed: int) -> list[Case]:
    rng = random.Random(seed)
    mixed = [rng.randrange(3) for _ in range(30)]
    return [Case("a pair 3 times, limit 2", ([1, 2, 1, 2, 1, 2], 2, 2)),
            Case("a pair 2 times, limit 2", ([1, 2, 1, 2], 2, 2)),
            Case("a pair 3 times, limit 3", ([1, 2, 9, 1, 2, 8, 1, 2], 2, 3)),
            Case("a pair 3 times and apart, limit 2", ([1, 2, 9, 1, 2, 8, 1, 2], 2, 2)),
            Case("the third occurrence ends the response", ([3, 5, 6, 1, 5, 6, 2, 5, 6], 2, 2)),
            Case("the first occurrence begins the response", ([5, 6, 1, 5, 6, 2, 5, 6, 3], 2, 2)),
            Case("a run of 3 repeats", ([1, 2, 3, 1, 2, 3], 2, 1)),
            Case("1 12 and 11 2 are different runs", ([1, 12, 7, 11, 2], 2, 1)),
            Case("overlapping runs: 7 7 7 7 has the pair 3 times", ([7, 7, 7, 7], 2, 2)),
            Case("single ids", ([3, 1, 3, 2, 3], 1, 2)),
            Case("single ids repeat, pairs do not", ([3, 1, 3, 2, 3, 4, 3], 2, 1)),
            Case("shorter than n", ([1, 1], 3, 1)),
            Case("empty", ([], 2, 1)),
            Case("exactly n", ([4, 4, 4], 3, 1)),
            Case("attempts in place of ids", ([("3", "+", "4"), ("1", "+", "2"), ("3", "+", "4")], 1, 1)),
            Case("equal ids in another order", ([1, 2, 3, 2, 1, 3, 1, 2], 2, 2)),
            Case("tuples are ids of their own", ([(1, 1), (1, 1)], 2, 1)),
            Case("1, 11 and 21 are different ids", ([1, 11, 21, 1], 1, 2)),
            Case("30 random ids, runs of 3", (mixed, 3, 2)),
            Case("30 random ids, runs of 3, a higher limit", (mixed, 3, 4)),
            Case("30 random ids, single", (mixed, 1, 10))]


def _repetitive(says: str, **how) -> Mistake:
    return Mistake(says, lambda ids, n, limit: repetitive(ids, n, limit, **how))


REPETITIVE = Task(
    "is_repetitive", repetitive_cases, repetitive, answers=("t1mini.penalties.is_repetitive",),
    mistakes=(
        _repetitive("more than `limit` times is too often; yours says so at `limit` times",
                    more=lambda c, l: c >= l),
        _repetitive("the limit is one higher: more than `limit` times is too often",
                    more=lambda c, l: c > l + 1),
        _repetitive("`limit` is not used", more=lambda c, l: c > 1),
        _repetitive("the last run is not looked at: there are len - n + 1 of them",
                    starts=lambda length, n: range(length - n)),
        _repetitive("the first run is not looked at", starts=lambda length, n: range(1, length - n + 1)),
        _repetitive("only every n-th place is looked at: runs may begin anywhere",
                    starts=lambda length, n: range(0, length - n + 1, n)),
        _repetitive("`n` is not used: single ids are counted", size=lambda n: 1),
        _repetitive("runs of n + 1 are counted", size=lambda n: n + 1),
        _repetitive("pairs are counted whatever n is", size=lambda n: 2),
        Mistake("runs may lie apart: yours only counts those that follow upon one another", consecutive),
        Mistake("runs may overlap: 7 7 7 7 has the pair 3 times", non_overlapping),
        Mistake("the order within a run matters: yours compares sets or sorted runs",
                lambda ids, n, limit: any(
                    sum(sorted(ids[i : i + n]) == sorted(ids[j : j + n])
                        for j in range(len(ids) - n + 1)) > limit for i in range(len(ids) - n + 1)
                )),
        Mistake("runs are joined to one text: 1 12 and 11 2 both become 112",
                lambda ids, n, limit: _joined(ids, n, limit)),
        Mistake("the number of all repeated runs is counted; what counts is how often one of them occurs",
                lambda ids, n, limit: (
                    runs := [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
                ) is not None and len(runs) - len(set(runs)) > limit),
        Mistake("the number of all repeated runs is counted; what counts is how often one of them occurs",
                lambda ids, n, limit: (
                    runs := [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
                ) is not None and len(runs) - len(set(runs)) >= limit),
        Mistake("only the first run is looked for; any may be the one that repeats",
                lambda ids, n, limit: len(ids) >= n and sum(
                    list(ids[i : i + n]) == list(ids[:n]) for i in range(len(ids) - n + 1)) > limit),
        Mistake("only the last run is looked for; any may be the one that repeats",
                lambda ids, n, limit: len(ids) >= n and sum(
                    list(ids[i : i + n]) == list(ids[-n:]) for i in range(len(ids) - n + 1)) > limit),
        Mistake("an id that is a tuple is one id; yours takes it apart",
                lambda ids, n, limit: repetitive(
                    [x for i in ids for x in (i if isinstance(i, tuple) else (i,))], n, limit)),
        Mistake("ids are searched as text: 1 is found within 11 and 21",
                lambda ids, n, limit: any(
                    _found("|".join(map(str, ids)) + "|", "|".join(map(str, ids[i : i + n])) + "|") > limit
                    for i in range(len(ids) - n + 1))),
        Mistake("the number of different runs is counted; what counts is how often one of them occurs",
                lambda ids, n, limit: len({tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)}) > limit),
        Mistake("the result is turned round: True means repetitive",
                lambda ids, n, limit: not repetitive(ids, n, limit)),
        Mistake("it is never True", lambda ids, n, limit: False),
        Mistake("it is always True", lambda ids, n, limit: True),
        Mistake("it returns the count; True or False is asked for",
                lambda ids, n, limit: max(
                    [0,
                     *(sum(list(ids[i : i + n]) == list(ids[j : j + n]) for j in range(len(ids) - n + 1))
                       for i in range(len(ids) - n + 1))]
                ))
    )
)


# --- is_overlong ----------------------------------------------------------------------------------


def overlong(length, finished, max_new_tokens) -> bool:
    return not finished and length >= max_new_tokens


def overlong_cases(seed: int) -> list[Case]:
    table = {"the limit without an end token": (8, False, 8),
             "the end token is the last allowed one": (8, True, 8), "ended early": (5, True, 8),
             "not finished and below the limit (stopped by something else)": (5, False, 8),
             "one below the limit, not finished": (7, False, 8),
             "one below the limit, finished": (7, True, 8), "another limit": (8, False, 16),
             "a limit of 1": (1, False, 1), "a limit of 1, finished": (1, True, 1)}
    return [Case(label, args) for label, args in table.items()]


OVERLONG = Task(
    "is_overlong", overlong_cases, overlong, seeds=1, answers=("t1mini.penalties.is_overlong",),
    mistakes=(
        Mistake("the end token as the last allowed one is fine: a response that has finished is not overlong",
                lambda n, f, m: n >= m),
        Mistake("it is never True: a length never exceeds the limit, which is reached when length >= "
                "max_new_tokens",
                lambda n, f, m: n > m and not f),
        Mistake("not finished is not enough: the limit has to be reached, too", lambda n, f, m: not f),
        Mistake("one token too early: the limit is reached when length >= max_new_tokens",
                lambda n, f, m: n >= m - 1 and not f),
        Mistake("one token too early: the limit is reached when length >= max_new_tokens, and only "
                "unfinished responses count",
                lambda n, f, m: n >= m - 1),
        Mistake("`finished` is turned round", lambda n, f, m: n >= m and f),
        Mistake("either is enough for yours: both the limit reached and not finished are needed",
                lambda n, f, m: n >= m or not f),
        Mistake("exclusive or of the two: a response that ended before the limit is not overlong",
                lambda n, f, m: (n >= m) != f),
        Mistake("the result is turned round: True means overlong", lambda n, f, m: not overlong(n, f, m)),
        Mistake("below the limit: it should be at it", lambda n, f, m: n < m and not f),
        Mistake("below the limit: it should be at it", lambda n, f, m: n < m),
        Mistake("it returns `finished`", lambda n, f, m: f),
        Mistake("it is always True", lambda n, f, m: True)
    )
)


# --- penalised_reward -----------------------------------------------------------------------------

FLAGS = [(r, o, g) for r in (False, True) for o in (False, True) for g in (False, True)]


def penalised(reward, repetitive, overlong, garbled) -> float:
    return -1.0 if any((repetitive, overlong, garbled)) else float(reward)


def reward_cases(seed: int) -> list[Case]:
    names = ("repetitive", "overlong", "garbled")
    return [Case(f"reward {reward:g}, {' and '.join(n for n, f in zip(names, flags) if f) or 'no pattern'}",
                 (reward, *flags)) for reward in (1.0, 0.0, 0.5, -0.25) for flags in FLAGS]


def _reward(says: str, of) -> Mistake:
    return Mistake(says, of)


REWARD = Task(
    "penalised_reward", reward_cases, penalised, seeds=1, answers=("t1mini.penalties.penalised_reward",),
    mistakes=(
        Mistake("-1 replaces the reward, yours is added to it: a correct answer found by babbling is worth "
                "-1, too",
                lambda r, *f: r - 1.0 if any(f) else r),
        Mistake("-1 replaces the reward; yours takes 1 away for each pattern", lambda r, *f: r - sum(f)),
        Mistake("-1 in all, however many patterns; yours is -1 for each",
                lambda r, *f: -float(sum(f)) if any(f) else r),
        Mistake("any one pattern is enough; yours wants all three", lambda r, *f: -1.0 if all(f) else r),
        Mistake("any one pattern is enough; yours wants two that go together (mind `or` and `and`)",
                lambda r, a, b, c: -1.0 if (a or b) and c else r),
        Mistake("any one pattern is enough; yours wants two that go together (mind `or` and `and`)",
                lambda r, a, b, c: -1.0 if a and (b or c) else r),
        Mistake("any one pattern is enough; yours wants two that go together (mind `or` and `and`)",
                lambda r, a, b, c: -1.0 if a or (b and c) else r),
        Mistake("any one pattern is enough; yours wants two that go together (mind `or` and `and`)",
                lambda r, a, b, c: -1.0 if (a and b) or c else r),
        Mistake("`not` binds to what follows it alone: `not a or b or c` is `(not a) or b or c`",
                lambda r, a, b, c: r if not a or b or c else -1.0),
        Mistake("any one pattern is enough; yours wants two of them",
                lambda r, *f: -1.0 if sum(f) > 1 else r),
        Mistake("a correct answer is penalised, too; yours keeps its reward",
                lambda r, *f: -1.0 if any(f) and r < 1 else r),
        Mistake("a correct answer is penalised, too; yours keeps its reward",
                lambda r, *f: -1.0 if any(f) and r <= 0 else r),
        Mistake("only correct answers are penalised by yours; wrong ones are, too",
                lambda r, *f: -1.0 if any(f) and r > 0 else r),
        Mistake("a penalised response is worth -1, not 0", lambda r, *f: 0.0 if any(f) else r),
        Mistake("a penalised response is worth -1; yours is minus its reward",
                lambda r, *f: -r if any(f) else r),
        Mistake("a penalised response is worth -1; yours is minus the size of its reward",
                lambda r, *f: -abs(r) if any(f) else r),
        Mistake("a penalised response is worth -1; yours is half its reward",
                lambda r, *f: r / 2 if any(f) else r),
        Mistake("a penalised response is worth -1, not -0.5", lambda r, *f: -0.5 if any(f) else r),
        Mistake("`repetitive` makes no difference", lambda r, a, b, c: -1.0 if b or c else r),
        Mistake("`overlong` makes no difference", lambda r, a, b, c: -1.0 if a or c else r),
        Mistake("`garbled` makes no difference", lambda r, a, b, c: -1.0 if a or b else r),
        Mistake("only `repetitive` is looked at", lambda r, a, b, c: -1.0 if a else r),
        Mistake("only `overlong` is looked at", lambda r, a, b, c: -1.0 if b else r),
        Mistake("only `garbled` is looked at", lambda r, a, b, c: -1.0 if c else r),
        Mistake("an even number of patterns cancels out in yours (exclusive or)",
                lambda r, a, b, c: -1.0 if a ^ b ^ c else r),
        Mistake("without a pattern the reward stays as it is; yours makes it 0 or 1",
                lambda r, *f: -1.0 if any(f) else float(r > 0)),
        Mistake("without a pattern the reward stays as it is; yours makes it 0 or 1",
                lambda r, *f: -1.0 if any(f) else float(int(r))),
        Mistake("without a pattern the reward stays as it is; yours is 1",
                lambda r, *f: -1.0 if any(f) else 1.0),
        Mistake("it is turned round: responses without a pattern are penalised",
                lambda r, *f: r if any(f) else -1.0),
        Mistake("penalties make no difference", lambda r, *f: r)
    )
)

# --- is_garbled -----------------------------------------------------------------------------------

AT_HOME = ("LATIN", "GREEK")


def garbled(text, *, letter=lambda c: unicodedata.category(c)[0] == "L", too_many=lambda n, of: 10 * n > of,
            at_home=AT_HOME, controls="\n\r\t", stray="\ufffd", of=None, control=True):
    if control and any(unicodedata.category(c) == "Cc" and c not in controls for c in text) or stray in text:
        return True
    letters = [c for c in text if letter(c)]
    foreign = [c for c in letters if not unicodedata.name(c, "").startswith(at_home)]
    return bool(too_many(len(foreign), of(text) if of else len(letters)))


def garbled_cases(seed: int) -> list[Case]:
    texts = {"plain": "The answer is 5.",
             "a Greek letter": "x = 5, so \u03b1 > 0",
             "a replacement character": "the \ufffd answer",
             "three of nine letters": "so \u7b54\u6848\u662f five",
             "two of twenty letters": "abcdefghij abcdefgh \u7b54\u6848",
             "two of nineteen letters": "abcdefghij abcdefg \u7b54\u6848",
             "two of twenty-one letters": "abcdefghij abcdefghi \u7b54\u6848",
             "a tenth of the characters, but most letters": "1234567890 1234567890 \u7b54\u6848 1234",
             "accents": "na\u00efve caf\u00e9, se\u00f1or, \u00fcber",
             "Cyrillic": "\u043e\u0442\u0432\u0435\u0442 5",
             "a bell": "ring\x07 the bell",
             "an escape": "red \x1b[31m text",
             "lines": "one\ntwo\r\n",
             "a tab": "two\tthree",
             "empty": "",
             "no letters": "3 + 4 = 7",
             "Greek": "\u03b1\u03b2\u03b3 \u03b4",
             "one foreign letter in many": "a long sentence of many letters and one \u7b54 in it",
             "a foreign letter at the beginning": "\u7b54 is the answer, in so many letters",
             "a face": "well done \U0001f642\U0001f642",
             "signs": "5 \u00d7 3 \u2264 20 \u2014 yes",
             "a delete": "one\x7f two",
             "a control character above 127": "one\x85 two",
             "a zero-width space": "one\u200btwo",
             "Arabic": "\u0634\u0643\u0631\u0627 5",
             "Devanagari": "\u0928\u092e\u0938 5",
             "letters without a name, of Tangut": "\U00017000\U00017001 yes",
             "Glagolitic, LATINATE MYSLITE": "\u2c2e\u2c5e yes",
             "one letter, often, and one foreign": "aaaaaaaaaa aaaaaaaaaa \u7b54",
             "few letters among digits": "12 34 56 78 90 12 34 \u7b54 ab cd ef",
             "few letters among signs": "-- -- -- -- -- -- -- \u7b54 ab cd ef"}
    return [Case(f"{label}: {text!r}", (text,)) for label, text in texts.items()]


def _garbled(says: str, **how) -> Mistake:
    return Mistake(says, lambda text: garbled(text, **how))


GARBLED = Task(
    "is_garbled", garbled_cases, garbled, seeds=1, answers=("t1mini.penalties.is_garbled",),
    mistakes=(
        _garbled("the share is of the letters, yours is of all characters", of=len),
        _garbled("the share is of all letters; yours is of those that are Latin or Greek",
                 of=lambda text: sum(unicodedata.name(c, "").startswith(AT_HOME) for c in text
                                     if unicodedata.category(c)[0] == "L")),
        _garbled("a few foreign letters are allowed: more than a tenth is too many",
                 too_many=lambda n, of: n > 0),
        _garbled("exactly a tenth is still allowed: more than a tenth is too many",
                 too_many=lambda n, of: n and 10 * n >= of),
        _garbled("more than a tenth is too many; yours allows a half", too_many=lambda n, of: 2 * n > of),
        _garbled("more than a tenth is too many; yours allows a fifth", too_many=lambda n, of: 5 * n > of),
        _garbled("foreign letters are not looked at", too_many=lambda n, of: False),
        _garbled("Greek letters belong to mathematics: they are not foreign", at_home=("LATIN",)),
        _garbled("the line feed, the carriage return and the tab are no stray characters", controls=""),
        _garbled("a tab is no stray character", controls="\n\r"),
        _garbled("control characters are not looked at", control=False),
        _garbled("the replacement character U+FFFD is not looked at", stray="no such text"),
        Mistake("control characters are all of category Cc: U+007F to U+009F, too, not only those below 32",
                lambda text: garbled("".join(c for c in text if not "\x7f" <= c <= "\x9f"))),
        Mistake('a control character is of category "Cc"; yours takes all that begin with C, such as a '
                "zero-width space",
                lambda text: garbled(text) or any(unicodedata.category(c)[0] == "C" and c not in "\n\r\t"
                                                  for c in text)),
        Mistake("all scripts but Latin and Greek are foreign; yours knows some of them by name",
                lambda text: garbled("".join(
                    c for c in text if unicodedata.category(c)[0] != "L"
                    or unicodedata.name(c, "").startswith((*AT_HOME, "CYRILLIC", "CJK"))))),
        Mistake("a letter without a name is foreign, too; yours lets it pass",
                lambda text: garbled("".join("l" if unicodedata.category(c)[0] == "L"
                                             and not unicodedata.name(c, "") else c for c in text))),
        Mistake("a script is what unicodedata.name begins with; yours looks for LATIN or GREEK anywhere",
                lambda text: garbled(text.translate({0x2C2E: "l", 0x2C5E: "l"}))),
        Mistake("the share is of the whole text's letters; yours is judged letter by letter, of those so far",
                lambda text: any(garbled(text[: i + 1]) for i in range(len(text)))),
        Mistake("a letter counts as often as it occurs; yours counts different ones",
                lambda text: garbled("".join(dict.fromkeys(text)))),
        _garbled('all categories that begin with L are letters: Chinese and Arabic ones are "Lo"',
                 letter=lambda c: unicodedata.category(c) in ("Lu", "Ll")),
        _garbled("digits are no letters: they do not make foreign letters fewer",
                 of=lambda text: sum(map(str.isalnum, text))),
        _garbled("digits and signs are no letters: they do not make foreign letters fewer, or more",
                 letter=lambda c: not c.isspace()),
        Mistake("letters with accents are Latin: by their names, not by being ASCII",
                lambda text: garbled(text) or 10 * sum(c.isalpha() and not c.isascii()
                                                       and not "\u0370" <= c < "\u0400" for c in text)
                > sum(c.isalpha() for c in text)),
        Mistake("what is not ASCII may belong there: look at the letters' names",
                lambda text: not text.isascii() or garbled(text)),
        Mistake("a text without letters has none that are foreign: 0 / 0",
                lambda text: garbled(text) or 1 / len([c for c in text if c.isalpha()]) < 0),
        Mistake("the result is turned round: True means garbled", lambda text: not garbled(text)),
        Mistake("it is never True", lambda text: False),
        Mistake("it is always True", lambda text: True)
    )
)

TASKS = (REPETITIVE, OVERLONG, REWARD, GARBLED)
