"""Bench: what the fast paths buy, measured beside their slow twins, a user's other choice and the machine's own limits.

    rollout     responses of random weights: tokens a second, seconds by part, and the two floors below
    update      what follows them in a step: scoring by the reference, forward and backward, optimiser
    step        both: a whole on-policy step
    logprobs    token_logprobs against the full-logits twin at Qwen's vocabulary: peak memory and seconds, each in a process of its own

    floors      FLOPs of all matrix products over the rate of one measured here; bytes of weights and of the KV cache that decoding
                must read over the bandwidth of a copy measured here. The larger of the two is as fast as this machine can go

No response ends by itself: lengths are fixed, or drawn from a log-normal distribution with a mean of a quarter of the limit, since
rollouts look like that: most short, a few at the limit. Machines are noisy, so compare within a run: `--plain` turns the engine off,
`--peer transformers` times that library's generate (if it is installed) in between, on the same weights and prompts.

Run it: python -m t1mini bench rollout
"""

import importlib
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from t1mini import distributed, rl
from t1mini.checkpoint import read_config, save_model
from t1mini.clock import Clock
from t1mini.config import QWEN, StageConfig, UserError, from_flags, setting
from t1mini.distributed import Team
from t1mini.loss import logprobs_from_logits, token_entropy, token_logprobs
from t1mini.machine import PRECISIONS, autocast
from t1mini.memory import SHAPES
from t1mini.model import Qwen, QwenConfig
from t1mini.optimiser import Optimiser
from t1mini.reference import EMAReference
from t1mini.rl import RLConfig
from t1mini.rollout import Rollouts, generate

MOST_LOGITS = 2**29  # numbers the slow twin of token_logprobs may hold: 2 GiB
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
    peer: str = setting("", "also time this library", choices=("", "transformers"))
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
            Path(config.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


class Bench:
    """Random weights of a shape, and the work to do with them. Each rank of the team takes its share of the prompts."""

    def __init__(self, config: BenchConfig, shape: QwenConfig, team: Team):
        self.config, self.shape, self.team = config, shape, team
        self.model = Qwen(shape).initialise(config.seed).to(config.device)
        self.reference = EMAReference(self.model, 0.99)
        self.optimiser = Optimiser(self.model, lr=1e-6, steps=9, warmup=0, clip=1.0, weight_decay=0.0)
        generator = torch.Generator().manual_seed(config.seed)
        prompts = torch.randint(2, shape.vocab_size, (config.prompts, config.prompt_len), generator=generator).tolist()
        self.numbers, self.prompts = team.share(range(config.prompts)), team.share(prompts)
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
        peer = self.peer() if self.config.peer and name == "rollout" else None
        ours, theirs = [], []
        for _ in range(self.config.repeats + 1):
            self.wait()
            clock, began = Clock(self.config.device), time.perf_counter()
            work(clock)
            self.wait()
            ours.append((time.perf_counter() - began, clock.seconds))
            if peer and self.team.leads:
                theirs.append(peer())
        seconds, parts = sorted(ours[1:], key=lambda run: run[0])[len(ours[1:]) // 2]
        tokens = int(self.lengths.sum())
        result = {"seconds": seconds, "tokens_per_second": tokens / seconds, "parts": parts, "floors": self.floors(name)}
        return result | ({"peer_seconds": statistics.median(theirs[1:])} if theirs else {})

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
        rl.score_rollouts(self.reference.model, self.prompts, rollouts, settings, self.shape.vocab_size)
        clock.lap("reference")
        advantages = torch.randn(len(rollouts.lengths), generator=torch.Generator().manual_seed(0)).to(c.device)
        tokens = self.team.sum(rollouts.lengths.sum())
        rl.accumulate_gradients(self.model, self.prompts, rollouts, advantages, tokens, settings, self.shape.vocab_size)
        clock.lap("forward and backward")
        self.team.sum_gradients(self.model)
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
        prompts_again = 2 * matrices * c.prompts * c.k * c.prompt_len  # scored with every response
        update = 4 * forward + 4 * prompts_again  # reference, forward, backward (2)
        flops = {"rollout": forward, "update": update, "step": forward + update}[name]
        size = 2 if c.dtype == "bfloat16" else 4
        reads = size * (s.num_hidden_layers * 2 * s.num_key_value_heads * s.head_dim * (lengths * lengths / 2).sum().item()
                        + matrices * c.max_new_tokens * self.team.size)
        rate, bandwidth = self.team.sum(torch.tensor([matmul_rate(c, s), copy_rate(c)], dtype=torch.float64)).tolist()
        return {"flops": flops / rate, "bytes": reads / bandwidth if name != "update" else 0.0, "gflops_per_second": rate / 1e9, "gigabytes_per_second": bandwidth / 1e9}

    def peer(self):
        """A function that runs transformers' generate on the same weights and prompts, as long as the longest, and returns its seconds."""
        try:
            transformers = importlib.import_module("transformers")
        except ImportError:
            raise UserError("--peer transformers: it is not installed here") from None
        c = self.config
        with tempfile.TemporaryDirectory() as folder:
            save_model(self.model, folder)
            theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, c.dtype)).to(c.device).eval()
        generator = torch.Generator().manual_seed(c.seed)
        ids = torch.randint(2, self.shape.vocab_size, (c.prompts, c.prompt_len), generator=generator).repeat_interleave(c.k, 0).to(c.device)

        def timed() -> float:
            threads = torch.get_num_threads()
            torch.set_num_threads(c.to_dict()["threads"])
            torch.use_deterministic_algorithms(False)
            began = time.perf_counter()
            theirs.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.2, min_p=c.min_p, top_k=0,
                            max_new_tokens=c.max_new_tokens, min_new_tokens=c.max_new_tokens, pad_token_id=0, eos_token_id=1).sum().item()
            torch.use_deterministic_algorithms(True)
            torch.set_num_threads(threads)
            return time.perf_counter() - began

        return timed


