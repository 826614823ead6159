"""Peers: what a user would pick instead, timed on the same weights, prompts and lengths as t1mini.

    python tutorials/speed/peers.py transformers --lengths lognormal --dtype bfloat16
    python tutorials/speed/peers.py trl --config config.json --json figures.json

    transformers    generate, for rollouts; every response runs to the longest one's end
    trl             RLOOTrainer, for a whole on-policy step with a reference

The flags are those of `python -m t1mini bench`, which is measured too. The peer works in a process of its
own, with its own settings of torch, and does a round whenever it is asked: before each round of t1mini's. So
the two take turns, and what disturbs the machine disturbs both. The first round of each does not count; the
median of the others is reported, and with --json written as "peer_seconds" beside t1mini's own figures.

From the repository's root; needs what nothing else here needs: pip install transformers trl datasets
"""

import argparse
import contextlib
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator

import tokenizers
import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from t1mini.lab.bench import SAMPLING, Bench, BenchConfig, publish
from t1mini.model import Qwen
from t1mini.runs.checkpoint import save_model
from t1mini.runs.machine import prepare
from t1mini.runs.settings import UserError, add_flags, from_flags
from t1mini.runs.team import team

EOS, PAD = 1, 0
TRL_ROWS, TRL_LOGITS = 128, 2**27  # of its micro-batches, at most: it holds every logit, several times
STAGE = {"transformers": "rollout", "trl": "step"}  # of bench, to compare with
NEEDS = {"transformers": ("transformers",), "trl": ("transformers", "trl", "datasets")}


def main() -> None:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("peer", choices=STAGE)
    add_flags(parser, BenchConfig)
    flags = vars(parser.parse_args())
    name = flags.pop("peer")
    try:
        compare(name, from_flags(BenchConfig, flags | {"what": [STAGE[name]]}))
    except UserError as error:
        sys.exit(f"peers: {error}")


def compare(name: str, config: BenchConfig) -> None:
    """Measures t1mini and the peer in turn, and says how much longer the peer takes."""
    missing = [package for package in NEEDS[name] if find_spec(package) is None]
    if missing:
        raise UserError(f"{' and '.join(missing)} not installed; pip install {' '.join(missing)}")
    prepare(config)
    theirs, stage, alone = [], STAGE[name], Bench(STAGE[name], config)
    with peer(name, alone.policy, alone.prompts, config) as do_round:

        class InTurn(Bench):
            def timed(self):
                theirs.append(do_round())
                return super().timed()

        with team(config, "bench", config.prompts) as ranks:
            result = InTurn(stage, config, ranks).measure()
    seconds = statistics.median(theirs[1:])
    publish({stage: result | {"peer": name, "peer_seconds": seconds}}, config, ranks.size)
    print(f"    {name:24}{seconds:8.3f} s: {seconds / result['seconds']:.2f} times as long")


@contextlib.contextmanager
def peer(name: str, model: Qwen, prompts: list[list[int]], config: BenchConfig) -> Iterator:
    """While the block runs, a function that lets the peer do a round, and returns its seconds."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, folder)
        process = context.Process(target=work, args=(there, name, folder, prompts, config), daemon=True)
        process.start()
        there.close()  # so that its end is noticed here

        def do_round() -> float:
            try:
                here.send("go")
                return here.recv()
            except (EOFError, OSError):
                raise UserError(f"{name} ended without an answer; what it said stands above") from None

        try:
            yield do_round
        finally:
            here.close()  # which ends its next wait for "go"
            process.join(timeout=10)
            process.terminate()
            process.join()


# --- the other process --------------------------------------------------------------------------------------


def work(connection, name: str, folder: str, prompts: list[list[int]], config: BenchConfig) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(config.to_dict()["threads"])
    rounds = {"transformers": generate_rounds, "trl": train_rounds}[name]
    with contextlib.suppress(EOFError):  # bench has gone
        rounds(connection, folder, prompts, config)


def generate_rounds(connection, folder: str, prompts: list[list[int]], config: BenchConfig) -> None:
    transformers = import_module("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, config.dtype))
    model = model.to(config.device).eval()
    ids = torch.tensor(prompts, device=config.device).repeat_interleave(config.k, 0)
    limit = config.max_new_tokens
    while connection.recv():
        began = time.perf_counter()
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=SAMPLING.temperature,
            min_p=config.min_p, max_new_tokens=limit, min_new_tokens=limit,
            pad_token_id=PAD, eos_token_id=EOS)
        made.sum().item()  # waits for a GPU
        connection.send(time.perf_counter() - began)


def train_rounds(connection, folder: str, prompts: list[list[int]], config: BenchConfig) -> None:
    transformers, trl, datasets = map(import_module, NEEDS["trl"])
    rounds, limit = config.repeats + 1, config.max_new_tokens
    vocab_size = transformers.AutoConfig.from_pretrained(folder).vocab_size
    words = [f"w{i}" for i in range(vocab_size)]
    ids = {word: i for i, word in enumerate(words)}
    vocabulary = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token=words[PAD]))
    vocabulary.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=vocabulary, pad_token=words[PAD], eos_token=words[EOS])
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.config.eos_token_id, model.config.pad_token_id = EOS, PAD
    generator = torch.Generator().manual_seed(0)

    class Rounds(transformers.TrainerCallback):
        def on_step_begin(self, *_, **__):
            connection.recv()
            self.began = time.perf_counter()

        def on_step_end(self, *_, **__):
            connection.send(time.perf_counter() - self.began)

    rows, k = len(prompts) * config.k, config.k
    most = min(TRL_ROWS, TRL_LOGITS // (limit * vocab_size))
    at_once = max(n for n in range(1, max(1, most) + 1) if rows % n == 0)  # rows of a micro-batch
    settings = trl.RLOOConfig(
        output_dir=folder, use_cpu=config.device == "cpu", bf16=config.dtype == "bfloat16",
        per_device_train_batch_size=at_once, gradient_accumulation_steps=rows // at_once, num_generations=k,
        max_completion_length=limit, generation_kwargs={"min_new_tokens": limit},
        temperature=SAMPLING.temperature,
        min_p=config.min_p, beta=2e-4, learning_rate=1e-6, max_steps=rounds, gradient_checkpointing=False,
        save_strategy="no", report_to=[], disable_tqdm=True, logging_steps=10**9)
    texts = [" ".join(words[i] for i in prompt) for prompt in prompts]
    trainer = trl.RLOOTrainer(
        model=model, args=settings, processing_class=tokenizer, callbacks=[Rounds()],
        train_dataset=datasets.Dataset.from_dict({"prompt": texts * rounds}),
        reward_funcs=lambda completions, **_: torch.rand(len(completions), generator=generator).tolist())
    trainer.train()


if __name__ == "__main__":
    main()
