"""Lesson 4: make_trace and sft_mask."""

import torch

from checking.tasks import Case, Mistake, Task
from checking.values import Make, made

# --- make_trace: any of the problem's solutions may end it ----------------------------------------


def chains(numbers: tuple[int, ...]):
    """(keys, first value, value) of every chain, by trying all of them."""
    from itertools import permutations

    value = lambda a, op, b: {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b and a % b == 0 else -1}[op]
    found = []
    for a, b, c in sorted(set(permutations(numbers))):
        for op1 in "+-*/":
            for op2 in "+-*/":
                first = value(a, op1, b)
                last = value(first, op2, c)
                if 0 <= first <= 99 and 0 <= last <= 99 and not (op1 in "+*" and a > b):
                    found.append(((a, op1, b, op2, c), first, last))
    return found


def traces(problem, wrong_attempts, rng, *, low="low", high="high", check=True,
           answer=lambda keys: " ".join(map(str, keys)), opener="answer ", order=lambda tried: tried,
           value=True, solve=True, second=lambda b, one: one, apart=False) -> list[str]:
    """Every text that is right."""
    texts = []
    for keys, first, last in [chain for chain in chains(problem.numbers) if chain[2] == problem.target]:
        wrong = [((a, op1, b, op2, c), one, two) for (a, b, c), (op1, op2), (one, two) in wrong_attempts]
        tried = order(wrong) + ([(keys, first, last)] if solve else [])
        pieces = []
        for (a, op1, b, op2, c), one, two in tried:
            pieces.append(f"{a} {op1} {b} = {one} {op2} {c} = {two}" if value
                          else f"{a} {op1} {b} {op2} {c} = {two}")
            verdict = "ok" if two == problem.target else low if two < problem.target else high
            pieces.append(f"check {a} {op1} {b} = {one} , {second(b, one)} {op2} {c} = {two} ok"
                          if check and verdict == "ok" else verdict)
        pieces = pieces[::2] + pieces[1::2] if apart else pieces
        texts.append(" ".join([*pieces, opener + answer(keys)]).strip())
    return sorted(set(texts))


def one_of(expected: list[str], got) -> str | None:
    if isinstance(got, list):
        return None if set(got) & set(expected) else "values"
    if not isinstance(got, str):
        return f"type {type(got).__name__}"
    return None if got in expected else "values"


def first_word(expected: list[str], got) -> str | None:
    """Where a text leaves the nearest one that is right."""
    if not isinstance(got, str):
        return None
    words = got.split()
    same = lambda right: next((i for i, (a, b) in enumerate(zip(words, right.split())) if a != b),
                              min(len(words), len(right.split())))
    right = max(expected, key=same)
    i = same(right)
    there = lambda found: repr(found[i]) if i < len(found) else "nothing more"
    if i == len(words) == len(right.split()):
        return "the words are right, the spaces between them or at the ends are not"
    return (f"after {' '.join(words[max(0, i - 4) : i])!r} yours has {there(words)}, it should be "
            f"{there(right.split())}")


def trace_cases(seed: int) -> list[Case]:
    def case(label, numbers, target, wrong):
        tried = [Make("Chain", ([a, b, c], op1 + op2, [first, last]))
                 for (a, op1, b, op2, c), first, last in wrong]
        return Case(label, (Make("Problem", (list(numbers), target)), tried, Make("random.Random", (seed,))))

    misses = [chain for chain in chains((3, 4, 11)) if chain[2] != 77]
    some = [misses[(5 * seed + 3 * i) % len(misses)] for i in range(3)]
    both = [next(c for c in misses if c[2] > 77 - 70 * low and (c[2] < 77) == low) for low in (True, False)
            if any((c[2] < 77) == low for c in misses)]
    many = [(numbers, target) for numbers in ((2, 3, 6), (2, 4, 8)) for target in (12, 16)
            if len([c for c in chains(numbers) if c[2] == target]) > 1]
    return [case("no wrong attempt", (3, 4, 11), 77, []),
            case("one wrong attempt", (3, 4, 11), 77, both[:1]),
            case("three wrong attempts", (3, 4, 11), 77, some),
            case("the same wrong attempt twice", (3, 4, 11), 77, [some[0], some[1], some[0]]),
            case("a wrong attempt that is too high", (2, 5, 7), 3,
                 [c for c in chains((2, 5, 7)) if c[2] > 3][:2]),
            *[case(f"again, {len([c for c in chains(n) if c[2] == t])} solutions", n, t,
                   [c for c in chains(n) if c[2] != t][seed : seed + 2]) for n, t in many],
            *[case(f"{len([c for c in chains(n) if c[2] == t])} solutions", n, t,
                   [c for c in chains(n) if c[2] != t][seed : seed + 2]) for n, t in many]]


def _crossed(texts):
    ends = [text.partition(" answer ")[::2] for text in texts]
    return [f"{a} answer {other}" for a, own in ends for _, other in ends if own != other] or texts


def _trace(says: str, **how) -> Mistake:
    return Mistake(says, lambda problem, wrong, rng: traces(problem, wrong, rng, **how))


