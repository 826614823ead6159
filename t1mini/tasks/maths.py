r"""The task of real models: questions in words, an answer in \boxed{}, checked by t1mini.verifier.

Files are JSON lines, as the datasets are distributed (data/README.md says where to get them):

    GSM8K           {"question": ..., "answer": "... #### 18"}
    MATH            {"problem": ..., "solution": "... \\boxed{18} ..."}
    MATH-500, AIME  {"problem": ..., "answer": "18"}

An answer may be a sentence with a box; without an answer, the solution's counts.

The model is asked in its tokenizer's chat format and is to think in <think>...</think> first; `prompt_text`
and `response_text` are all there is to the format.

Look at files and what they share: python -m t1mini data --files train.jsonl test.jsonl
"""

import re
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from t1mini.answers.latex import normalise
from t1mini.chain_of_thought import merge
from t1mini.runs.settings import UserError
from t1mini.runs.jsonl import read_rows
from t1mini.verifier import extract_answer, last_box, verify

FORCED_ANSWER, END_OF_THINKING = "\n</think>\n\n\\boxed{", "</think>"
NGRAM = 20  # tokens of a run that may not occur too often
_NO_MATTER = re.compile(r"(?<=\w)-(?=[^\W\d_]{2})|(?<!\d)\.|\.(?!\d)|[^\w.+*/^=<>()|%-]|_")
TURNS = re.compile(r"\b(?:wait|alternatively|perhaps)\b", re.IGNORECASE)  # T1, section on inference scaling


class Problem(NamedTuple):
    question: str
    answer: str


def prompt_text(problem: Problem):
    """What the model is asked."""
    return (f"{problem.question}\n\nThink step by step inside <think> and </think>: try, check, and try "
            "again where a check fails. Then give the final answer within \\boxed{}.")


def response_text(attempts, critiques, answer: str):
    """What it is taught to write: attempts, each followed by its critique, and the answer."""
    return "<think>\n" + merge(attempts, critiques, told(answer), opener="</think>", separator="\n\n")


def told(answer: str):
    return f"The final answer is \\boxed{{{answer}}}."


def worked_solution(row: dict, answer: str):
    """A data set's own solution as a response: clean, without trial and error. "" where a row has none.

    >>> print(worked_solution({"answer": "Half of 6 is 6/2 = <<6/2=3>>3.\\n#### 3"}, "3"))
    <think>
    Half of 6 is 6/2 = 3.
    <BLANKLINE>
    </think>
    <BLANKLINE>
    The final answer is \\boxed{3}.
    """
    text = row.get("solution")
    if not isinstance(text, str):
        text = f"{row.get('answer')}".rpartition("####")[0]
    solution = without_tags(re.sub("<<.*?>>", "", text))
    return f"<think>\n{solution}\n\n</think>\n\n{told(answer)}" if solution else ""


def without_tags(response: str):
    """Thinking without tags, boxes and empty lines, to be a part of other thinking."""
    boxes = r"\\boxed\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}|</?think>"
    return re.sub(r"\n+", "\n", re.sub(boxes, r"\1", response)).strip()


def prompt_ids(problem, tokenizer):
    return tokenizer.chat_prompt(prompt_text(problem))


def is_correct(problem, response):
    return verify(response, problem.answer)


def final_answer(response):
    """The answer in one spelling, for majority votes."""
    answer = extract_answer(response)
    return answer and normalise(answer)


def attempts(response):
    """The words at which thinking turns round: wait, perhaps, alternatively."""
    return TURNS.findall(response)


def hits(problem, tried):
    """None that could be told: attempts in words are not checked one by one."""
    return 0


def repetition(response, ids):
    """What may not occur too often, and in runs of how many: the response's tokens, in runs of NGRAM.

    A run of one token that is no longer than a run of one digit, such as the zeros of 100!, counts once.
    """
    digits = max((len(run[0]) for run in re.finditer(r"(\d)\1*", response)), default=0)
    runs = [[*run] for _, run in groupby(ids)]
    return [i for run in runs for i in (run[:1] if NGRAM <= len(run) <= digits else run)], NGRAM


def is_grammatical(response):
    """Words need no grammar."""
    return True


def require_tokenizer(tokenizer, folder):
    """UserError unless it can write a chat."""
    if not tokenizer.can_chat:
        raise UserError(f"{folder}: its tokenizer has no <|im_start|> and <|im_end|>; --task math needs a "
                        "chat model such as Qwen2.5-0.5B-Instruct")


# --- problems on disk

def load_problems(path: str | Path):
    """UserError names the file, the line and what is wrong with it."""
    return read_rows(path, parse=parse_row)


def parse_row(row: dict, place: str):
    """A problem of one of the header's three kinds; `place` is named in errors."""
    row = {name.casefold(): value for name, value in row.items()}
    question, answer = row.get("question") or row.get("problem"), row.get("answer")
    text = str(answer) if type(answer) in (int, float, str) else ""
    _, hashes, answer = text.rpartition("####")
    answer = last_box(f"\\boxed{{{answer}}}") or extract_answer(str(row.get("solution")))
    if not isinstance(question, str) or not question.strip():
        raise UserError(f'{place}: no text under "question" or "problem"')
    if not answer or "question" in row and not hashes and len(answer.split()) > 20:  # cut off before it
        raise UserError(f'{place}: no final answer; want "answer" (GSM8K: ending in "#### 18") '
                        'or a "solution" with \\boxed{}')
    return Problem(question.strip(), answer)


def shared(a, b):
    """How many questions of `a` are in `b` as well, but for spacing, case and punctuation."""
    known = set(map(key, b))
    return sum(key(problem) in known for problem in a)


def key(problem):
    """What makes two questions the same: letters, digits and signs that calculate, where they may.

    >>> key(Problem("How many  well-known sums: 3-4.5?", "")), key(Problem("a.", "")) == key(Problem("A", ""))
    ('howmanywellknownsums3-4.5', True)
    """
    return re.sub(_NO_MATTER, "", problem.question.casefold())


def is_sentence(answer: str):
    """
    >>> [is_sentence(a) for a in ("It is 4.", "Half of 8 is 4", "5 square feet", "\\\\text{Evelyn}")]
    [True, True, False, False]
    """
    words = re.findall(r"(?<![\\a-z])[a-z]{2,}", answer.casefold())
    return len(words) + answer.endswith(".") > 2
