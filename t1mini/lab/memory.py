"""Memory: what an RL run will take on a GPU, before it is started.

Activations are not guessed by formula. The model, the engine, the sampler and the loss themselves run, at full size, on "fake"
tensors, which have a shape and a dtype but no storage, while every allocation and every release is counted; the largest sum is the
peak. It takes seconds for a model of any size, on any machine.

    always there     float32 weights, AdamW's two moments (2 x), the reference (1 x, unless --reference-on-cpu)
    rollout          bfloat16 copies of the weights, the KV cache, the sampler's logits
    reference        its weights on the GPU, activations without gradient
    update           gradients (1 x), the activations of a micro-batch, the logits of a chunk of tokens

The three last follow one another, so the run needs the first line and the largest of the others. Counted is what torch
allocates; CUDA itself takes about half a gigabyte more, and its attention kernels may need workspace of their own.

Run it: python -m t1mini memory --preset qwen2.5-0.5b --k 64 --max-new-tokens 1024
"""

import weakref
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from t1mini.runs.checkpoint import read_config
from t1mini.runs.settings import QWEN, setting
from t1mini.fast.decode import Engine
from t1mini.loss import policy_gradient_loss, token_logprobs
from t1mini.runs.machine import autocast
from t1mini.model import Qwen, QwenConfig
from t1mini.fast.packing import pack
from t1mini.rl import RLConfig
from t1mini.sampler import sample
from t1mini.fast.schedule import fit

GPU_GB = (24, 40, 80, 141)
HEADROOM_GB = 1.0  # CUDA's own share and fragments

_QWEN3 = dict(vocab_size=151936, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8, head_dim=128, qkv_bias=False,
              qk_norm=True, rope_theta=1e6)
SHAPES = dict(zip(QWEN, (
    QwenConfig(151936, 896, 4864, 24, 14, 2, 64, rope_theta=1e6),
    QwenConfig(151936, 1536, 8960, 28, 12, 2, 128, rope_theta=1e6),
    QwenConfig(hidden_size=1024, intermediate_size=3072, **_QWEN3),
    QwenConfig(hidden_size=2048, intermediate_size=6144, **_QWEN3))))


@dataclass(frozen=True)
class MemoryConfig(RLConfig):
    device: str = setting("cpu", "not used: nothing is allocated anywhere")
    prompt_tokens: int = setting(32, "tokens of a prompt", low=1, high=2**20, qwen=256)


def run(config: MemoryConfig) -> None:
    shape = SHAPES[config.preset] if config.preset in QWEN and not config.init else read_config(Path(config.init) / "config.json")
    print(report(peaks(config, shape)))


def peaks(config: MemoryConfig, shape: QwenConfig) -> dict[str, int]:
    """Bytes on the GPU: what is always there, and the most that each part of a step adds to it."""
    with FakeTensorMode():
        policy = Qwen(shape)
        policy.recompute = config.recompute
        weights = sum(4 * p.numel() for p in policy.parameters())
        with PeakBytes() as rollout:
            fake_rollout(policy, config)
        with PeakBytes() as reference, torch.no_grad():
            fake_scoring(policy, config)
        with PeakBytes() as update:
            logprobs, entropy = fake_scoring(policy, config)
            policy_gradient_loss(logprobs, torch.empty(len(logprobs)), torch.ones_like(logprobs, dtype=torch.bool), entropy=entropy,
                                 entropy_coef=config.entropy_coef).backward()
    away = weights if config.reference_on_cpu else 0
    return {"weights": weights, "AdamW": 2 * weights, "reference": weights - away, "rollout": rollout.peak,
            "scoring by the reference": reference.peak + away, "update": update.peak}


def fake_rollout(policy: Qwen, config: MemoryConfig) -> None:
    """The largest moments of t1mini.fast.schedule: the prompts, and the last token of all the responses that decode at once."""
    responses, limit = config.prompts * config.k, config.max_new_tokens
    rows, slots = fit(responses, config.k, limit, config.prompt_tokens, config.max_batch_tokens)
    everything = torch.empty(responses, limit, dtype=torch.long), torch.empty(responses, limit)  # ids, log-probabilities
    with torch.no_grad(), autocast(config.precision, "cpu"):
        engine = Engine(policy, rows, slots, config.k, config.prompt_tokens, config.prompt_tokens + limit)
        engine.prefill(range(slots), [[0] * config.prompt_tokens] * slots)
    with torch.no_grad():
        for _ in range(limit - 1):
            engine.next_column(0)
        logits = engine.step(torch.zeros(rows, dtype=torch.long))
        sample(logits, row_keys=torch.zeros(rows, dtype=torch.long), temperature=config.temperature, top_k=config.top_k,
               top_p=config.top_p, min_p=config.min_p)
    del everything


def fake_scoring(policy: Qwen, config: MemoryConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropy, each [n, T], of a micro-batch of the longest responses."""
    rows = min(max(1, config.micro_batch_tokens // (config.prompt_tokens + config.max_new_tokens)), config.prompts * config.k)
    prompts = [[row // config.k] * config.prompt_tokens for row in range(rows)]
    packing = pack(prompts, [[0] * (config.max_new_tokens - 1)] * rows)
    with autocast(config.precision, "cpu"):
        hidden = policy.hidden(packing.tokens[None], packing=packing)
        targets = torch.zeros(rows * config.max_new_tokens, dtype=torch.long)
        flat = F.embedding(targets, hidden.flatten(0, 1))
        logprobs, entropy = token_logprobs(flat, policy.head_weight, targets, config.temperature)
    return logprobs.view(rows, -1), entropy.view(rows, -1)


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made while it is active; `peak` is the most there were at once."""

    def __init__(self):
        super().__init__()
        self.live, self.peak, self.known = 0, 0, set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor.untyped_storage())
        return result

    def count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:  # a view shares the storage of what it views
            self.known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self.release, key, size)

    def release(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


def report(parts: dict[str, int]) -> str:
    """The parts, the peak, and the GPUs it fits."""
    names = list(parts)
    peak = sum(parts[name] for name in names[:3]) + max(parts[name] for name in names[3:])
    show = lambda name, size: f"{name:34}{size / 1e9:8.2f} GB"
    fits = [f"{gb} GB" for gb in GPU_GB if peak / 1e9 + HEADROOM_GB <= gb]
    return "\n".join(["always there", *(show("  " + name, parts[name]) for name in names[:3]), "one after another",
                      *(show("  " + name, parts[name]) for name in names[3:]), show("peak", peak),
                      f"fits a GPU of {', '.join(fits)}" if fits else
                      "fits none of the usual GPUs: lower --micro-batch-tokens (update) or --max-batch-tokens (rollout)"])
