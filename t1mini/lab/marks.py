"""What to see in a response: its attempts, its answer, and what it was penalised for.

    [start, end, kind, note]        a part of the text, in characters

    low, high, hit      attempts of Countdown that end too low, too high, and at the target
    belief              one that is judged wrongly
    try                 stretches of thinking in words, between its turning points, without a slip
    slip                an equation that does not hold, or an attempt with one, or with other numbers
    answer              what counts as the answer
    repeat, stray       what occurs too often; characters that do not belong here

See them: python -m t1mini view RUN
"""

import re
from collections import Counter

from t1mini.penalties import is_garbled
from t1mini.tasks import chains, countdown, maths
from t1mini.tasks.critiques import equations
from t1mini.verifier import extract_answer

TOO_OFTEN = "here {} times, at most {} may be"
_SAID = re.compile(r" (?:check [-+*/=, \d]* )?(ok|low|high)\b")


def marks(problem: dict, text: str, tokens: list[str], repeat_limit: int) -> list[list]:
    """All of the header's, in the order they stand. `tokens` are the response's, where they are known.

    >>> marks({"answer": "8"}, "5 + 3 = 8", [], 4)
    [[0, 9, 'try', 'no wrong equation']]
    """
    if "target" in problem:
        asked = countdown.Problem(tuple(problem["numbers"]), problem["target"])
        found = of_countdown(asked, text, repeat_limit)
    else:
        found = of_words(text, tokens, repeat_limit)
    if is_garbled(text):
        found += [[i, i + 1, "stray", "does not belong here"]
                  for i, character in enumerate(text) if is_garbled(character)]
    return sorted(found, key=lambda mark: mark[:2])


def of_countdown(problem, text, repeat_limit):
    found, tried = [], countdown.attempts(text)
    for attempt, keys in zip(countdown.ATTEMPT.finditer(text), tried):
        numbers = [*map(int, re.findall("[0-9]+", attempt[0]))]  # a, b, their value, c, the next value, ...
        values, times = numbers[2::2], tried.count(keys)
        given = [numbers[0], *numbers[1::2]]
        slip = chains.values_of(given, re.findall("[-+*/]", attempt[0])) != values
        slip = slip or sorted(given) != sorted(problem.numbers)
        truth = "ok" if values[-1] == problem.target else "low" if values[-1] < problem.target else "high"
        said = (_SAID.match(text, attempt.end()) or ["", truth])[1]
        kind = "slip" if slip else "belief" if said != truth else "hit" if truth == "ok" else truth
        found.append([*attempt.span(), kind, f"{values[-1]}, wanted is {problem.target}; it says {said}"])
        if times > repeat_limit:
            found.append([*attempt.span(), "repeat", TOO_OFTEN.format(times, repeat_limit)])
    return found + answer_of(text, countdown.final_answer(text))


def of_words(text, tokens, repeat_limit):
    found, starts = [], [0, *(turn.start() for turn in maths.TURNS.finditer(text))]
    for start, end in zip(starts, [*starts[1:], len(text)]):
        slips = []
        for left, said, right in equations(text[start:end]):
            if right:
                place = text.find(left, start)
                after = text.find(said, place + len(left)) + len(said)
                slips.append([place, after, "slip", f"{left} is {right}, not {said}"])
        found += slips or [[start, end, "try", "no wrong equation"]]
    runs = Counter(zip(*(tokens[i:] for i in range(maths.NGRAM))))
    run, times = runs.most_common(1)[0] if runs else ("", 0)
    if times > repeat_limit and "".join(run).strip():
        found += [[*again.span(), "repeat", TOO_OFTEN.format(times, repeat_limit)]
                  for again in re.finditer(re.escape("".join(run)), text)]
    return found + answer_of(text, extract_answer(text))


def answer_of(text, answer):
    start = text.rfind(answer) if answer else -1
    return [[start, start + len(answer), "answer", "this counts as the answer"]] if start >= 0 else []
