"""Memory: what a run of rl or sft will take, before it is started.

Activations are not guessed by formula. The model, the engine, the sampler and `score` themselves run, at
full size, on "fake" tensors, which have a shape and a dtype but no storage, while every allocation and every
release is counted; the largest sum is the peak. It takes seconds for a model of any size, on any machine.

    always there     float32 weights, AdamW's two moments (2 x), the reference (1 x, or --reference-on-cpu)
    rollout          bfloat16 copies of the weights, the KV cache, the sampler's logits
    reference        its weights on the GPU, activations without gradient
    update           gradients (1 x), the activations of a micro-batch, the logits of a chunk of tokens

The three last follow one another, so the run needs the first line and the largest of the others; SFT has no
reference and no rollout. Counted is what torch allocates, in one process. CUDA itself takes about half a
gigabyte more, and its attention kernels may need workspace of their own; on a CPU, Python and what the
allocator keeps come to one or two more. `generate` looks at its tokens to see which responses have ended, and
fakes have none to show; so its largest moments, the prompts and the last token, are called one by one.

Run it: python -m t1mini memory --preset qwen2.5-0.5b --k 64 --max-new-tokens 1024
        python -m t1mini memory --preset smollm2-135m --stage sft
"""

import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _python_dispatch, _pytree

from t1mini.fast import decode, schedule, score
from t1mini.model import Qwen, QwenConfig
from t1mini.rl import RLConfig
from t1mini.runs.checkpoint import read_config
from t1mini.runs.machine import autocast
from t1mini.runs.settings import REAL, from_flags, setting
from t1mini.sampler import sample
from t1mini.sft import SFTConfig

GPU_GB = (24, 40, 80, 141)
HEADROOM_GB = 1.0  # CUDA's own share and fragments
NO_FIT = "fits none of the usual GPUs: lower --micro-batch-tokens (update) or --max-batch-tokens (rollout)"

SHAPES = {
    "tiny": QwenConfig(118, 96, 256, 3, 3, 1, 32),
    "smollm2-135m": QwenConfig(49152, 576, 1536, 30, 9, 3, 64, qkv_bias=False, rope_theta=100_000.0),
    "qwen2.5-0.5b": QwenConfig(151936, 896, 4864, 24, 14, 2, 64),
    "qwen2.5-1.5b": QwenConfig(151936, 1536, 8960, 28, 12, 2, 128),
    "qwen3-0.6b": QwenConfig(151936, 1024, 3072, 28, 16, 8, 128, qkv_bias=False, qk_norm=True),
    "qwen3-1.7b": QwenConfig(151936, 2048, 6144, 28, 16, 8, 128, qkv_bias=False, qk_norm=True),
}


@dataclass(frozen=True)
class MemoryConfig(RLConfig):
    stage: str = setting("rl", "what will run", choices=("rl", "sft"))
    device: str = setting("cpu", "not used: nothing is allocated anywhere")
    micro_batch_tokens: int = setting(0, "tokens of one forward and backward pass; 0: the stage's preset",
                                      "0 or more")
    prompt_tokens: int = setting(32, "tokens of a prompt", "1 to 1_048_576", qwen=256, smollm=160)


def run(config):
    own = from_flags({"rl": RLConfig, "sft": SFTConfig}[config.stage], {"preset": config.preset})
    config = replace(config, micro_batch_tokens=config.micro_batch_tokens or own.micro_batch_tokens)
    if config.stage == "sft":  # no groups
        config = replace(config, prompts=own.batch, k=1)
    print(report(peaks(config, shape_of(config.preset, config.init and f"{config.init}/config.json"))))


def shape_of(preset, file, default="tiny"):
    """That of a config.json, or without one the preset's, of a preset that has none the default's."""
    return read_config(Path(file)) if file else SHAPES[preset if preset in REAL else default]


def peaks(config, shape):
    """Bytes on the GPU: what is always there, the most that each part of a step adds to it, their peak."""
    always, in_turn = {}, {}
    with ShapesOnly():
        policy = Qwen(shape)
        weights = sum(p.nbytes for p in policy.parameters())
        always |= {"weights": weights, "AdamW": 2 * weights}
        if config.stage == "rl":
            away = weights * config.reference_on_cpu
            always["reference"] = weights - away
            with PeakBytes() as rollout:
                fake_rollout(policy, config)
            with PeakBytes() as reference, torch.no_grad():
                fake_scoring(policy, config)
            in_turn |= {"rollout": rollout.peak, "scoring by the reference": reference.peak + away}
        with PeakBytes() as update:
            logprobs, entropy, _ = fake_scoring(policy, config)
            (logprobs + entropy).sum().backward()
    in_turn["update"] = update.peak
    return always | in_turn | {"peak": sum(always.values()) + max(in_turn.values())}


@torch.no_grad()
def fake_rollout(policy, config):
    """The largest moments of generation: the prompts, and the last token of all that decode at once."""
    limit, prompt = config.max_new_tokens, config.prompt_tokens
    rows, slots = schedule.fit(config.prompts * config.k, config.k, limit, prompt, config.max_batch_tokens)
    with autocast(config.precision, "cpu"):
        engine = decode.Engine(policy, rows, slots, config.k, prompt, prompt + limit)
        engine.prefill(range(slots), [[0] * prompt] * slots)
    engine.reserve(limit - engine.bucket)
    engine.reserve(limit)
    zeros = torch.zeros(rows, dtype=torch.long)
    sample(engine.step(zeros), row_keys=zeros, **vars(config.sampling(None)))


def fake_scoring(policy, config):
    """(logprobs, entropy, mask), each [n, T], of a micro-batch of the longest responses."""
    prompt, limit = config.prompt_tokens, config.max_new_tokens
    rows = min(config.micro_batch_tokens // (prompt + limit) or 1, config.prompts * config.k)
    prompts = [[row // config.k] * prompt for row in range(rows)]
    with autocast(config.precision, "cpu"):
        return score.score(policy, prompts, [[0] * limit] * rows, config.sampling(None), config.recompute,
                           fused=from_flags(RLConfig, {"preset": config.preset}).device == "cuda")


class ShapesOnly(FakeTensorMode):
    """Tensors without values. A mask is taken to be True everywhere: all responses are of one length."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten.index.Tensor and (mask := args[1][-1]).dtype == torch.bool:
            return args[0].flatten(0, mask.ndim - 1).clone()
        return super().__torch_dispatch__(operation, types, args, kwargs)


class PeakBytes(_python_dispatch.TorchDispatchMode):
    """Counts the bytes of all tensors made while it is active; `peak` is the most there were at once."""

    def __init__(self):
        super().__init__()
        self.peak, self.storages = 0, weakref.WeakSet()  # views share the storage of what they view

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        self.storages.update(x.untyped_storage() for x in _pytree.tree_leaves(result)
                             if isinstance(x, torch.Tensor))
        self.peak = max(self.peak, sum(storage.nbytes() for storage in self.storages))
        return result


def report(parts):
    """An addition: the parts, the peak, and the GPUs it fits."""
    sign = {"weights": "", "rollout": "+", "scoring by the reference": "or", "peak": "="}
    sign["update"] = "or" if "rollout" in parts else "+"
    lines = [f"{sign.get(name, '+'):3}{name:32}{size / 1e9:8.2f} GB" for name, size in parts.items()]
    needed = parts["peak"] / 1e9 + HEADROOM_GB
    return "\n".join([*lines, next((f"fits a GPU of {gb} GB" for gb in GPU_GB if needed <= gb), NO_FIT)])
