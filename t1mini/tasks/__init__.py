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
from t1mini.runs.settings import UserError
from t1mini.tasks import countdown, maths

TASKS = {"countdown": countdown, "math": maths}


def policy_for(config, folder: str):
    """Model and tokenizer of a checkpoint on --device. UserError unless they fit the --task."""
    for inside in ("rl/final", "final", "rl/step-*", "step-*", "*/final"):  # a run holds several
        found = sorted(Path(folder).glob(inside))
        if found and not Path(folder, "tokenizer.json").exists():
            raise UserError(f"--init {folder}: a run's folder, no checkpoint; did you mean {found[-1]}?")
    policy = load_policy(folder, config.device)
    TASKS[config.task].require_tokenizer(policy[1], folder)
    return policy


def load_problems(task: str, path: str, split: str) -> list:
    """The problems of a file, or of SPLIT.jsonl in a folder. UserError where there are none."""
    file = os.path.join(path, f"{split}.jsonl") if os.path.isdir(path) else path
    problems = TASKS[task].load_problems(file) if os.path.isfile(file) else []
    if not problems:
        where = f"there are no problems at {file}" if path else "--data is missing"
        raise UserError(f"{where}; --data takes a file or folder of problems (data/README.md says where to "
                        "get some), and python -m t1mini data writes Countdown's")
    return problems
