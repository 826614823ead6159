"""Bench: how fast the fast paths are, beside their plain twins and the machine's own limits.

    rollout     responses of random weights: tokens a second, seconds by part
    update      what follows them in a step: scoring by the reference, forward, backward, optimiser
    step        both: a whole on-policy step
    logprobs    scoring with an output matrix alone, forward and backward: Qwen2.5-0.5B's, or of --config

No machine is faster than its floors, measured here and now:

    flops       2 a weight and token (6 with the gradient), 4 a layer, head and earlier token in attention,
                over the rate of a matrix product of this shape; the prompts count once
    bytes       decoding reads every weight at every step, and every row's keys and values, over the
                bandwidth of a copy

No response ends by itself: lengths are fixed, or drawn from a log-normal distribution with a mean of a
quarter of the limit, since rollouts look like that: most short, a few at the limit. The run that warms up is
not timed; its memory is counted instead (t1mini.lab.memory). Machines are noisy, so compare within one
sitting: `--plain` measures the plain twins. What each trick buys, and other libraries at the same work:
tutorials/speed.md.

Run it: python -m t1mini bench rollout
"""

import json
import statistics
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from t1mini.fast import twins
from t1mini.lab.memory import SHAPES, PeakBytes
from t1mini.loss import policy_gradient_loss
from t1mini.model import Qwen, QwenConfig
from t1mini.reference import EMAReference
from t1mini.rl import RLConfig
from t1mini.rollout import rows_to_score, score_rollouts
from t1mini.runs.checkpoint import read_config
from t1mini.runs.folder import write_text
from t1mini.runs.machine import DTYPES, Clock, made_by
from t1mini.runs.optimiser import Optimiser
from t1mini.runs.settings import StageConfig, UserError, setting
from t1mini.runs.team import Team, team
from t1mini.sampler import Sampling

TEMPERATURE = 1.2  # of sampling: T1's
SPREAD = 0.8  # standard deviation of the logarithm of a log-normal length
TINY = QwenConfig(118, 96, 256, 3, 3, 1, 32)  # the shape of the tiny preset


@dataclass(frozen=True)
class BenchConfig(StageConfig):
    what: tuple = setting(("rollout", "step"), "what to measure", positional=True,
                          choices=("rollout", "update", "step", "logprobs"))
    config: str = setting("", "config.json of the shape, for random weights (default: the preset's)")
    prompts: int = setting(16, "prompts", "1 to 65_536")
    k: int = setting(32, "responses to each", "2 to 65_536")
    prompt_len: int = setting(16, "tokens of a prompt", "1 to 1_048_576", qwen=256)
    max_new_tokens: int = setting(96, "limit of a response's length", "2 to 1_048_576", qwen=512)
    lengths: str = setting("fixed", "how long responses are", choices=("fixed", "lognormal"))
    dtype: str = setting("float32", "what the model computes in", choices=tuple(DTYPES), gpu="bfloat16")
    min_p: float = setting(0.05, "min-p of sampling", "0 to 1")
    plain: bool = setting(False, "measure the plain twins")
    repeats: int = setting(3, "measurements, after one to warm up; the median is reported", "1 to 1000")
    micro_batch_tokens: int = setting(4096, "tokens of a forward-backward pass", "1 or more", gpu=65536,
                                      qwen=16384)
    max_batch_tokens: int = setting(10**6, "tokens of responses sampled at once, with their prompts",
                                    "1 or more")
    workers: int = setting(2, "processes, at most as many as threads", "1 to 1024", gpu=1)
    tokens: int = setting(1024, "logprobs: tokens to score", "1 to 16_777_216")
    json: str = setting("", "file to write the figures to")


def run(config: BenchConfig):
    folder = Path(config.json).parent
    if not folder.is_dir():
        raise UserError(f"--json {config.json}: there is no folder {folder}")
    with team(config, "bench", config.prompts) as ranks:
        results = {name: Bench(name, config, ranks).measure() for name in config.what}
    if ranks.leads:
        publish(results, config, ranks.size)