def varied(cases, outcomes) -> str | None:
    if any(isinstance(o["value"], list) for o in outcomes):  # all that is right, from `traces` itself
        return None
    seen = {}
    for c, o in zip(cases, outcomes):
        if seen.setdefault(str(c.args), o["value"]) != o["value"]:
            return ("the same rng should give the same trace: draw the solution with `rng`, not with a "
                    "global one")
    several = [o["value"] for c, o in zip(cases, outcomes) if "solutions" in c.label]
    ends = {}
    for c, o in zip(cases, outcomes):
        if "solutions" in c.label:
            ends.setdefault(str(c.args[0].args), set()).add(o["value"].rpartition("answer ")[2])
    return ("the solution is always the same one: draw it with rng"
            if several and all(len(found) == 1 for found in ends.values()) else None)


def drawn_twice(cases, outcomes) -> str | None:
    for case, outcome in zip(cases, outcomes):
        right = traces(*made(case.args))
        if isinstance(outcome["value"], str) and outcome["value"] in set(_crossed(right)) - set(right):
            return ("the answer has to be the attempt that hit; yours names another solution (is it drawn "
                    "twice?)")
    return None


TRACE = Task(
    "make_trace", trace_cases, traces, seeds=6, agrees=one_of, across=varied, describes=first_word,
    look=drawn_twice,
    answers=("t1mini.tasks.teacher.teach",),
    mistakes=(_trace("verdicts: low means that the value is below the target; yours are exchanged",
                     low="high", high="low"),
              _trace('a hit is computed again before it is believed: "check ... ok"', check=False),
              _trace("the solution is missing: after the wrong attempts comes one that hits, checked",
                     solve=False),
              _trace('the answer is missing: the trace ends with "answer" and the keys of the solution',
                     opener="", answer=lambda keys: ""),
              _trace('the word "answer" is missing before the keys', opener=""),
              _trace("an attempt that is made twice stands there twice",
                     order=lambda tried: list(dict.fromkeys(tried))),
              _trace("the wrong attempts stand in the reverse order", order=lambda tried: tried[::-1]),
              *(Mistake("the wrong attempts stand in their own order; yours are sorted",
                        lambda problem, wrong, rng, key=key: traces(
                            problem, wrong, rng,
                            order=lambda tried: sorted(tried, key=lambda t: key(t[2], problem.target))))
                for key in (lambda value, target: abs(value - target),
                            lambda value, target: -abs(value - target),
                            lambda value, target: value, lambda value, target: -value)),
              _trace("each attempt is followed by its own verdict; yours has all attempts first", apart=True),
              _trace("the check's second step goes on from the first one's value, not from the second number",
                     second=lambda b, one: b),
              Mistake("the solution is an attempt, too, and checked, even with no wrong one before it",
                      lambda problem, wrong, rng: [t if wrong else t[t.index("answer") :]
                                                   for t in traces(problem, wrong, rng)]),
              _trace("every wrong attempt is called low: compare its value with the target", high="low"),
              _trace("every wrong attempt is called high: compare its value with the target", low="high"),
              _trace("an attempt shows the value after each operation: 3 + 11 = 14 * 4 = 56", value=False),
              _trace("the wrong attempts are left out", order=lambda tried: []),
              _trace("the first wrong attempt is left out", order=lambda tried: tried[1:]),
              _trace("the last wrong attempt is left out", order=lambda tried: tried[:-1]),
              _trace("only the first wrong attempt is in it", order=lambda tried: tried[:1]),
              _trace("only the last wrong attempt is in it", order=lambda tried: tried[-1:]),
              _trace("wrong attempts need a verdict each: low or high", low="", high=""),
              Mistake("the answer is the keys of the solution, such as 3 + 4 * 11, not its value",
                      lambda problem, wrong, rng:
                          traces(problem, wrong, rng, answer=lambda keys: str(problem.target))),
              Mistake("wrong attempts get no verdict",
                      lambda problem, wrong, rng:
                          [t.replace(" low", "").replace(" high", "") for t in traces(problem, wrong, rng)]),
              Mistake("the pieces are joined without a space",
                      lambda problem, wrong, rng: [t.replace(" ", "") for t in traces(problem, wrong, rng)]),
              Mistake("the pieces are joined by line breaks; a space belongs between them",
                      lambda problem, wrong, rng: [
                          t.replace(" low ", " low\n").replace(" high ", " high\n").replace(" ok ", " ok\n")
                          for t in traces(problem, wrong, rng)
                      ]))
)


# --- sft_mask -------------------------------------------------------------------------------------


def sft_mask(ids, prompt_len, *, first=lambda start: start, last=lambda n: n,
             where=lambda row, t, start: True):
    """Token by token."""
    mask = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.bool)
    for n, (row, start) in enumerate(zip(ids, prompt_len)):
        for t in range(mask.shape[1]):
            mask[n, t] = first(start) <= t < last(len(row)) and where(row, t, start)
    return mask


