"""Tasks: what the stages need to know about a task, and nothing else.

A task is a module. Both have the same functions, and a third task would be a third module with them:

    load_problems(path)                 its problems from a file
    prompt_ids(problem, tokenizer)      the question as the model reads it;  prompt_text(problem) as we do
    is_correct(problem, response)       the reward
    final_answer(response)              for majority votes, in one spelling
    attempts(response), hits(problem, attempts)     what the thinking tried, and how often it was right
    repetition(response, ids), is_grammatical(response)     what the penalties look at
    blind_search(problems, attempts)    the accuracy of blind luck with so many attempts, if that is known
    FORCED_ANSWER, END_OF_THINKING      where inference scaling cuts in
    require_tokenizer(tokenizer, folder)

Countdown is embedded and exact; mathematics is for real checkpoints.
See a whole third task: python tutorials/own_task.py
"""

import os
from pathlib import Path

from t1mini.runs.checkpoint import load_policy
from t1mini.runs.jsonl import MOST_NAMED, read_rows
from t1mini.runs.settings import UserError
from t1mini.tasks import countdown, maths

TASKS = {"countdown": countdown, "math": maths}


def policy_for(config, folder: str, problems=(), new: int = 0):
    """Model and tokenizer of a checkpoint on --device. UserError unless they fit the --task and its problems.

    After each prompt there must be room for `new` tokens, or --max-new-tokens where that is more.
    """
    for inside in ("rl/final", "final", "rl/step-*", "step-*", "*/final"):  # a run holds several
        found = sorted(Path(folder).glob(inside))
        if found and not Path(folder, "tokenizer.json").exists():
            raise UserError(f"--init {folder}: a run's folder, no checkpoint; did you mean {found[-1]}?")
    policy, tokenizer = load_policy(folder, config.device)
    task, most = TASKS[config.task], policy.config.max_position_embeddings
    task.require_tokenizer(tokenizer, folder)
    lengths = {problem: len(task.prompt_ids(problem, tokenizer)) for problem in problems}
    new = max(new, getattr(config, "max_new_tokens", 0))
    if problems and (longest := max(lengths.values())) + new > most:
        file = file_of(config.data, getattr(config, "split", "train"))
        lines = [i for problem, (i, _) in zip(task.load_problems(file), read_rows(file))
                 if lengths.get(problem, 0) + new > most]
        shown = f"{lines[:MOST_NAMED]}".strip("[]")
        raise UserError(f"{file}, line {shown} ({len(lines)} in all): a prompt of {longest} tokens and a "
                        f"response of {new} are more than the {most} the model was made for; lower "
                        "--max-new-tokens, or leave such problems out")
    return policy, tokenizer


def file_of(path: str, split: str):
    """The file that --data names: itself, or SPLIT.jsonl of a folder."""
    return os.path.join(path, f"{split}.jsonl") if os.path.isdir(path) else path


def load_problems(task: str, path: str, split: str) -> list:
    """The problems of a file, or of SPLIT.jsonl in a folder. UserError where there are none."""
    file = file_of(path, split)
    problems = TASKS[task].load_problems(file) if os.path.exists(file) else []
    if not problems:
        where = f"there are no problems at {file}" if path else "--data is missing"
        raise UserError(f"{where}; --data takes a file or folder of problems (data/README.md says where to "
                        "get some), and python -m t1mini data writes Countdown's")
    return problems
