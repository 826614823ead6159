"""Bench: what the fast paths buy, measured beside their slow twins, a user's other choice and the machine's own limits.

    rollout     responses of random weights: tokens a second, seconds by part
    update      what follows them in a step: scoring by the reference, forward, backward, optimiser
    step        both: a whole on-policy step
    logprobs    token_logprobs against the full-logits twin at Qwen's vocabulary: peak memory and seconds (t1mini.lab.bench_logprobs)

No machine is faster than its floors, measured here and now:

    flops       2 a weight and token (6 with the gradient), 4 a layer, head and earlier token in attention, over the rate of a
                matrix product of this shape; the prompts count once
    bytes       decoding reads every weight at every step and every row's keys and values, over the bandwidth of a copy

What brings us nearer to them, seconds on 2 cores of an AMD EPYC (hidden 192, 4 layers, 16 prompts of 16 tokens x 32 responses of 96):

    rollout   float32 2.6 -> 1.7      the engine in place of the model with its KV cache (`--plain`): fused weights, shared prompts, and
                                      whole blocks of cache. The batched product copies a block that is sliced to its filled part, so
                                      the cache grows by 8 columns and masks the rest
    update    float32 5.9 -> 5.4      packing (a prompt is a seventh of each row here), fused weights, gradients by hand
              bfloat16 4.5 -> 3.6     the same, and attention in float32, whose gradient takes a third of bfloat16's time on a CPU

Tried and left out, as shares of the time they would save here: torch.compile of the layers (5% in float32, 11% in bfloat16, for 10 to 20
seconds of compiling; `rl --compile` is there for GPUs), oneDNN's float32 products (0 to 3%), smaller blocks of rows that fit the cache
(none: every operation costs some microseconds however small it is), transparent huge pages (none).

No response ends by itself: lengths are fixed, or drawn from a log-normal distribution with a mean of a quarter of the limit, since
rollouts look like that: most short, a few at the limit. Machines are noisy, so compare within a run: `--plain` turns the engine off,
`--peer transformers` and `--peer trl` (t1mini.lab.peers) take turns with it.

Run it: python -m t1mini bench rollout
"""

import contextlib
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from t1mini.runs import team as distributed
from t1mini.lab.bench_logprobs import bench_logprobs
from t1mini.runs.checkpoint import read_config
from t1mini.runs.clock import Clock
from t1mini.runs.settings import QWEN, StageConfig, UserError, from_flags, setting
from t1mini.runs.team import Team
from t1mini.runs.machine import PRECISIONS, autocast
from t1mini.lab.memory import SHAPES
from t1mini.model import Qwen, QwenConfig
from t1mini.runs.optimiser import Optimiser
from t1mini.lab.peers import NEEDS, peer, require
from t1mini.reference import EMAReference
from t1mini.rl import RLConfig
from t1mini.rollout import Rollouts, generate
from t1mini.runs.folder import made_by, write_text
from t1mini.update import accumulate_gradients, score_rollouts

PEERS = {"transformers": "rollout", "trl": "step"}  # and the stage each is compared at
SPREAD = 0.8  # standard deviation of the logarithm of a log-normal length
TINY = QwenConfig(118, 96, 256, 3, 3, 1, 32)  # the shape of the tiny preset


@dataclass(frozen=True)
class BenchConfig(StageConfig):
    what: tuple = setting(("rollout", "step"), "what to measure", choices=("rollout", "update", "step", "logprobs"), positional=True)
    config: str = setting("", "config.json of the shape to measure, with random weights (default: the preset's)")
    prompts: int = setting(16, "prompts", low=1, high=65536)
    k: int = setting(32, "responses to each", low=2, high=65536)
    prompt_len: int = setting(16, "tokens of a prompt", low=1, high=2**20, qwen=256)
    max_new_tokens: int = setting(96, "limit of a response's length", low=2, high=2**20, qwen=512)
    lengths: str = setting("fixed", "how long responses are", choices=("fixed", "lognormal"))
    dtype: str = setting("float32", "what the model computes in", choices=PRECISIONS, gpu="bfloat16")
    min_p: float = setting(0.05, "min-p of sampling", low=0, high=1)
    plain: bool = setting(False, "leave the engine out: the slow twin")
    peer: str = setting("", "also time this library: transformers (rollout) or trl (step)", choices=("", *NEEDS))
    repeats: int = setting(3, "measurements, after one that does not count; the median is reported", low=1, high=1000)
    micro_batch_tokens: int = setting(4096, "step: tokens of one forward and backward pass", low=1, gpu=65536, qwen=16384)
    max_batch_tokens: int = setting(10**6, "tokens that responses sampled at once may have, with their prompts: rows x limit", low=1)
    workers: int = setting(2, "processes that share work and threads; never more than threads", low=1, high=1024, gpu=1)
    tokens: int = setting(1024, "logprobs: tokens to score", low=1, high=2**24)
    hidden: int = setting(896, "logprobs: hidden size", low=1, high=2**16)
    vocab: int = setting(151_936, "logprobs: rows of the output matrix", low=2, high=2**24)
    json: str = setting("", "file to write the figures to")


