"""What to see in a response: its attempts, its answer, and what it was penalised for.

    [start, end, kind, note]        a part of the text, in characters

    low, high, hit      attempts of Countdown that miss and that reach the target, whatever is said of them
    belief              an attempt that is said to hit and does not, or the other way: believed wrongly
    try, slip           stretches of thinking in words between its turning points; one with a wrong equation
    answer              what counts as the answer
    repeat, stray       what occurs too often; characters that do not belong here

See them: python -m t1mini view RUN
"""

import re
from collections import Counter

from t1mini.penalties import is_garbled
from t1mini.tasks import countdown, maths
from t1mini.tasks.critiques import equations
from t1mini.verifier import extract_answer

_SAID = re.compile(r" (?:check [-+*/=, \d]* )?(ok|low|high)\b")


def marks(problem, text: str, tokens: list[str], repeat_limit: int) -> list[list]:
    """All of the header's, in the order they stand. `tokens` are the response's, where they are known."""
    of_task = of_countdown if isinstance(problem, countdown.Problem) else of_words
    found = of_task(problem, text, tokens, repeat_limit)
    if is_garbled(text):
        found += [[i, i + 1, "stray", "does not belong here"]
                  for i, character in enumerate(text) if is_garbled(character)]
    return sorted(found, key=lambda mark: mark[:2])


def of_countdown(problem, text, tokens, repeat_limit):
    found, times = [], Counter(countdown.attempts(text))
    for attempt in countdown.ATTEMPT.finditer(text):
        (keys,) = countdown.attempts(attempt[0])
        hit, value = countdown.hits(problem, [keys]), int(attempt[0].split()[-1])
        said = (_SAID.match(text, attempt.end()) or ["", ""])[1]
        truth = "hit" if hit else "low" if value < problem.target else "high"
        believed = said and (said == "ok") != bool(hit)
        note = f"{' '.join(keys)} makes {problem.target}" if hit else f"{value}, {truth}: {problem.target} is wanted"
        found.append([*attempt.span(), "belief" if believed else truth, f"{note}; it says {said or 'nothing'}"])
        if times[keys] > repeat_limit:
            found.append([*attempt.span(), "repeat", f"tried {times[keys]} times, at most {repeat_limit} may be"])
    return found + answer_of(text, countdown.final_answer(text))


def of_words(problem, text, tokens, repeat_limit):
    found, starts = [], [0, *(turn.start() for turn in maths.TURNS.finditer(text))]
    for start, end in zip(starts, [*starts[1:], len(text)]):
        slips = [f"{left} is {right}, not {said}" for left, said, right in equations(text[start:end]) if right]
        found.append([start, end, "slip" if slips else "try", "; ".join(slips) or "no wrong equation"])
    runs = Counter(zip(*(tokens[i:] for i in range(maths.NGRAM))))
    run, times = runs.most_common(1)[0] if runs else ("", 0)
    if times > repeat_limit and "".join(run).strip():
        found += [[*again.span(), "repeat", f"{times} times, at most {repeat_limit} may be"]
                  for again in re.finditer(re.escape("".join(run)), text)]
    return found + answer_of(text, extract_answer(text))


def answer_of(text, answer):
    start = text.rfind(answer) if answer else -1
    return [[start, start + len(answer), "answer", "this counts as the answer"]] if start >= 0 else []