class Bench:
    """Work on random weights, a method each. A rank of the team takes its share of the prompts or tokens."""

    def __init__(self, name: str, config: BenchConfig, team: Team = Team()):
        self.name, self.config, self.team = name, config, team
        self.shape = shape_of(config, name)
        self.policy = Qwen(self.shape).initialise(config.seed).to(config.device)
        self.reference = EMAReference(self.policy, 0.99)
        self.optimiser = Optimiser(self.policy, team, lr=1e-6, steps=9, warmup=0, clip=1.0, weight_decay=0.0)
        self.settings = RLConfig(precision=config.dtype, device=config.device, plain=config.plain)
        generator = torch.Generator().manual_seed(config.seed)
        size = config.prompts, config.prompt_len
        prompts = torch.randint(2, self.shape.vocab_size, size, generator=generator)
        self.prompts = team.share(prompts.tolist())
        self.lengths = draw_lengths(config, generator)  # [P, K]
        self.tokens = config.tokens if name == "logprobs" else int(self.lengths.sum())

    def rollout(self, clock: Clock):
        c, share = self.config, self.team.share
        generate, _ = twins(self.settings, clock)
        self.rollouts = generate(
            self.policy, self.prompts, c.k, Sampling(TEMPERATURE, min_p=c.min_p), seed=c.seed,
            max_new_tokens=c.max_new_tokens, max_batch_tokens=c.max_batch_tokens,
            prompt_indices=share(range(c.prompts)), lengths=share(self.lengths).flatten())
        if not c.plain:
            del clock.seconds["rollout"]  # the fast one has noted its parts

    def step(self, clock: Clock):
        self.rollout(clock)
        self.update(clock)

    def update(self, clock: Clock):
        """Steps 4 to 7 of t1mini.rl with these rollouts and random advantages."""
        rollouts, budget, sampling = self.rollouts, self.config.micro_batch_tokens, Sampling(TEMPERATURE)
        _, score = twins(self.settings)
        with clock.part("reference"):
            score_rollouts(score, self.reference.model, self.prompts, rollouts, sampling, budget)
        rows, tokens = range(len(rollouts.lengths)), self.team.sum(rollouts.lengths.sum())
        advantages = torch.randn(len(rows)).to(self.config.device)
        for rows, *texts in rows_to_score(rows, self.prompts, rollouts, budget):
            with clock.part("forward"):
                logprobs, _, mask = score(self.policy, *texts, sampling)
                loss = policy_gradient_loss(logprobs, advantages[rows], mask, normaliser=tokens)
            with clock.part("backward"):
                loss.backward()
        with clock.part("optimiser"):
            self.optimiser.step(0, {}, list)
            self.reference.update(self.policy)

    def logprobs(self, clock: Clock):
        """Scores one response, without layers before the output matrix."""
        _, score = twins(self.settings)
        self.policy.embed_tokens.requires_grad_(False)
        response = torch.randint(self.shape.vocab_size, (self.tokens // self.team.size,)).tolist()
        with clock.part("forward"):
            logprobs, entropy, _ = score(self.policy, [[0]], [response], Sampling(TEMPERATURE))
        with clock.part("backward"):
            (logprobs + entropy).sum().backward()

    def measure(self, between: Callable[[], None] = lambda: None) -> dict:
        """The median run: seconds, tokens a second, seconds by part, floors; the first run's memory.

        `between` is called after each run that counts.
        """
        work, device, runs = getattr(self, self.name), self.config.device, {}
        if self.name == "update":
            self.rollout(Clock())
        with PeakBytes() as memory:
            timed(work, device, self.team)
        for _ in range(self.config.repeats):
            seconds, parts = timed(work, device, self.team)
            runs[seconds] = parts
            between()
        seconds = statistics.median_high(runs)
        return {"seconds": seconds, "tokens_per_second": self.tokens / seconds, "parts": runs[seconds],
                "floors": self.floors(), "peak_gigabytes": memory.peak / 1e9}

    def floors(self) -> dict[str, float]:
        """Seconds that the machine's own rates make unavoidable."""
        c, s, lengths = self.config, self.shape, self.lengths.double()
        matrices = sum(p.numel() for p in self.policy.layers.parameters() if p.ndim == 2)
        prompts = c.prompts * c.prompt_len  # tokens of all prompts
        earlier = (lengths * (c.prompt_len + lengths / 2)).sum().item()  # tokens that all rows look back at
        flops = 2 * matrices * (self.tokens + prompts) + 2 * s.hidden_size * s.vocab_size * self.tokens
        flops += 4 * s.num_hidden_layers * s.num_attention_heads * s.head_dim * earlier
        # backward takes twice the forward pass, and the reference scores too
        flops *= {"rollout": 1, "logprobs": 3, "update": 4, "step": 5}[self.name]
        size = DTYPES[c.dtype].itemsize
        cache = 2 * size * s.num_hidden_layers * s.num_key_value_heads * s.head_dim  # bytes a token
        read = (size * matrices * self.team.size + cache * prompts) * c.max_new_tokens
        read += cache * (lengths**2).sum().item() / 2
        rate, bandwidth = self.team.sum(rates(c, s).clone()).tolist()
        read *= self.name in ("rollout", "step")
        return {"flops": flops / rate, "gflops_per_second": rate / 1e9, "bytes": read / bandwidth,
                "gigabytes_per_second": bandwidth / 1e9, "prompt_cache_megabytes": cache * prompts / 1e6}


def shape_of(config: BenchConfig, name: str) -> QwenConfig:
    """That of --config or --preset. To score a vocabulary takes no layers."""
    default = SHAPES["qwen2.5-0.5b"] if name == "logprobs" else TINY
    shape = read_config(Path(config.config)) if config.config else SHAPES.get(config.preset, default)
    output_only = dict(num_hidden_layers=0, tie_word_embeddings=False)
    return replace(shape, **output_only) if name == "logprobs" else shape


def draw_lengths(config: BenchConfig, generator: torch.Generator) -> Tensor:
    """How long each response is: [P, K]."""
    shape, limit = (config.prompts, config.k), config.max_new_tokens
    if config.lengths == "fixed":
        return torch.full(shape, limit)
    z = torch.randn(shape, generator=generator) * SPREAD - SPREAD**2 / 2
    return (limit / 4 * z.exp()).round().clamp(1, limit).long()


def timed(work: Callable[[Clock], None], device: str, team: Team = Team()) -> tuple[float, dict[str, float]]:
    """Seconds until every rank and the device have done it, and seconds by part."""
    wait = lambda: team.sum(torch.zeros(1, device=device)).item()
    wait()
    clock, began = Clock(device), time.perf_counter()
    work(clock)
    wait()
    return time.perf_counter() - began, clock.seconds


@cache
def rates(config: BenchConfig, shape: QwenConfig) -> Tensor:
    """FLOPs a second of the MLP's first matrix product, and bytes a second of a copy too large for caches."""
    ones = lambda *size: torch.ones(size, device=config.device, dtype=DTYPES[config.dtype])
    x = ones(config.micro_batch_tokens, shape.hidden_size)
    w = ones(2 * shape.intermediate_size, shape.hidden_size)
    block, copy = ones(2**26), ones(2**26)
    best = lambda work: min(timed(work, config.device)[0] for _ in range(10))
    product = best(lambda clock: F.linear(x, w))
    copying = best(lambda clock: copy.copy_(block))
    return torch.tensor([2 * len(x) * w.numel() / product, 2 * block.nbytes / copying], dtype=torch.float64)


def publish(results: dict[str, dict], config: BenchConfig, processes: int):
    """Prints the figures, and writes them to --json."""
    print(f"{config.prompts} prompts of {config.prompt_len} tokens x {config.k} responses of "
          f"{config.lengths} length up to {config.max_new_tokens}, {config.dtype}, {config.device}, "
          f"{processes} process(es)")
    print("\n".join(report(name, result) for name, result in results.items()))
    if config.json:
        origin = {"settings": config.to_dict(), "made_by": made_by(config)}
        figures = {name: result | origin for name, result in results.items()}
        write_text(config.json, json.dumps(figures, indent=1) + "\n")


def report(name: str, result: dict) -> str:
    """A measurement in words."""
    floors, seconds = result["floors"], result["seconds"]
    share = max(floors["flops"], floors["bytes"]) / seconds
    lines = [f"{name}: {seconds:.3f} s, {result['tokens_per_second']:,.0f} tokens/s, "
             f"{share:.0%} of what the machine allows"]
    lines += [f"    {part:20}{took:8.3f} s" for part, took in result["parts"].items()]
    for kind, rate, unit in (("flops", "gflops", "GFLOP/s"), ("bytes", "gigabytes", "GB/s")):
        at = floors[f"{rate}_per_second"]
        lines.append(f"    floor by {kind:11}{floors[kind]:8.3f} s at {at:.0f} {unit}")
    lines.append(f"    peak memory         {result['peak_gigabytes']:8.3f} GB beyond weights and inputs")
    return "\n".join(lines)
