"""Tasks: what the stages need to know about a task, and nothing else.

A task is a module. Both have the same functions, and a third is a file with them, --task my_task.py:

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
from types import SimpleNamespace

from t1mini.runs.checkpoint import load_policy
from t1mini.runs.jsonl import MOST_NAMED, read_rows
from t1mini.runs.settings import UserError, own_file
from t1mini.tasks import countdown, maths


class Tasks(dict):
    def __missing__(self, path: str):
        """The task of a file. UserError where it is none."""
        found = own_file("--task", path, f"choose {', '.join(self)}, or a file (tutorials/own_task.py)")
        if missing := [name for name in NEEDED if name not in found]:
            raise UserError(f"--task {path}: it has no {', '.join(missing[:MOST_NAMED])} "
                            "(tutorials/your_own_task.md)")
        return self.setdefault(path, SimpleNamespace(**found))


NEEDED = """load_problems prompt_ids prompt_text is_correct final_answer attempts hits repetition
            is_grammatical FORCED_ANSWER END_OF_THINKING require_tokenizer""".split()
TASKS = Tasks(countdown=countdown, math=maths)


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
    new = max(new, getattr(config, "max_new_tokens", 0))
    length = lambda problem: len(task.prompt_ids(problem, tokenizer))
    if problems and (longest := max(map(length, problems))) + new > most:
        file = file_of(config.data, getattr(config, "split", "train"))
        places = read_rows(file, parse=lambda row, place: place)
        lines = [place for place, problem in zip(places, task.load_problems(file))
                 if length(problem) + new > most]
        raise UserError(f"{file}, {', '.join(lines[:MOST_NAMED])} ({len(lines)} in all): a prompt of "
                        f"{longest} tokens and a response of {new} are more than the {most} the "
                        "model was made for; lower --max-new-tokens, or leave such problems out")
    return policy, tokenizer


def file_of(path: str, split: str):
    """The file that --data names: itself, or SPLIT.jsonl of a folder."""
    return os.path.join(path, f"{split}.jsonl") if os.path.isdir(path) else path


def load_problems(task: str, path: str, split: str) -> list:
    """The problems of a file, or of SPLIT.jsonl in a folder. UserError where there are none."""
    file, task = file_of(path, split), TASKS[task]
    problems = task.load_problems(file) if os.path.exists(file) else []
    if not problems:
        where = f"there are no problems at {file}" if path else "--data is missing"
        raise UserError(f"{where}; --data takes a file or folder of problems (data/README.md says where to "
                        "get some), and python -m t1mini data writes Countdown's")
    return problems