def run(config: BenchConfig) -> None:
    if "logprobs" in config.what:
        print(bench_logprobs(config))
    stages = [name for name in config.what if name != "logprobs"]
    if config.peer and PEERS[config.peer] not in stages:
        raise UserError(f"--peer {config.peer}: it is compared at bench {PEERS[config.peer]}")
    if config.peer:
        require(config.peer)
    if config.json and not Path(config.json).parent.is_dir():
        raise UserError(f"--json {config.json}: there is no folder {Path(config.json).parent}")
    if not stages:
        return
    shape = read_config(Path(config.config)) if config.config else SHAPES[config.preset] if config.preset in QWEN else TINY
    results = {}
    with distributed.team(config, "bench", most=config.prompts) as team:
        for name in stages:
            results[name] = Bench(config, shape, team).measure(name)
    if team.leads:
        print(f"{config.prompts} prompts of {config.prompt_len} tokens x {config.k} responses of {config.lengths} length up to "
              f"{config.max_new_tokens}, {config.dtype}, {config.device}, {team.size} process(es)")
        print("\n".join(report(name, result) for name, result in results.items()))
        if config.json:
            told = {"settings": config.to_dict(), "made_by": made_by(config)}
            write_text(config.json, json.dumps({name: result | told for name, result in results.items()}, indent=1) + "\n")


