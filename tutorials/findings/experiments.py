"""The lessons' experiments: functions that this command runs at full size, and most lessons at a small one.

    python tutorials/findings/experiments.py variance passk ...  rows to experiments/NAME.csv beside this file
    python tutorials/findings/experiments.py all --draw          figures/NAME.svg from the rows (matplotlib)

Every row is (line, x, y): the figure draws y over x, a line each.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT)]

import torch  # noqa: E402

from t1mini import evaluate  # noqa: E402
from t1mini.fast import twins  # noqa: E402
from t1mini.loss import policy_gradient_loss, rloo_advantages  # noqa: E402
from t1mini.model import Qwen  # noqa: E402
from t1mini.penalties import judge_rollouts, rewards_of  # noqa: E402
from t1mini.rl import RLConfig, run as run_rl  # noqa: E402
from t1mini.runs.checkpoint import load_policy  # noqa: E402
from t1mini.runs.folder import csv_text, read_rows  # noqa: E402
from t1mini.sampler import Sampling, sampling_distribution  # noqa: E402
from t1mini.statistics import pass_at_k  # noqa: E402
from t1mini.tasks import countdown  # noqa: E402

MODELS = {"SFT": "data/tiny-sft", "RL": "data/tiny-rl"}


class Row(NamedTuple):
    line: str
    x: float
    y: float


def load(folder: str):
    return load_policy(str(ROOT / folder), "cpu")


# --- lesson 1 -------------------------------------------------------------------------------------


def cache(lengths: Sequence[int] = (16, 32, 64, 96, 128, 160, 192), repeats: int = 20) -> Iterator[Row]:
    """Milliseconds for one more token behind a sequence of each length: with the cache, and computing all of
    it again."""
    policy, _ = load(MODELS["SFT"])
    for length in lengths:
        ids = torch.randint(2, 100, (1, length + 1), generator=torch.Generator().manual_seed(0))
        filled = policy.new_cache(1, length + repeats + 1)
        with torch.no_grad():
            policy(ids[:, :length], filled)
            ways = {"with the cache": lambda: policy(ids[:, -1:], filled), "without": lambda: policy(ids)}
            for line, one_more in ways.items():
                one_more()
                began = time.perf_counter()
                for _ in range(repeats):
                    one_more()
                yield Row(line, length, 1000 * (time.perf_counter() - began) / repeats)
                filled.lengths.fill_(length)
                filled.longest = length


# --- lesson 2 -------------------------------------------------------------------------------------


def sampling(temperatures: Sequence[float] = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0),
             min_ps: Sequence[float] = (0.0, 0.05, 0.2), problems: int = 64) -> Iterator[Row]:
    """Mean entropy of what the sampler draws from, in nats a token, over the SFT model's own responses."""
    logits = response_logits(problems)
    for min_p in min_ps:
        for temperature in temperatures:
            p = sampling_distribution(logits, temperature=temperature, min_p=min_p)
            yield Row(f"min-p {min_p:g}", temperature, torch.special.entr(p).sum(-1).mean().item())


def response_logits(problems: int) -> torch.Tensor:
    """The SFT model's logits [M, V] at every token of its responses to some validation problems."""
    policy, tokenizer = load(MODELS["SFT"])
    prompts = [countdown.prompt_ids(p, tokenizer)
               for p in countdown.load_problems(ROOT / "data/validation.jsonl")[:problems]]
    generate, _ = twins(RLConfig())
    rollouts = generate(policy, prompts, 1, Sampling(vocab_limit=tokenizer.size), max_new_tokens=192,
                        eos_id=tokenizer.end_ids, seed=0)
    with torch.no_grad():
        return torch.cat([policy(torch.tensor([prompt + rollouts.ids(i)]))[0, len(prompt) - 1 : -1]
                          for i, prompt in enumerate(prompts)])


# --- lesson 3 -------------------------------------------------------------------------------------