def mask_cases(seed: int) -> list[Case]:
    g = torch.Generator().manual_seed(seed)
    draw = lambda n: torch.randint(2, 9, (n,), generator=g).tolist()
    rows = [draw(4) + draw(5) + [1], draw(2) + draw(2) + [1], draw(6) + [1]]
    # the end token (1) and the padding's id (0) may stand anywhere
    odd = [[1, 5, 0, 1] + [0, 6, 1, 7, 1], [0, 0] + [0, 1], [3, 1, 1] + [4, 0, 0, 1]]
    return [Case("rows of 10, 5 and 7 tokens", (rows, [4, 2, 6])),
            Case("the end token's id and 0 stand in prompts and responses", (odd, [4, 2, 3])),
            Case("rows of 3, 8 and 6 tokens, the first the shortest",
                 ([draw(1) + [4, 1], draw(3) + draw(4) + [1], draw(2) + draw(3) + [1]], [1, 3, 2])),
            Case("one row, without a prompt", ([draw(3) + [1]], [0]))]


def _sft(says: str, **how) -> Mistake:
    return Mistake(says, lambda ids, prompt_len: sft_mask(ids, prompt_len, **how))


END, PAD = 1, 0
MASK = Task(
    "sft_mask", mask_cases, sft_mask, answers=("t1mini.runs.batches.length_mask",),
    mistakes=(
        _sft("prompt tokens are learned, too: the mask is False on the prompt", first=lambda start: 0),
        _sft("the padding is learned, too: a row ends with its own length", last=lambda n: 10**9),
        Mistake("a row ends with its own length; yours counts that from where the response begins, into the "
                "padding",
                lambda ids, prompt_len: torch.stack(
                    [sft_mask([[0] * max(map(len, ids))], [start], last=lambda n: start + len(row))[0]
                     for row, start in zip(ids, prompt_len)])),
        Mistake("a row ends with its own length; yours counts that from where the response begins, into the "
                "padding",
                lambda ids, prompt_len: sft_mask(
                    [[0] * (start + len(row)) for row, start in zip(ids, prompt_len)], prompt_len)),
        Mistake("the response ends where its row does; yours takes the response's length for that place",
                lambda ids, prompt_len: torch.stack(
                    [sft_mask(ids, [start] * len(ids), last=lambda n: len(row) - start)[0]
                     for row, start in zip(ids, prompt_len)])),
        Mistake("T is the length of the longest row; yours is the longest prompt and the longest response",
                lambda ids, prompt_len: torch.nn.functional.pad(
                    sft_mask(ids, prompt_len),
                    (0, max(prompt_len) + max(len(row) - n for row, n in zip(ids, prompt_len))
                     - max(map(len, ids))))),
        _sft("the padding is learned and the prompt as well: everything is True", first=lambda start: 0,
             last=lambda n: 10**9),
        _sft("the end token is left out: it has to be learned, or the model never stops",
             last=lambda n: n - 1),
        _sft("one token too early: the first True is the response's first token, at prompt_len",
             first=lambda start: start - 1),
        _sft("one token too late: the response's first token is left out", first=lambda start: start + 1),
        _sft("shifted by one: the mask belongs to the tokens themselves, not to the positions that predict "
             "them",
             first=lambda start: start - 1, last=lambda n: n - 1),
        _sft("tokens are masked by id: whatever equals the end token's id is left out, in the response's "
             "middle, too",
             where=lambda row, t, start: row[t] != END),
        _sft("tokens are masked by id: whatever equals 0 is left out, but 0 may be a token of the response",
             where=lambda row, t, start: row[t] != PAD),
        _sft("tokens are masked by id: 0 and the end token's id are left out",
             where=lambda row, t, start: row[t] not in (PAD, END)),
        _sft("the row ends at its first end token; its length says where it ends",
             where=lambda row, t, start: END not in row[:t]),
        _sft("the row ends at the response's first end token; its length says where it ends",
             where=lambda row, t, start: END not in row[start:t]),
        Mistake("the mask is of truth values, dtype bool; yours is of numbers",
                lambda ids, prompt_len: sft_mask(ids, prompt_len).long()),
        Mistake("the mask is turned round: True means learned",
                lambda ids, prompt_len: ~sft_mask(ids, prompt_len)),
        Mistake("every row has the prompt length of the first",
                lambda ids, prompt_len: sft_mask(ids, [prompt_len[0]] * len(ids))),
        Mistake("every response ends with its own row; yours has the length of the first",
                lambda ids, prompt_len: sft_mask(ids, prompt_len) & torch.stack(
                    [torch.arange(max(map(len, ids))) < start + len(ids[0]) - prompt_len[0]
                     for start in prompt_len])),
        Mistake("only the prompt is True; it is the response that is learned",
                lambda ids, prompt_len: sft_mask(ids, [0] * len(ids)) & ~sft_mask(ids, prompt_len)),
        Mistake("rows are padded on the left; here they are padded on the right",
                lambda ids, prompt_len: torch.stack(
                    [torch.roll(row, sft_mask(ids, prompt_len).shape[1] - len(x))
                     for row, x in zip(sft_mask(ids, prompt_len), ids)]
                ))
    )
)

TASKS = (TRACE, MASK)
