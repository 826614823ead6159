r"""The task of real models: questions in words, an answer in \boxed{}, checked by t1mini.verifier.

Files are JSON lines, as the datasets are distributed (data/README.md says where to get them):

    GSM8K           {"question": ..., "answer": "... #### 18"}
    MATH            {"problem": ..., "solution": "... \\boxed{18} ..."}
    MATH-500, AIME  {"problem": ..., "answer": "18"}

The model is asked in its tokenizer's chat format and is to think in <think>...</think> first; `prompt_text`
and `response_text` are all there is to the format.

Look at files and what they share: python -m t1mini data --files train.jsonl test.jsonl
"""

import re
from pathlib import Path
from typing import NamedTuple, Sequence

from t1mini.answers.latex import normalise
from t1mini.chain_of_thought import merge
from t1mini.runs.settings import UserError
from t1mini.runs.jsonl import read_rows
from t1mini.runs.tokenizer import Tokenizer
from t1mini.verifier import extract_answer, verify

FORCED_ANSWER, END_OF_THINKING = "\n</think>\n\n\\boxed{", "</think>"
NGRAM = 20  # tokens of a run that may not occur too often
_TURNS = re.compile(r"\b(?:wait|alternatively|perhaps)\b", re.IGNORECASE)  # T1, section on inference scaling


class Problem(NamedTuple):
    question: str
    answer: str


def prompt_text(problem: Problem) -> str:
    """What the model is asked."""
    return (f"{problem.question}\n\nThink step by step inside <think> and </think>: try, check, and try "
            "again where a check fails. Then give the final answer within \\boxed{}.")


def response_text(attempts: Sequence[str], critiques: Sequence[str], answer: str) -> str:
    """What it is taught to write: attempts, each followed by its critique, and the answer."""
    answer = f"The final answer is \\boxed{{{answer}}}."
    return "<think>\n" + merge(attempts, critiques, answer, opener="</think>", separator="\n\n")


def prompt_ids(problem: Problem, tokenizer: Tokenizer) -> list[int]:
    return tokenizer.chat_prompt(prompt_text(problem))


def is_correct(problem: Problem, response: str) -> bool:
    return verify(response, problem.answer)


def final_answer(response: str) -> str | None:
    """The answer in one spelling, for majority votes."""
    answer = extract_answer(response)
    return answer and normalise(answer)


def vote_is_correct(problem: Problem, answer: str) -> bool:
    return is_correct(problem, f"\\boxed{{{answer}}}")


def attempts(response: str) -> list[str]:
    """The words at which thinking turns round: wait, perhaps, alternatively."""
    return _TURNS.findall(response)


def hits(problem: Problem, tried: list[str]) -> int:
    """None that could be told: attempts in words are not checked one by one."""
    return 0


def repetition(response: str, ids: Sequence[int]) -> tuple[Sequence, int]:
    """What may not occur too often, and in runs of how many: the response's tokens, in runs of NGRAM."""
    return ids, NGRAM


def is_grammatical(response: str) -> bool:
    """Words need no grammar."""
    return True


def yardsticks(problems: Sequence[Problem], attempts_made: float) -> dict[str, float]:
    return {}


def require_tokenizer(tokenizer: Tokenizer, folder: str):
    """UserError unless it can write a chat."""
    if not tokenizer.can_chat:
        raise UserError(f"{folder}: its tokenizer has no <|im_start|>; --task math needs a chat model "
                        "such as Qwen2.5-0.5B-Instruct")


# --- problems on disk

def load_problems(path: str | Path) -> list[Problem]:
    """UserError names the file, the line and what is wrong with it."""
    problems = [parse_row(row, f"{path}, line {i}") for i, row in read_rows(path)]
    if not problems:
        raise UserError(f"{path} holds no problem")
    return problems


def parse_row(row: dict, place: str) -> Problem:
    """A problem of one of the header's three kinds; `place` is named in errors."""
    row = {name.casefold(): value for name, value in row.items()}
    question, answer = row.get("question", row.get("problem")), gold_answer(row)
    if not isinstance(question, str) or not question.strip():
        raise UserError(f'{place}: no text under "question" or "problem"')
    if not answer:
        raise UserError(f'{place}: no final answer; want "answer" (GSM8K: ending in "#### 18") '
                        'or a "solution" with \\boxed{}')
    return Problem(question.strip(), answer)


def gold_answer(row: dict) -> str | None:
    """What a row gives as its answer; None or nothing where that is no answer."""
    answer, solution = row.get("answer"), row.get("solution")
    if answer is None and isinstance(solution, str) and "\\boxed" in solution:
        return extract_answer(solution)
    text = str(answer) if type(answer) in (int, float, str) else ""
    if "####" not in text and "question" in row and "problem" not in row and len(text.split()) > 20:
        return None  # a worked solution that has lost its last line
    return text.rpartition("####")[2].strip()


def shared(a: Sequence[Problem], b: Sequence[Problem]) -> int:
    """How many questions of `a` are in `b` as well, but for spacing, case and punctuation."""
    key = lambda problem: re.sub(r"[\W_]+", "", problem.question.casefold())
    known = set(map(key, b))
    return sum(key(problem) in known for problem in a)