def lenient_verifier() -> Iterator[Row]:
    """Accuracy while sampling, and attempts a response, of the sound step and of bug 3's, from the metrics of
    the bug hunt."""
    for line, bug in (("sound", 0), ("accepts no answer", 3)):
        for row in read_rows(HERE.parent / f"checking/broken_runs/{bug:02d}.csv"):
            yield Row(f"accuracy, {line}", float(row["step"]), float(row["accuracy"]))
            yield Row(f"attempts / 10, {line}", float(row["step"]), float(row["attempts"]) / 10)


# --- lesson 4 -------------------------------------------------------------------------------------


def sft(metrics: str = "runs/train-tiny-0/sft/metrics.csv", width: int = 10) -> Iterator[Row]:
    """SFT's loss over the updates, averaged over `width` reports."""
    rows = read_rows(Path(metrics))
    for start in range(0, len(rows), width):
        part = rows[start : start + width]
        yield Row("SFT", float(part[-1]["step"]), sum(float(row["loss"]) for row in part) / len(part))


# --- lesson 5 -------------------------------------------------------------------------------------


def passk(samples: int = 64, problems: int = 150, models: dict[str, str] = MODELS, data: str = "data",
          ks: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256)) -> Iterator[Row]:
    """pass@k of the SFT and the RL model on test problems, in percent."""
    config = evaluate.EvaluateConfig(data=str(ROOT / data), samples=samples, problems=problems)
    chosen = evaluate.pick_problems(config)
    for line, folder in models.items():
        _, verdicts = evaluate.respond(*load(folder), chosen, config)
        right = [sum(v.correct for v in group) for group in verdicts]
        for k in (k for k in ks if k <= samples):
            yield Row(line, k, 100 * sum(pass_at_k(samples, c, k) for c in right) / len(right))


def passk_four(samples: int = 256) -> Iterator[Row]:
    """The same with four numbers, of models that these commands train:

    python -m t1mini data --numbers 4
    python -m t1mini sft --data data-4 --threads 1 --out runs/four-sft
    python -m t1mini rl --data data-4 --init runs/four-sft/final --steps 210 --threads 1 --out runs/four-rl

    python -m t1mini rl --data data-4 --init runs/four-sft/final --steps 210 --no-penalties --threads 1 \\
        --out runs/four-free
    """
    models = {"SFT": "runs/four-sft/final", "RL": "runs/four-rl/final",
              "RL without penalties": "runs/four-free/final"}
    yield from passk(samples, 150, models, "data-4")


# --- lesson 6 -------------------------------------------------------------------------------------

BASELINES = {"no baseline": lambda r: r, "leave-one-out": rloo_advantages}


def variance(ks: Sequence[int] = (2, 4, 8, 16, 32), batches: int = 24, prompts: int = 8) -> Iterator[Row]:
    """How far one batch's gradient is from the mean of all, in the root of the mean square: by K and
    baseline, of the same prompts and samples."""
    policy, tokenizer = load(MODELS["SFT"])
    problems = countdown.load_problems(ROOT / "data/train.jsonl")[::40][:prompts]
    for k in ks:
        gradients = {line: [] for line in BASELINES}
        for batch in range(batches):
            rewards, logprobs, mask = sampled(policy, tokenizer, problems, k, batch)
            for line, baseline in BASELINES.items():
                loss = policy_gradient_loss(logprobs, baseline(rewards).flatten(), mask)
                parts = torch.autograd.grad(loss, list(policy.parameters()), retain_graph=True)
                gradients[line].append(torch.cat([part.flatten() for part in parts]))
        for line, found in gradients.items():
            g = torch.stack(found)
            yield Row(line, k,
                      ((g - g.mean(0)).square().sum(1).mean() * batches / (batches - 1)).sqrt().item())