def matmul_rate(config: BenchConfig, shape: QwenConfig) -> float:
    """FLOPs a second of the MLP's first matrix product, at this shape."""
    x = torch.randn(min(512, config.prompts * config.k), shape.hidden_size, device=config.device, dtype=getattr(torch, config.dtype))
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
    lines = [f"{name}: {result['seconds']:.3f} s, {result['tokens_per_second']:,.0f} tokens/s, {floor / result['seconds']:.0%} of what the machine allows"]
    lines += [f"    {part:24}{seconds:8.3f} s" for part, seconds in result["parts"].items()]
    lines += [f"    floor by {kind:15}{result['floors'][kind]:8.3f} s at {result['floors'][rate]:.0f} {unit}"
              for kind, rate, unit in (("flops", "gflops_per_second", "GFLOP/s"), ("bytes", "gigabytes_per_second", "GB/s"))]
    if "peer_seconds" in result:
        lines.append(f"    transformers' generate  {result['peer_seconds']:8.3f} s: {result['peer_seconds'] / result['seconds']:.2f} times as long")
    return "\n".join(lines)


def bench_logprobs(config: BenchConfig) -> str:
    """Peak memory and seconds of token_logprobs and, where its logits fit, of its twin."""
    lines = [f"{config.tokens} tokens x hidden {config.hidden} x vocabulary {config.vocab}, float32, forward and backward"]
    for twin in [False, True] if config.tokens * config.vocab <= MOST_LOGITS else [False]:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            gigabytes, seconds = pool.apply(measure_logprobs, (config, twin))
        lines.append(f"{'full logits' if twin else 'token_logprobs':16}{gigabytes:8.2f} GB above inputs and gradients{seconds:8.1f} s")
    return "\n".join(lines)


def measure_logprobs(config: BenchConfig, twin: bool) -> tuple[float, float]:
    """Peak gigabytes beyond the inputs and their gradients, and seconds."""
    torch.set_num_threads(config.to_dict()["threads"])
    torch.manual_seed(config.seed)
    hidden = torch.randn(config.tokens, config.hidden, requires_grad=True)
    weight = (0.02 * torch.randn(config.vocab, config.hidden)).requires_grad_()
    targets = torch.randint(config.vocab, (config.tokens,))
    for x in (hidden, weight):
        x.grad = torch.zeros_like(x)
    before, began = peak_bytes(), time.perf_counter()
    if twin:
        logits = hidden @ weight.T
        ids = torch.cat([targets[:1], targets])[None]  # position t scores token t + 1
        logprobs = logprobs_from_logits(torch.cat([logits, logits[:1]])[None], ids, 1.2)[0, 1:]
        entropy = token_entropy(logits / 1.2)
    else:
        logprobs, entropy = token_logprobs(hidden, weight, targets, 1.2)
    (logprobs.sum() + entropy.sum()).backward()
    return (peak_bytes() - before) / 1e9, time.perf_counter() - began


def peak_bytes() -> int:
    """The most memory this process has had (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
