"""Tasks: what the stages need to know about a task, and nothing else.

A task is a module. Both have the same functions, and a third task would be a third module with them:

    load_problems(path)                 its problems from a file
    prompt_ids(problem, tokenizer)      the question as the model reads it;  prompt_text(problem) as we do
    is_correct(problem, response)       the reward
    final_answer(response)              for majority votes;  vote_is_correct(problem, answer)
    attempts(response), hits(problem, attempts)     what the thinking tried, and how often it was right
    repetition(response, ids), is_grammatical(response)     what the penalties look at
    yardsticks(problems, attempts)      what a policy that makes so many attempts is compared with
    FORCED_ANSWER, END_OF_THINKING      where inference scaling cuts in
    require_tokenizer(tokenizer, folder)

Countdown is embedded and exact; mathematics is for real checkpoints.
See a whole third task: python tutorials/own_task.py
"""

from pathlib import Path

from t1mini.tasks import countdown, maths

TASKS = {"countdown": countdown, "math": maths}


def load_problems(task: str, path: str, split: str) -> list:
    """The problems of a file, or of SPLIT.jsonl in a folder."""
    file = Path(path)
    return TASKS[task].load_problems(file if file.suffix and not file.is_dir() else file / f"{split}.jsonl")
