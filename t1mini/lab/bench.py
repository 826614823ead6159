"""Bench: how fast the fast paths are, beside their plain twins and the machine's own limits.

    rollout     responses of random weights: tokens a second, seconds by part
    update      what follows them in a step: scoring by the reference, forward, backward, optimiser
    step        both: a whole on-policy step
    logprobs    scoring with an output matrix alone, forward and backward: Qwen2.5-0.5B's, or of --config

No machine is faster than its floors, measured here and now:

    flops       2 a weight and token (6 with the gradient), 4 head_dim a layer, head and earlier token in
                attention, over the rate of a matrix product of this shape; the prompts count once
    bytes       decoding reads every layer's weights at every step, and every row's keys and values, over the
                bandwidth of a copy

No response ends by itself: lengths are fixed, or drawn from a log-normal distribution with a mean of a
quarter of the limit, since rollouts look like that: most short, a few at the limit. The run that warms up is
not timed; its memory is counted instead (t1mini.lab.memory). Machines are noisy, so compare within one
sitting: `--plain` measures the plain twins. What each trick buys, and other libraries at the same work:
tutorials/speed.md.

Run it: python -m t1mini bench rollout
"""

import statistics
import timeit
from dataclasses import dataclass, replace
from functools import cache, partial

import torch

from t1mini.fast import twins
from t1mini.lab.memory import SHAPES, PeakBytes, shape_of
from t1mini.loss import policy_gradient_loss
from t1mini.model import Qwen
from t1mini.reference import EMAReference
from t1mini.rollout import rows_to_score, score_rollouts
from t1mini.runs.folder import write_json
from t1mini.runs.machine import DTYPES, Clock, made_by
from t1mini.runs.optimiser import Optimiser
from t1mini.runs.settings import StageConfig, setting
from t1mini.runs.team import Team, team
from t1mini.sampler import Sampling

# forward passes that the work comes to, of which a backward pass is two
WORK = {"rollout": 1, "update": 4, "step": 5, "logprobs": 3}
SAMPLING = Sampling(1.2)  # T1's temperature
SPREAD = 0.8  # standard deviation of the logarithm of a log-normal length


@dataclass(frozen=True)
class BenchConfig(StageConfig):
    what: tuple = setting(("rollout", "step"), "what to measure", positional=True, choices=WORK)
    shape: str = setting("preset", "shape of the random weights", choices=("preset", *SHAPES))
    config: str = setting("", "config.json of the shape, for random weights (default: the preset's)")
    prompts: int = setting(16, "prompts", "1 to 65_536")
    k: int = setting(32, "responses to each", "2 to 65_536")
    prompt_len: int = setting(16, "tokens of a prompt", "1 to 1_048_576", qwen=256)
    max_new_tokens: int = setting(96, "limit of a response's length", "2 to 1_048_576", qwen=512)
    lengths: str = setting("fixed", "how long responses are", choices=("fixed", "lognormal"))
    dtype: str = setting("float32", "what the model computes in", choices=DTYPES, gpu="bfloat16")
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

    @property
    def precision(self):
        return self.dtype


def run(config):
    with team(config, "bench", config.prompts) as ranks:
        results = {name: Bench(name, config, ranks).measure() for name in config.what}
    if ranks.leads:
        publish(results, config, ranks.size)


