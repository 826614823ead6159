"""The embedded task: reach a target from three numbers (or four) with + - * /, working from left to right.

    make 77 from 3 4 11 :       ->       answer 3 + 4 * 11              since (3 + 4) * 11 = 77

Each number is used once. Division must be exact, and every intermediate value stays within 0 ... 99, so a
number is one token and every problem can be enumerated: how hard each is, and whether it can be solved, is
known exactly (t1mini.tasks.chains).

Thinking is a list of attempts (t1mini.tasks.teacher writes them), each computed step by step and judged:

    3 + 11 = 14 * 4 = 56 low  3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok  answer 3 + 4 * 11

Train, validation and test share no set of numbers, so no test set was ever seen in training.

See the problems: python -m t1mini data
"""

import random
import re
from itertools import combinations_with_replacement
from pathlib import Path

from t1mini.runs.folder import json_lines, write_text
from t1mini.runs.jsonl import read_rows
from t1mini.runs.settings import UserError
from t1mini.runs.tokenizer import Tokenizer
from t1mini.tasks.chains import LARGEST_VALUE, OPERATORS, Problem, all_chains, blind_search, values_of

WORDS = [*map(str, range(LARGEST_VALUE + 1)), "make", "from", ":", "=", ",", *OPERATORS,
         "low", "high", "check", "ok", "stop", "answer", "none"]
# These and `blind_search`: see t1mini.tasks. A language model's token for a word has the space before it
FORCED_ANSWER, END_OF_THINKING = " answer ", " answer"
SPLITS = ("train", "validation", "test")


# --- what a response says

_NUMBER = "[0-9]{1,2}"
_ON = f" [-+*/] {_NUMBER}"  # from a number, or from a value, on to the next
_STEP = f"{_NUMBER}{_ON} = {_NUMBER}"
ATTEMPT = re.compile(rf"\b{_STEP}(?:{_ON} = {_NUMBER})+\b")
_ANSWER = re.compile(rf"(?:.* )?answer \s*({_NUMBER}(?:{_ON}){{2,3}})\s*", re.DOTALL)  # the last of several


def _response_of(operations):
    """Attempts of so many operations with their verdicts, then an answer."""
    attempt, check = f"{_STEP}(?:{_ON} = {_NUMBER}){{{operations - 1}}}", " , ".join([_STEP] * operations)
    verdict = f"(?:low|high|check {check} (?:ok|low|high))"
    return f"(?:{attempt} {verdict} )*(?:stop )?answer (?:none|{_NUMBER}(?:{_ON}){{{operations}}})"


_RESPONSE = re.compile(f"{_response_of(2)}|{_response_of(3)}")


def prompt_text(problem: Problem):
    """The question as the model reads it.

    >>> prompt_text(Problem((3, 4, 11), 77))
    'make 77 from 3 4 11 :'
    """
    return f"make {problem.target} from {' '.join(map(str, problem.numbers))} :"


def prompt_ids(problem, tokenizer):
    return tokenizer.encode(prompt_text(problem))


def final_answer(response):
    """What stands behind the last `answer`: an expression, or None for `none`, nothing or anything else."""
    found = _ANSWER.fullmatch(response)
    return found and found[1]


def is_correct(problem: Problem, response: str):
    """True if the final answer uses the numbers once each and, left to right, exactly makes the target.

    >>> [is_correct(Problem((3, 4, 11), 77), response) for response in ("answer 3 + 4 * 11", "answer 7 * 11")]
    [True, False]
    """
    answer = final_answer(response)
    return answer is not None and _reaches(problem, answer.split(" "))


def attempts(response: str):
    """The keys of each attempt of a response, in order; a commuting first pair is put in order.

    >>> attempts("4 + 3 = 7 * 11 = 77 check 4 + 3 = 7 , 7 * 11 = 77 ok answer 4 + 3 * 11")
    [('3', '+', '4', '*', '11')]
    """
    found = [re.sub(" = [0-9]+", "", attempt).split() for attempt in ATTEMPT.findall(response)]
    for keys in found:
        if keys[1] in "+*":
            keys[:3:2] = sorted(keys[:3:2], key=int)  # the numbers on both sides
    return list(map(tuple, found))


def hits(problem, tried):
    """How many attempts do reach the target, whatever the response says of them."""
    return sum(_reaches(problem, attempt) for attempt in tried)


def repetition(response, ids):
    """What may not occur too often, and in runs of how many: single attempts."""
    return attempts(response), 1


def is_grammatical(response):
    """True if the whole response reads as attempts with verdicts and then an answer, right or wrong."""
    return _RESPONSE.fullmatch(response) is not None


def _reaches(problem, keys):
    numbers, ops = tuple(map(int, keys[::2])), keys[1::2]
    return tuple(sorted(numbers)) == problem.numbers and values_of(numbers, ops)[-1] == problem.target


# --- tokenizer and problems

def make_tokenizer():
    """One token a word, and every number from 0 to 99 a word."""
    return Tokenizer.for_words(WORDS)


def require_tokenizer(tokenizer, folder):
    """UserError unless it can write every word of Countdown and read it again, as a language model's can."""
    text = " ".join(WORDS)
    if tokenizer.decode(tokenizer.encode(text)) != text:
        raise UserError(f"{folder}: its tokenizer cannot write Countdown's words; start from a model such as "
                        "data/tiny-sft")


def make_splits(count: int = 3, largest: int = 15):
    """Every solvable problem over `count` numbers from 1 ... largest: no set of numbers is in two splits.

    A target is at least 1 and not among the numbers. Validation and test get a tenth of the sets each; of
    four numbers, which have some forty targets a set, two targets each.
    """
    rng = random.Random(0)
    sets = list(combinations_with_replacement(range(1, largest + 1), count))
    rng.shuffle(sets)
    tenth = round(len(sets) / 10)
    splits = {}
    for name, part in zip(SPLITS, (sets[2 * tenth :], sets[:tenth], sets[tenth : 2 * tenth])):
        splits[name] = []
        for numbers in sorted(part):
            targets = sorted({chain.value for chain in all_chains(numbers)} - {0, *numbers})
            if count > 3 and name != "train":
                targets = sorted(rng.sample(targets, 2))
            splits[name] += [Problem(numbers, target) for target in targets]
    return splits


def save_problems(path, problems):
    """One JSON object a line: {"numbers": [3, 4, 11], "target": 77}."""
    write_text(path, json_lines(problem._asdict() for problem in problems))


def load_problems(path: str | Path):
    """Reads what `save_problems` wrote. UserError names the file, the line and what is wrong with it."""
    parse = lambda row, place: make_problem(row.get("numbers"), row.get("target"),
                                            f'{place}: want {{"numbers": [3, 4, 11], "target": 77}}')
    return read_rows(path, parse=parse)


def make_problem(numbers, target, place: str):
    """A problem, its numbers put in order. UserError, naming `place`, unless there are three or four."""
    given = [*numbers, target] if isinstance(numbers, list) else []
    whole = all(type(x) is int and 0 < x <= LARGEST_VALUE for x in given)
    if len(given) not in (4, 5) or not whole:
        raise UserError(f"{place}: need three or four numbers and a target, all whole, 1 to {LARGEST_VALUE}")
    return Problem(tuple(sorted(numbers)), target)