def sampled(policy: Qwen, tokenizer, problems: list, k: int,
            step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(rewards [P, K], log-probabilities with gradient, mask, both [N, T]) of K responses to each problem."""
    generate, score = twins(RLConfig())
    sampling = Sampling(RLConfig.temperature, vocab_limit=tokenizer.size)
    prompts = [countdown.prompt_ids(problem, tokenizer) for problem in problems]
    rollouts = generate(policy, prompts, k, sampling, max_new_tokens=192, eos_id=tokenizer.end_ids, seed=0,
                        step=step)
    verdicts = judge_rollouts(countdown, problems, rollouts, tokenizer, max_new_tokens=192, repeat_limit=4)
    of_rows = [prompt for prompt in prompts for _ in range(k)]
    logprobs, _, mask = score(policy, of_rows, rollouts.unpadded, sampling)
    return rewards_of(verdicts), logprobs, mask


# --- lessons 7 and 8 ------------------------------------------------------------------------------

SHORT = dict(prompts=16, k=8, steps=40, workers=1)


def entropy(coefficients: Sequence[float] = (0.0, 0.01, 0.03), **settings) -> Iterator[Row]:
    """Entropy over the updates, by the weight of its bonus."""
    for coefficient in coefficients:
        yield from column(f"bonus {coefficient:g}", "entropy", entropy_coef=coefficient, **settings)


def reference(decays: Sequence[float] = (1.0, 0.95), **settings) -> Iterator[Row]:
    """KL to the reference over the updates, by its decay: 1 never moves."""
    for decay in decays:
        yield from column("frozen" if decay == 1 else f"decay {decay:g}", "kl", ema_decay=decay, **settings)


def column(line: str, name: str, **settings) -> Iterator[Row]:
    """One column of the metrics of a short RL run."""
    with tempfile.TemporaryDirectory() as work:
        run_rl(RLConfig(init=str(ROOT / MODELS["SFT"]), data=str(ROOT / "data"), out=f"{work}/run",
                        checkpoint_every=10**6, **SHORT | settings))
        for row in read_rows(Path(work) / "run/metrics.csv"):
            yield Row(line, float(row["step"]), float(row[name]))


# --- the command ----------------------------------------------------------------------------------

EXPERIMENTS = {cache: ("tokens before it", "milliseconds for one more token"),
               sampling: ("temperature", "entropy (nats a token)"),
               lenient_verifier: ("RL update", "accuracy while sampling; attempts / 10"),
               sft: ("updates", "loss (nats a token)"), passk: ("k", "pass@k on test problems (%)"),
               passk_four: ("k", "pass@k on test problems (%)"),
               variance: ("K", "spread of one batch's gradient"),
               entropy: ("RL update", "entropy (nats a token)"),
               reference: ("RL update", "KL to the reference (nats a response)")}


def draw(name: str, rows: list[dict[str, str]], labels: tuple[str, str]):
    """The figure of an experiment: y over x, a line each."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "t1mini", "axes.spines.top": False,
                                "axes.spines.right": False, "font.size": 11})
    import matplotlib.pyplot as plt
    import numpy as np

    from t1mini.lab.plot import COLOURS, DASHES, save

    figure, ax = plt.subplots(figsize=(5.6, 3.6))
    for i, line in enumerate(dict.fromkeys(row["line"] for row in rows)):
        x, y = (np.array([float(row[c]) for row in rows if row["line"] == line]) for c in "xy")
        if labels[0] == "RL update":
            x, y = (np.convolve(values, np.ones(5) / 5, mode="valid") for values in (x, y))
        ax.plot(x, y, color=COLOURS[i % 6], linestyle=DASHES[i % 6], label=line)
    ax.set(xlabel=labels[0], ylabel=labels[1])
    if labels[0] in ("k", "K"):
        ax.set_xscale("log", base=2)
    if name == "variance":
        ax.set_yscale("log")
    ax.legend(frameon=False, fontsize=9)
    save(figure, HERE / "figures" / f"{name}.svg")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    by_name = {function.__name__: function for function in EXPERIMENTS}
    parser.add_argument("names", nargs="+", choices=[*by_name, "all"])
    parser.add_argument("--draw", action="store_true",
                        help="only draw the figures from the rows that are there")
    flags = parser.parse_args(arguments)
    (HERE / "experiments").mkdir(exist_ok=True)
    for name in by_name if "all" in flags.names else flags.names:
        path = HERE / "experiments" / f"{name}.csv"
        if flags.draw:
            draw(name, read_rows(path), EXPERIMENTS[by_name[name]])
        else:
            path.write_text(csv_text([row._asdict() for row in by_name[name]()]), encoding="utf-8")
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
