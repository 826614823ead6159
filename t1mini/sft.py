"""Supervised fine-tuning: teach the model to think by trial and error before reinforcing it.

    loss = - mean over response tokens of log pi(token | prompt, tokens before)

The prompt is read, not learned; the end token is learned, or the model could never stop. Countdown's traces
come from the imperfect teacher (t1mini.tasks.teacher), those of a real model from a file that t1mini.collect
writes. Batches hold traces of like length, so little of them is padding.

Paper: 3 epochs at learning rate 1e-5 from a pretrained model. The embedded model starts from random weights,
so it needs more of both.

Run it: python -m t1mini sft
"""

import random
import time
from dataclasses import dataclass
from typing import NamedTuple

import torch
from tqdm import tqdm

from t1mini.fast import twins
from t1mini.model import Qwen, QwenConfig
from t1mini.rollout import score
from t1mini.runs.batches import bucketed_batches, micro_batches
from t1mini.runs.checkpoint import save_policy
from t1mini.runs.folder import RunFolder
from t1mini.runs.jsonl import read_rows
from t1mini.runs.machine import DTYPES
from t1mini.runs.optimiser import NotFinite, Optimiser
from t1mini.runs.settings import TrainingConfig, UserError, setting
from t1mini.runs.state import TrainingState
from t1mini.runs.team import Team, leads, team
from t1mini.tasks import TASKS, countdown, file_of, load_problems, maths, policy_for
from t1mini.tasks.teacher import Teacher, teach

INITIAL_STD = 0.06  # of random weights; at the usual 0.02 so small a model takes much longer to get going


class Example(NamedTuple):
    """Token ids; the response ends with the end token."""

    prompt: list[int]
    response: list[int]


@dataclass(frozen=True)
class SFTConfig(Teacher, TrainingConfig):
    task: str = setting("countdown", "what the problems are", choices=tuple(TASKS), qwen="math")
    data: str = setting("data", "file, or folder of train.jsonl: problems, or traces of collect", qwen="")
    init: str = setting("", "checkpoint folder to start from (default: random weights of the shape below)")
    hidden: int = setting(96, "hidden size of a new model", "2 to 8192", gpu=512)
    layers: int = setting(3, "layers of a new model", "1 to 128", gpu=6)
    heads: int = setting(3, "query heads of a new model, with one key/value head", "1 to 128", gpu=8)
    intermediate: int = setting(256, "width of a new model's MLP", "1 to 65_536", gpu=1408)
    traces: int = setting(120_000, "chains of thought to learn from, at most", "1 to 100_000_000",
                          gpu=400_000, qwen=10**8)
    epochs: int = setting(1, "times each is seen", "1 to 1000", gpu=2, qwen=3, smollm=1)
    batch: int = setting(32, "traces an update", "1 to 65_536", gpu=256, qwen=32, smollm=16)
    lr: float = setting(5.6e-3, "peak learning rate", "above 0, to 1", gpu=1e-3, qwen=1e-5,
                        smollm=3e-4)
    warmup: int = setting(100, "updates of warm-up", "0 to 1_000_000", qwen=20, smollm=10)
    weight_decay: float = setting(0.1, "AdamW weight decay of matrices", "0 to 10")
    micro_batch_tokens: int = setting(8192, "tokens of one forward and backward pass", "1 or more", gpu=65536,
                                      qwen=16384, smollm=4096)
    state_every: int = setting(200, "updates between saves of the state to resume from", "1 or more", qwen=50)


def run(config: SFTConfig):
    math = config.task == "math"
    problems = [] if math and config.data else load_problems(config.task, config.data, "train")
    model, tokenizer = policy_for(config, config.init) if math or config.init else new_policy(config)
    source = read_examples(file_of(config.data, "train"), tokenizer,
                           model.config.max_position_embeddings) if math else problems
    rng, batch = random.Random(config.seed), config.batch
    with RunFolder.open(config, "sft", leads(batch)) as folder, team(config, "sft", batch) as ranks:
        examples = source[: config.traces] if math else teacher_examples(source, config, tokenizer, rng)
        train(model, tokenizer, examples, rng, config, folder, ranks)
    if folder:
        print(f"saved {folder.path / 'final'}")


