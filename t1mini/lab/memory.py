"""Memory: what an RL run will take on a GPU, before it is started.

Activations are not guessed by formula. The model, the engine, the sampler and `score` themselves run, at
full size, on "fake" tensors, which have a shape and a dtype but no storage, while every allocation and every
release is counted; the largest sum is the peak. It takes seconds for a model of any size, on any machine.

    always there     float32 weights, AdamW's two moments (2 x), the reference (1 x, or --reference-on-cpu)
    rollout          bfloat16 copies of the weights, the KV cache, the sampler's logits
    reference        its weights on the GPU, activations without gradient
    update           gradients (1 x), the activations of a micro-batch, the logits of a chunk of tokens

The three last follow one another, so the run needs the first line and the largest of the others. Counted is
what torch allocates; CUDA itself takes about half a gigabyte more, and its attention kernels may need
workspace of their own. `generate` looks at its tokens to see which responses have ended, and fakes have none
to show; so its largest moments, the prompts and the last token, are called one by one.

Run it: python -m t1mini memory --preset qwen2.5-0.5b --k 64 --max-new-tokens 1024
"""

import weakref
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from t1mini.fast.decode import Engine
from t1mini.fast.schedule import fit
from t1mini.fast.score import score
from t1mini.model import Qwen, QwenConfig
from t1mini.rl import RLConfig
from t1mini.runs.checkpoint import read_config
from t1mini.runs.machine import autocast
from t1mini.runs.settings import setting
from t1mini.sampler import Sampling, sample

GPU_GB = (24, 40, 80, 141)
HEADROOM_GB = 1.0  # CUDA's own share and fragments

SHAPES = {
    "qwen2.5-0.5b": QwenConfig(151936, 896, 4864, 24, 14, 2, 64),
    "qwen2.5-1.5b": QwenConfig(151936, 1536, 8960, 28, 12, 2, 128),
    "qwen3-0.6b": QwenConfig(151936, 1024, 3072, 28, 16, 8, 128, qkv_bias=False, qk_norm=True),
    "qwen3-1.7b": QwenConfig(151936, 2048, 6144, 28, 16, 8, 128, qkv_bias=False, qk_norm=True),
}


@dataclass(frozen=True)
class MemoryConfig(RLConfig):
    device: str = setting("cpu", "not used: nothing is allocated anywhere")
    prompt_tokens: int = setting(32, "tokens of a prompt", "1 to 1_048_576", qwen=256)


def run(config: MemoryConfig):
    known = config.preset in SHAPES and not config.init
    shape = SHAPES[config.preset] if known else read_config(Path(config.init) / "config.json")
    print(report(peaks(config, shape)))


def peaks(config: MemoryConfig, shape: QwenConfig) -> dict[str, int]:
    """Bytes on the GPU: what is always there, and the most that each part of a step adds to it."""
    with ShapesOnly():
        policy = Qwen(shape)
        weights = sum(4 * p.numel() for p in policy.parameters())
        with PeakBytes() as rollout:
            fake_rollout(policy, config)
        with PeakBytes() as reference, torch.no_grad():
            fake_scoring(policy, config)
        with PeakBytes() as update:
            logprobs, entropy, _ = fake_scoring(policy, config)
            (logprobs + entropy).sum().backward()
    away = weights if config.reference_on_cpu else 0
    return {"weights": weights, "AdamW": 2 * weights, "reference": weights - away, "rollout": rollout.peak,
            "scoring by the reference": reference.peak + away, "update": update.peak}


@torch.no_grad()
def fake_rollout(policy: Qwen, config: MemoryConfig):
    """The largest moments of generation: the prompts, and the last token of all that decode at once."""
    responses, limit, prompt = config.prompts * config.k, config.max_new_tokens, config.prompt_tokens
    rows, slots = fit(responses, config.k, limit, prompt, config.max_batch_tokens)
    results = torch.empty(responses, limit, dtype=torch.long), torch.empty(responses, limit)  # ids, logprobs
    with autocast(config.precision, "cpu"):
        engine = Engine(policy, rows, slots, config.k, prompt, prompt + limit)
        engine.prefill(range(slots), [[0] * prompt] * slots)
    engine.reserve(limit - engine.bucket)
    engine.reserve(limit)
    zeros = torch.zeros(rows, dtype=torch.long)
    sample(engine.step(zeros), row_keys=zeros, temperature=config.temperature, min_p=config.min_p)
    del results


def fake_scoring(policy: Qwen, config: MemoryConfig) -> tuple[Tensor, Tensor, Tensor]:
    """(logprobs, entropy, mask), each [n, T], of a micro-batch of the longest responses."""
    longest = config.prompt_tokens + config.max_new_tokens
    rows = min(max(1, config.micro_batch_tokens // longest), config.prompts * config.k)
    prompts = [[row // config.k] * config.prompt_tokens for row in range(rows)]
    with autocast(config.precision, "cpu"):
        responses = [[0] * config.max_new_tokens] * rows
        return score(policy, prompts, responses, Sampling(config.temperature), config.recompute)


class ShapesOnly(FakeTensorMode):
    """Tensors without values. A mask is taken to be True everywhere: all responses are of one length."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten.index.Tensor:
            x, (index, *_) = args
            if index is not None and index.dtype == torch.bool:
                return x.flatten(0, index.ndim - 1).clone()
        return super().__torch_dispatch__(operation, types, args, kwargs)


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made while it is active; `peak` is the most there were at once."""

    def __init__(self):
        super().__init__()
        self.live, self.peak, self.known = 0, 0, weakref.WeakSet()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.count(tensor.untyped_storage())
        return result

    def count(self, storage: torch.UntypedStorage):
        if storage not in self.known:  # a view shares the storage of what it views
            self.known.add(storage)
            self.change(storage.nbytes())
            weakref.finalize(storage, self.change, -storage.nbytes())

    def change(self, size: int):
        self.live += size
        self.peak = max(self.peak, self.live)


def report(parts: dict[str, int]) -> str:
    """The parts, the peak, and the GPUs it fits."""
    show = lambda name: f"  {name:32}{parts[name] / 1e9:8.2f} GB"
    always, in_turn = list(parts)[:3], list(parts)[3:]
    peak = (sum(parts[name] for name in always) + max(parts[name] for name in in_turn)) / 1e9
    fits = [f"{gb} GB" for gb in GPU_GB if peak + HEADROOM_GB <= gb]
    advice = ("fits none of the usual GPUs: lower --micro-batch-tokens (update) or --max-batch-tokens "
              "(rollout)")
    return "\n".join(["always there", *map(show, always), "one after another", *map(show, in_turn),
                      f"{'peak':34}{peak:8.2f} GB", f"fits a GPU of {', '.join(fits)}" if fits else advice])