class Bench:
    """Work on random weights, a method each. A rank of the team takes its share of the prompts or tokens."""

    def __init__(self, name, config: BenchConfig, team: Team = Team()):
        self.name, self.config, self.team, self.clock = name, config, team, Clock(config.device)
        self.generate, _ = twins(config, self.clock)
        _, self.score = twins(config)
        alone = name == "logprobs"  # the output matrix
        default = shape_of(config.preset, config.config, "qwen2.5-0.5b" if alone else "tiny")
        shape = SHAPES.get(config.shape, default)
        if alone:
            shape = replace(shape, num_hidden_layers=0, tie_word_embeddings=False)
        self.sampling = replace(SAMPLING, min_p=config.min_p)
        self.policy = Qwen(shape).initialise(config.seed).to(config.device)
        self.reference = EMAReference(self.policy, 0.99)
        self.optimiser = Optimiser(self.policy, team, lr=1e-6, steps=9, warmup=0, clip=1.0, weight_decay=0.0)
        generator, limit = torch.Generator().manual_seed(config.seed), config.max_new_tokens
        prompts = torch.randint(2, shape.vocab_size, (config.prompts, config.prompt_len), generator=generator)
        self.indices = team.share(range(config.prompts))
        self.prompts = prompts[self.indices].tolist()
        self.lengths = torch.full((config.prompts, config.k), limit)  # [P, K]
        if config.lengths == "lognormal":
            drawn = self.lengths.double().log_normal_(-(SPREAD**2) / 2, SPREAD, generator=generator)
            self.lengths = (limit / 4 * drawn).round().clamp(1, limit).long()
        self.tokens = config.tokens if alone else int(self.lengths.sum())

    def rollout(self):
        c = self.config
        self.rollouts = self.generate(
            self.policy, self.prompts, c.k, self.sampling, seed=c.seed,
            max_new_tokens=c.max_new_tokens, max_batch_tokens=c.max_batch_tokens,
            prompt_indices=self.indices, lengths=self.lengths[self.indices].flatten())
        if not c.plain:
            del self.clock.seconds["rollout"]  # the fast one has noted its parts

    def update(self):
        """Steps 4 to 7 of t1mini.rl with these rollouts."""
        work, budget = (self.prompts, self.rollouts), self.config.micro_batch_tokens
        score_rollouts(self.score, self.reference.model, *work, SAMPLING, budget)
        self.clock.lap("reference")
        for _, *texts in rows_to_score(range(len(self.rollouts.lengths)), *work, budget):
            self.backward(*texts)
        self.optimiser.step(0, {}, list)
        self.reference.update(self.policy)
        self.clock.lap("optimiser")

    def step(self):
        self.rollout()
        self.update()

    def logprobs(self):
        """Scores one response, without layers before the output matrix."""
        self.policy.embed_tokens.requires_grad_(False)
        self.backward([[0]], [[0] * (self.tokens // self.team.size)])

    def backward(self, prompts, responses):
        """Adds the gradients of a micro-batch, whose advantages are all 1."""
        logprobs, entropy, mask = self.score(self.policy, prompts, responses, self.sampling)
        loss = policy_gradient_loss(logprobs, logprobs.new_ones(len(mask)), mask, entropy=entropy,
                                    entropy_coef=1e-3, normaliser=self.tokens)
        self.clock.lap("forward")
        loss.backward()
        self.clock.lap("backward")

    def timed(self):
        """Seconds until every rank has done it, and seconds by part."""
        with self.clock.part("all"):
            getattr(self, self.name)()
            self.team.sum(torch.zeros(1, device=self.config.device))
        parts = self.clock.take(*self.clock.seconds)
        return parts.pop("all"), parts

    def measure(self):
        """The median run: seconds, tokens a second, seconds by part, floors; the first run's memory."""
        if self.name == "update":
            self.rollout()
        with PeakBytes() as memory:
            self.timed()
        seconds, parts = statistics.median_high(self.timed() for _ in range(self.config.repeats))
        return {"seconds": seconds, "tokens_per_second": self.tokens / seconds, "parts": parts,
                "floors": self.floors(), "peak_gigabytes": memory.peak / 1e9}

    def floors(self):
        """Seconds that the machine's own rates make unavoidable."""
        c, s, lengths, ranks = self.config, self.policy.config, self.lengths.double(), self.team.size
        matrices = sum(p.numel() for p in self.policy.layers.parameters() if p.ndim == 2)
        prompts, wide = c.prompts * c.prompt_len, s.num_hidden_layers * s.head_dim
        earlier = (lengths * (c.prompt_len + lengths / 2)).sum().item()  # tokens that all rows look back at
        flops = matrices * (self.tokens + prompts) + s.hidden_size * s.vocab_size * self.tokens
        flops += 2 * wide * s.num_attention_heads * earlier
        cache = 2 * wide * s.num_key_value_heads  # numbers a token
        read = (matrices * ranks + cache * prompts) * c.max_new_tokens
        read += cache * (lengths**2).sum().item() / 2
        rate, bandwidth = (ranks * rate for rate in rates(c, s))  # every rank is measuring now
        return {"flops": 2 * flops * WORK[self.name] / rate, "gflops_per_second": rate / 1e9,
                "bytes": DTYPES[c.dtype].itemsize * read * (self.name in ("rollout", "step")) / bandwidth,
                "gigabytes_per_second": bandwidth / 1e9}


@cache
def rates(config, shape):
    """FLOPs a second of the MLP's first matrix product, and bytes a second of a copy too large for caches."""
    ones = partial(torch.ones, device=config.device, dtype=DTYPES[config.dtype])
    x = ones(config.micro_batch_tokens, shape.hidden_size)
    w = ones(shape.hidden_size, 2 * shape.intermediate_size)
    block, copy = ones(2, 2**26)
    best = lambda work: min(timeit.repeat(lambda: work().view(-1)[0].item(), number=1, repeat=10))
    return 2 * len(x) * w.numel() / best(lambda: x @ w), 2 * block.nbytes / best(lambda: copy.copy_(block))


def publish(results, config, processes):
    """Prints the figures, and writes them to --json."""
    print(f"{config.prompts} prompts of {config.prompt_len} tokens x {config.k} responses of "
          f"{config.lengths} length up to {config.max_new_tokens}, {config.dtype}, {config.device}, "
          f"{processes} process(es)")
    for name, result in results.items():
        seconds, floors = result["seconds"], result["floors"]
        limits = {f"floor by {what}": floors[what] for what in ("flops", "bytes")}
        print(f"{name}: {seconds:.3f} s, {result['tokens_per_second']:,.0f} tokens/s, "
              f"{max(limits.values()) / seconds:.0%} of what the machine allows")
        for part, took in (result["parts"] | limits).items():
            print(f"    {part:20}{took:8.3f} s")
        print(f"    at {floors['gflops_per_second']:.0f} GFLOP/s and {floors['gigabytes_per_second']:.0f} "
              f"GB/s; peak memory {result['peak_gigabytes']:.3f} GB beyond weights and inputs")
    if config.json:
        write_json(config.json, {
            name: result | {"settings": config.to_dict(), "made_by": made_by(config)}
            for name, result in results.items()})
