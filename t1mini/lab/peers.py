"""Peers: what a user would pick instead, timed on the same weights, prompts and lengths.

Each runs in a process of its own, with its own settings of torch, and does a round of work whenever it is asked. So bench can take
turns with it, and what disturbs the machine disturbs both.

    transformers    generate, for rollouts; every response runs to the longest one's end
    trl             RLOOTrainer, for a whole on-policy step with a reference (needs the packages trl and datasets)

Neither is needed by anything else here, and neither is installed by requirements.txt.
"""

import contextlib
import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Iterator

import tokenizers
import torch

from t1mini.runs.checkpoint import save_model
from t1mini.runs.settings import UserError
from t1mini.model import Qwen

EOS, PAD = 1, 0
TRL_ROWS = 128  # of its micro-batches, at most
NEEDS = {"transformers": ("transformers",), "trl": ("transformers", "trl", "datasets")}


def require(name: str) -> None:
    """UserError where a package that this peer needs is not installed."""
    missing = [package for package in NEEDS[name] if find_spec(package) is None]
    if missing:
        raise UserError(f"--peer {name}: {' and '.join(missing)} not installed; pip install {' '.join(NEEDS[name])}")


@dataclass(frozen=True)
class Job:
    """What to do: `k` responses of `max_new_tokens` tokens to each of the prompts, and in TRL's case learn from them."""

    folder: str
    prompts: list[list[int]]
    k: int
    max_new_tokens: int
    temperature: float
    min_p: float
    rounds: int
    dtype: str
    device: str
    threads: int


class Peer:
    """A library at work in another process. `seconds()` lets it do one round."""

    def __init__(self, name: str, job: Job):
        context = multiprocessing.get_context("spawn")
        self.here, there = context.Pipe()
        self.process = context.Process(target=work, args=(there, name, job), daemon=True)
        self.process.start()
        there.close()  # so that its end is noticed here
        self.answer(name)

    def answer(self, name: str = "the peer"):
        try:
            return self.here.recv()
        except EOFError:
            raise UserError(f"--peer {name}: it ended without an answer; what it said stands above") from None

    def seconds(self) -> float:
        self.here.send("go")
        return self.answer()


@contextlib.contextmanager
def peer(name: str, model: Qwen, **job) -> Iterator[Peer]:
    """A peer with the weights of `model`, while the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, folder)
        started = Peer(name, Job(folder=folder, **job))
        try:
            yield started
        finally:
            started.here.close()  # which ends its next wait for "go"
            started.process.join(timeout=10)
            started.process.terminate()
            started.process.join()


def work(connection, name: str, job: Job) -> None:
    """The other process."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(job.threads)
    with contextlib.suppress(EOFError):  # bench has gone
        {"transformers": generate_rounds, "trl": train_rounds}[name](connection, job)


def generate_rounds(connection, job: Job) -> None:
    transformers = import_module("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(job.folder, dtype=getattr(torch, job.dtype)).to(job.device).eval()
    ids = torch.tensor(job.prompts, device=job.device).repeat_interleave(job.k, 0)
    connection.send("ready")
    while connection.recv():
        began = time.perf_counter()
        model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=job.temperature, min_p=job.min_p,
                       max_new_tokens=job.max_new_tokens, min_new_tokens=job.max_new_tokens, pad_token_id=PAD, eos_token_id=EOS).sum().item()
        connection.send(time.perf_counter() - began)


def train_rounds(connection, job: Job) -> None:
    transformers, trl, datasets = map(import_module, NEEDS["trl"])
    words = [f"w{i}" for i in range(transformers.AutoConfig.from_pretrained(job.folder).vocab_size)]
    vocabulary = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[PAD]))
    vocabulary.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=vocabulary, pad_token=words[PAD], eos_token=words[EOS])
    model = transformers.AutoModelForCausalLM.from_pretrained(job.folder, dtype=torch.float32)
    model.config.eos_token_id, model.config.pad_token_id = EOS, PAD
    generator = torch.Generator().manual_seed(0)

    class Rounds(transformers.TrainerCallback):
        def on_step_begin(self, *_, **__):
            connection.recv()
            self.began = time.perf_counter()

        def on_step_end(self, *_, **__):
            connection.send(time.perf_counter() - self.began)

    P = len(job.prompts)
    at_once = max(p for p in range(1, P + 1) if P % p == 0 and (p * job.k <= TRL_ROWS or p == 1))  # prompts of a micro-batch
    settings = trl.RLOOConfig(
        output_dir=job.folder, use_cpu=job.device == "cpu", bf16=job.dtype == "bfloat16", per_device_train_batch_size=at_once * job.k,
        gradient_accumulation_steps=P // at_once, num_generations=job.k, max_completion_length=job.max_new_tokens,
        temperature=job.temperature, min_p=job.min_p, beta=2e-4, learning_rate=1e-6, max_steps=job.rounds, save_strategy="no", report_to=[],
        gradient_checkpointing=False, disable_tqdm=True, logging_steps=10**9, generation_kwargs={"min_new_tokens": job.max_new_tokens})
    texts = [" ".join(words[i] for i in prompt) for prompt in job.prompts]
    trainer = trl.RLOOTrainer(
        model=model, args=settings, processing_class=tokenizer, callbacks=[Rounds()],
        train_dataset=datasets.Dataset.from_dict({"prompt": texts * job.rounds}),
        reward_funcs=lambda completions, **_: torch.rand(len(completions), generator=generator).tolist())
    connection.send("ready")
    trainer.train()