class Bench:
    """Random weights of a shape, and the work to do with them. Each rank of the team takes its share of the prompts."""

    def __init__(self, config: BenchConfig, shape: QwenConfig, team: Team):
        self.config, self.shape, self.team = config, shape, team
        self.model = Qwen(shape).initialise(config.seed).to(config.device)
        self.reference = EMAReference(self.model, 0.99)
        self.optimiser = Optimiser(self.model, lr=1e-6, steps=9, warmup=0, clip=1.0, weight_decay=0.0)
        generator = torch.Generator().manual_seed(config.seed)
        prompts = torch.randint(2, shape.vocab_size, (config.prompts, config.prompt_len), generator=generator).tolist()
        self.all_prompts, self.numbers, self.prompts = prompts, team.share(range(config.prompts)), team.share(prompts)
        rows = config.prompts * config.k
        self.lengths = torch.full((rows,), config.max_new_tokens)
        if config.lengths == "lognormal":
            z = torch.randn(rows, generator=generator) * SPREAD - SPREAD**2 / 2
            self.lengths = (config.max_new_tokens / 4 * z.exp()).round().clamp(1, config.max_new_tokens).long()
        self.mine = torch.cat([self.lengths[p * config.k : (p + 1) * config.k] for p in self.numbers])

    def measure(self, name: str) -> dict:
        """The median run: its seconds, tokens a second, seconds by part, the floors, and the peer's seconds."""
        rollouts = self.rollout(Clock()) if name == "update" else None
        work = {"rollout": self.rollout, "update": lambda clock: self.update(rollouts, clock),
                "step": lambda clock: self.update(self.rollout(clock), clock)}[name]
        ours, theirs = [], []
        with self.peer() if PEERS.get(self.config.peer) == name and self.team.leads else contextlib.nullcontext() as other:
            for _ in range(self.config.repeats + 1):
                self.wait()
                clock, began = Clock(self.config.device), time.perf_counter()
                work(clock)
                self.wait()
                ours.append((time.perf_counter() - began, clock.seconds))
                if other:
                    theirs.append(other.seconds())
        seconds, parts = sorted(ours[1:], key=lambda run: run[0])[len(ours[1:]) // 2]
        tokens = int(self.lengths.sum())
        result = {"seconds": seconds, "tokens_per_second": tokens / seconds, "parts": parts, "floors": self.floors(name)}
        return result | ({"peer": self.config.peer, "peer_seconds": statistics.median(theirs[1:])} if theirs else {})

    def peer(self):
        """The library of --peer, with the same weights and prompts."""
        c = self.config
        return peer(c.peer, self.model, prompts=self.all_prompts, k=c.k, max_new_tokens=c.max_new_tokens, temperature=1.2, min_p=c.min_p,
                    rounds=c.repeats + 1, dtype=c.dtype, device=c.device, threads=c.to_dict()["threads"])

    def wait(self) -> None:
        """Until every rank and the device are here."""
        self.team.sum(torch.zeros(1, device=self.config.device)).item()

    def rollout(self, clock: Clock) -> Rollouts:
        c = self.config
        with autocast(c.dtype, c.device):
            return generate(self.model, self.prompts, c.k, max_new_tokens=c.max_new_tokens, temperature=1.2, min_p=c.min_p, seed=c.seed,
                            prompt_indices=self.numbers, max_batch_tokens=c.max_batch_tokens, plain=c.plain, lengths=self.mine, clock=clock)

    def update(self, rollouts: Rollouts, clock: Clock) -> None:
        """What t1mini.rl does with rollouts, given random rewards."""
        c = self.config
        settings = from_flags(RLConfig, {"k": c.k, "temperature": 1.2, "device": c.device, "precision": c.dtype,
                                         "micro_batch_tokens": c.micro_batch_tokens, "entropy_coef": 0.0})
        score_rollouts(self.reference.model, self.prompts, rollouts, settings, self.shape.vocab_size)
        clock.lap("reference")
        advantages = torch.randn(len(rollouts.lengths), generator=torch.Generator().manual_seed(0)).to(c.device)
        tokens = self.team.sum(rollouts.lengths.sum())
        accumulate_gradients(self.model, self.prompts, rollouts, advantages, tokens, settings, self.shape.vocab_size, clock)
        clock.lap("gradients")
        self.team.sum_gradients(self.model)
        self.optimiser.clip_gradients()
        self.optimiser.step(0)
        self.reference.update(self.model)
        clock.lap("optimiser")

    def floors(self, name: str) -> dict[str, float]:
        """Seconds that the machine's own rates make unavoidable."""
        c, s, lengths = self.config, self.shape, self.lengths.double()
        width = s.num_attention_heads * s.head_dim
        matrices = s.num_hidden_layers * (2 * s.hidden_size * (width + s.num_key_value_heads * s.head_dim) + 3 * s.hidden_size * s.intermediate_size)
        tokens, context = lengths.sum().item(), (lengths * (c.prompt_len + lengths / 2)).sum().item()  # all rows' reads of earlier tokens
        forward = 2 * (matrices + s.hidden_size * s.vocab_size) * tokens + 2 * matrices * c.prompts * c.prompt_len
        forward += 4 * s.num_hidden_layers * width * context
        update = 4 * forward  # reference, forward, backward (2)
        flops = {"rollout": forward, "update": update, "step": forward + update}[name]
        size = 2 if c.dtype == "bfloat16" else 4
        cache = s.num_hidden_layers * 2 * s.num_key_value_heads * s.head_dim  # numbers a token
        reads = size * (cache * (lengths * lengths / 2).sum().item()
                        + (matrices * self.team.size + cache * c.prompts * c.prompt_len) * c.max_new_tokens)
        rows = len(self.mine) if name == "rollout" else c.micro_batch_tokens
        rate, bandwidth = self.team.sum(torch.tensor([matmul_rate(c, s, rows), copy_rate(c)], dtype=torch.float64)).tolist()
        return {"flops": flops / rate, "bytes": reads / bandwidth if name != "update" else 0.0, "gflops_per_second": rate / 1e9,
                "gigabytes_per_second": bandwidth / 1e9, "prompt_cache_megabytes": size * cache * c.prompts * c.prompt_len / 1e6}


def matmul_rate(config: BenchConfig, shape: QwenConfig, rows: int) -> float:
    """FLOPs a second of the MLP's first matrix product, for so many rows."""
    x = torch.randn(rows, shape.hidden_size, device=config.device, dtype=getattr(torch, config.dtype))
    w = torch.randn(2 * shape.intermediate_size, shape.hidden_size, device=config.device, dtype=x.dtype)
    return 2 * len(x) * w.numel() / best_time(lambda: torch.nn.functional.linear(x, w), config.device)


def copy_rate(config: BenchConfig) -> float:
    """Bytes read and written a second by a copy too large for any cache."""
    x = torch.empty(2**28, dtype=torch.uint8, device=config.device)
    y = torch.empty_like(x)
    return 2 * x.numel() / best_time(lambda: y.copy_(x), config.device)


def best_time(work, device: str, times: int = 20) -> float:
    clock, best = Clock(device), float("inf")
    for _ in range(times):
        clock.restart()
        work()
        clock.lap("work")
        best = min(best, clock.seconds.pop("work"))
    return best


def report(name: str, result: dict) -> str:
    """A measurement in words."""
    floor = max(result["floors"]["flops"], result["floors"]["bytes"])
    lines = [f"{name}: {result['seconds']:.3f} s, {result['tokens_per_second']:,.0f} tokens/s, "
             f"{floor / result['seconds']:.0%} of what the machine allows"]
    lines += [f"    {part:24}{seconds:8.3f} s" for part, seconds in result["parts"].items()]
    lines += [f"    floor by {kind:15}{result['floors'][kind]:8.3f} s at {result['floors'][rate]:.0f} {unit}"
              for kind, rate, unit in (("flops", "gflops_per_second", "GFLOP/s"), ("bytes", "gigabytes_per_second", "GB/s"))]
    if "peer_seconds" in result:
        lines.append(f"    {result['peer']:24}{result['peer_seconds']:8.3f} s: {result['peer_seconds'] / result['seconds']:.2f} times as long")
    return "\n".join(lines)
