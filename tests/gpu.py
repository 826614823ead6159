"""What only a GPU can show: parity, graphs, the sampler, memory, and how near decoding and training come to the card.

Run it: bash tests/gpu.sh OUT (under 8 minutes on one H100; `--small --device cpu` tries it anywhere). Each part stands alone:
one that fails is noted with its error, and the others go on.
"""

import argparse
import datetime
import json
import subprocess
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from safetensors.torch import load_file

from t1mini.fast import decode, schedule
from t1mini.fast.score import score
from t1mini.lab.bench import Bench, BenchConfig, rates
from t1mini.lab.memory import SHAPES, MemoryConfig, peaks
from t1mini.loss import policy_gradient_loss
from t1mini.model import Qwen, QwenConfig
from t1mini.runs.checkpoint import load_model, save_model
from t1mini.runs.machine import autocast
from t1mini.runs.optimiser import Optimiser
from t1mini.runs.team import Team
from t1mini.sampler import Sampling, fold, sample, sampling_distribution

GOLDEN = Path(__file__).parent / "golden"
TOY = QwenConfig(1000, 64, 128, 2, 4, 2, 16)


class Card:
    """The parts, each a method that returns a row of figures."""

    def __init__(self, device: str, small: bool, out: Path):
        self.device, self.small, self.out = device, small, out
        self.shape = TOY if small else SHAPES["qwen2.5-0.5b"]
        (out / "shape").mkdir(parents=True, exist_ok=True)
        save_model(Qwen(self.shape).initialise(0), out / "shape", torch.bfloat16)
        self.common = dict(device=device, config=str(out / "shape/config.json"), dtype="bfloat16", workers=1, repeats=1)

    def parity(self):
        """Largest difference of logits from transformers' golden ones, in float32."""
        gaps = {}
        for folder in sorted(GOLDEN.glob("*-tiny")):
            model, tensors = load_model(folder, self.device), load_file(folder / "expected.safetensors")
            cases = json.loads((folder / "expected.json").read_text())["cases"]
            gaps[folder.name] = max((model(torch.tensor([case["ids"]], device=self.device))[0].cpu()
                                     - tensors[f"logits_{i}"]).abs().max().item() for i, case in enumerate(cases))
        return gaps

    def tokens(self):
        """Share of 160 responses that are the same as on the CPU, with and without a CUDA graph, in float32."""
        model = Qwen(TOY).initialise(0)
        prompts = torch.randint(2, 1000, (10, 12), generator=torch.Generator().manual_seed(0)).tolist()
        work = dict(max_new_tokens=48, eos_id=7, seed=3, max_batch_tokens=4000)
        made = lambda: schedule.generate(model, prompts, 16, Sampling(1.2, min_p=0.05), **work).unpadded
        expected = made()
        model.to(self.device)
        same = lambda found: sum(map(list.__eq__, found, expected)) / len(expected)
        graph = same(made())
        eager = patch.object(decode.Replayed, "__call__", lambda self: self.work())
        with eager:
            return {"graph": graph, "eager": same(made())}

    def chi_square(self):
        """Chi-square a degree of freedom of a million draws over 300 words, by min-p; it should be near 1."""
        rows = 10_000 if self.small else 1_000_000
        logits = 1.5 * torch.randn(1, 300, generator=torch.Generator().manual_seed(0)).to(self.device)
        found = {}
        for min_p in (0.0, 0.05):
            keys = fold(1, torch.arange(rows)).to(self.device)
            counts = torch.cat([torch.bincount(sample(logits.expand(len(part), -1), row_keys=part, min_p=min_p)[0],
                                               minlength=300)[None] for part in keys.split(50_000)]).sum(0).double()
            expected = rows * sampling_distribution(logits.double(), min_p=min_p)[0]
            kept = expected > 0
            assert counts[~kept].sum() == 0
            found[f"min-p {min_p}"] = (((counts - expected)[kept] ** 2 / expected[kept]).sum() / (kept.sum() - 1)).item()
        return found

    def step(self):
        """An RL step of 32 x 64 x 512 tokens: seconds by stage, memory as predicted and as it was, in GB."""
        work = dict(prompts=2, k=4, max_new_tokens=16) if self.small else dict(prompts=32, k=64, max_new_tokens=512)
        prompt_len, micro_batch = (8, 512) if self.small else (128, 16384)
        config = BenchConfig(**self.common, **work, prompt_len=prompt_len, min_p=0.0, lengths="fixed",
                             micro_batch_tokens=micro_batch, max_batch_tokens=300_000)
        predicted = peaks(MemoryConfig(preset="gpu", **work, prompt_tokens=prompt_len, precision="bfloat16",
                                       micro_batch_tokens=micro_batch, max_batch_tokens=300_000), self.shape)["peak"]
        bench = Bench("step", config)
        seconds, parts = bench.timed()
        if self.device == "cpu":
            return {"predicted": predicted / 1e9, "seconds": seconds, **parts}
        found = torch.cuda.max_memory_allocated() / 1e9
        return {"predicted": predicted / 1e9, "allocated": found, "ratio": predicted / 1e9 / found, "seconds": seconds, **parts}

    def decoding(self):
        """Tokens a second by batch, and the share of what the memory's bandwidth allows; transformers' generate beside it."""
        found, k, new, prompt_len = {}, 4 if self.small else 64, 8 if self.small else 256, 8 if self.small else 256
        for batch in (8, 16) if self.small else (64, 256, 1024):
            config = BenchConfig(**self.common, prompts=batch // k, k=k, prompt_len=prompt_len, max_new_tokens=new, min_p=0.0,
                                 lengths="fixed", max_batch_tokens=2_000_000)
            bench = Bench("rollout", config)
            bench.timed()
            seconds, _ = bench.timed()
            found[f"tokens/s at {batch}"] = batch * new / seconds
            found[f"share at {batch}"] = bench.floors()["bytes"] / seconds
            theirs = self.transformers(bench.prompts, k, new)
            if theirs:
                found[f"generate takes at {batch}"] = theirs / seconds
        return found

    def transformers(self, prompts: list, k: int, new: int):
        """Seconds that transformers' generate takes for the same work, or nothing without the package."""
        try:
            from transformers import AutoModelForCausalLM
        except ImportError:
            return None
        model = AutoModelForCausalLM.from_pretrained(self.out / "shape", dtype=torch.bfloat16).to(self.device).eval()
        ids = torch.tensor(prompts, device=self.device).repeat_interleave(k, 0)
        seconds = []
        for length in (4, new):  # the first warms up
            began = time.perf_counter()
            made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, max_new_tokens=length,
                                  min_new_tokens=length, top_k=0, pad_token_id=0, eos_token_id=1)
            made.sum().item()
            seconds.append(time.perf_counter() - began)
        return seconds[-1]

    def sft(self):
        """Tokens a second of fine-tuning, and the share of the card's rate of products that its FLOPs come to."""
        rows, length = (4, 32) if self.small else (64, 512)
        model = Qwen(self.shape).initialise(0).to(self.device)
        optimiser = Optimiser(model, Team(), lr=1e-6, steps=9, warmup=0, clip=1.0, weight_decay=0.0)
        drawn = torch.randint(2, 1000, (rows, length), generator=torch.Generator().manual_seed(0)).tolist()

        def update():
            for some in (drawn[i : i + 32] for i in range(0, rows, 32)):
                with autocast("bfloat16", self.device):
                    logprobs, _, mask = score(model, [row[:8] for row in some], [row[8:] for row in some])
                policy_gradient_loss(logprobs, logprobs.new_ones(len(mask)), mask, normaliser=rows * length).backward()
            return optimiser.step(0, {}, list)

        update()
        began = time.perf_counter()
        for _ in range(3):
            update()
        seconds = (time.perf_counter() - began) / 3
        config = replace(BenchConfig(), device=self.device, dtype="bfloat16")
        weights = sum(p.numel() for p in model.parameters() if p.ndim == 2)
        attention = 2 * self.shape.num_hidden_layers * self.shape.num_attention_heads * self.shape.head_dim * length / 2
        rate, _ = rates(config, self.shape)
        return {"tokens/s": rows * length / seconds, "share": 6 * (weights + attention) * rows * length / seconds / rate}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    flags = parser.parse_args()
    card, found = Card(flags.device, flags.small, flags.out), {}
    name = torch.cuda.get_device_name() if flags.device == "cuda" else "CPU"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    origin = f"{name}, torch {torch.__version__}, {datetime.date.today()}, commit {commit or 'unknown'}"
    for part in ("parity", "tokens", "chi_square", "decoding", "sft", "step"):
        began = time.perf_counter()
        try:
            with torch.no_grad() if part in ("parity", "decoding") else nullcontext():
                figures = getattr(card, part)()
        except Exception as error:  # the other parts are worth having
            figures = {"error": f"{type(error).__name__}: {error}"[:300]}
        found[part] = figures | {"took": time.perf_counter() - began}
        print(part, json.dumps(found[part]), flush=True)
        if flags.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        (flags.out / "gpu.json").write_text(json.dumps({"origin": origin, **found}, indent=1) + "\n")
    rows = [f"| {part}: {figure} | {value:.4g} |" if isinstance(value, float) else f"| {part}: {figure} | {value} |"
            for part, figures in found.items() for figure, value in figures.items()]
    (flags.out / "gpu.md").write_text("\n".join([f"{origin}, `bash tests/gpu.sh OUT`", "", "| figure | value |", "|---|---|", *rows, ""]))


if __name__ == "__main__":
    main()