def new_policy(config: SFTConfig):
    """A small Qwen2 of random weights with Countdown's own tokenizer."""
    if config.hidden % (2 * config.heads):
        raise UserError(f"--hidden {config.hidden} over --heads {config.heads} must give an even head size")
    tokenizer = countdown.make_tokenizer()
    shape = QwenConfig(
        vocab_size=tokenizer.size, hidden_size=config.hidden, intermediate_size=config.intermediate,
        num_hidden_layers=config.layers, num_attention_heads=config.heads, num_key_value_heads=1,
        head_dim=config.hidden // config.heads, initializer_range=INITIAL_STD)
    return Qwen(shape).initialise(config.seed).to(config.device), tokenizer


def train(model, tokenizer, examples: list[Example], rng, config, folder, team=Team()):
    """Trains `model` in place, in batches of traces of like length; a metrics row every 20 updates.

    Only the rank that leads the team has a `folder`.
    """
    lengths = [len(example.response) for example in examples]
    batches = [batch for _ in range(config.epochs) for batch in bucketed_batches(lengths, config.batch, rng)]
    optimiser = Optimiser(model, team, lr=config.lr, steps=len(batches), warmup=config.warmup,
                          clip=config.clip, weight_decay=config.weight_decay)
    _, score = twins(config)
    state = TrainingState(config, folder, team, optimiser, policy=model)
    started = time.perf_counter()
    with state:
        for step in state.updates(len(batches), "SFT"):
            batch, done = [examples[i] for i in batches[step]], step + 1
            try:
                state.losses.append(sft_step(step, batch, optimiser, config, score))
            except NotFinite as refused:
                state.refuse(done, *refused.args)
            if state.losses and (not done % 20 or done == len(batches)):
                loss = torch.stack(state.losses).mean().item()
                state.losses = []
                state.bar.set_postfix(loss=f"{loss:.3f}")
                state.record({"step": done, "loss": loss}, {"seconds": time.perf_counter() - started})
            state.after(done)
        if folder:
            save_policy(model, tokenizer, folder.path / "final", DTYPES[config.save_precision])


def sft_step(step: int, batch: list[Example], optimiser, config, score):
    """One update on a batch, of which this rank takes its share. Returns the batch's loss, or NotFinite."""
    tokens = sum(len(example.response) for example in batch)  # of the whole batch, whoever scores them
    model, mine = optimiser.model, optimiser.team.share(batch)
    total = torch.zeros((), device=model.device)
    lengths = [sum(map(len, example)) for example in mine]
    for picks in micro_batches(lengths, config.micro_batch_tokens):
        loss = sft_loss(model, *zip(*(mine[i] for i in picks)), score, tokens)
        loss.backward()
        total += loss.detach()
    optimiser.team.sum(total)
    optimiser.step(step, {"loss": total}, lambda: [example._asdict() for example in mine])
    return total


def sft_loss(model, prompts, responses, score=score, normaliser=None):
    """Mean negative log-probability of the response tokens, end token included, prompt excluded.

    `normaliser` is the number of response tokens of the whole batch; by default those given.
    """
    logprobs, _, mask = score(model, prompts, responses)
    return -(logprobs * mask).sum() / (normaliser or mask.sum())


def teacher_examples(problems, config, tokenizer, rng):
    """Countdown: traces of the teacher."""
    chosen = [rng.choice(problems) for _ in range(config.traces)]
    return [example(countdown, problem, teach(problem, config, rng), tokenizer)
            for problem in tqdm(chosen, "traces", leave=False, disable=None)]


def read_examples(path: str, tokenizer, positions=float("inf")):
    """Mathematics: lines of {"question": ..., "response": ...}, or problems with a worked solution.

    UserError names file, lines and why.
    """

    def parse(row, place):
        row = {name.casefold(): value for name, value in row.items()}
        question, response = row.get("question"), row.get("response")
        if response is None and {"answer", "solution"} & {*row}:
            question, answer = maths.parse_row(row, place)
            response = maths.worked_solution(row, answer)
        if not all(isinstance(text, str) and text.strip() for text in (question, response)):
            raise UserError(f'{place}: want {{"question": "...", "response": "..."}}, as the collect stage '
                            "writes, or a problem with a worked solution, as GSM8K's")
        trace = example(maths, maths.Problem(question, ""), response, tokenizer)
        if (length := sum(map(len, trace))) > positions:
            raise UserError(f"{place}: prompt and response have {length} tokens, and the model was made for "
                            f"{positions}: shorten it, or leave it out")
        return trace

    examples = read_rows(path, "traces", parse)
    if not examples:
        raise UserError(f"{path} holds no trace")
    return examples


def example(task, problem, response, tokenizer):
    return Example(task.prompt_ids(problem, tokenizer), [*tokenizer.encode(response), tokenizer.eos_id])
