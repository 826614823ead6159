"""Metrics: what an RL step reports, each column defined once, with its unit and its denominator.

Every rank of the team adds up its own responses; the sums are shared, and only then divided. So a mean is over the whole
step however many ranks there are, and however unequal their shares.
"""

import torch
from torch import Tensor

from t1mini.runs.team import Team
from t1mini.reward import Verdict

METRICS = {
    "step": "updates done",
    "reward": "mean reward of the step's responses: r', or r without --penalties",
    "accuracy": "share of responses that ended with a right answer, penalised or not",
    "repetitive": "share of responses with an attempt (mathematics: a run of 20 tokens) repeated more than --repeat-limit times",
    "overlong": "share of responses that reached --max-new-tokens without their end token",
    "garbled": "share of responses with stray characters, or (Countdown) that ended but do not read as attempts and an answer",
    "length": "mean tokens a response, end token counted",
    "attempts": "mean attempts a response (mathematics: words such as wait, at which the thinking turns)",
    "hits_per_attempt": "attempts that reach the target, as a share of all attempts (Countdown)",
    "tied_groups": "share of prompts whose K rewards are all equal: they carry no reward signal",
    "skipped_rows": "share of responses without gradient, left out of the update",
    "kl": "mean over responses of log pi - log pi_ref, in nats a response",
    "entropy": "mean entropy of the policy at --temperature over the updated rows' tokens, in nats a token",
    "kept_mass": "mean share of probability that top-k, top-p and min-p left to sample from",
    "loss": "the minimised objective, per response token",
    "grad_norm": "norm of the gradient before clipping",
    "logprob_gap": "largest difference between a token's log-probability in rollout and in update, in nats",
}


def response_totals(verdicts: list[list[Verdict]], rewards: Tensor) -> dict[str, float]:
    """Sums over these responses of what METRICS averages."""
    flat = [v for group in verdicts for v in group]
    total = lambda name: sum(getattr(v, name) for v in flat)
    return {"responses": len(flat), "groups": len(verdicts), "reward": rewards.sum().item(), "accuracy": total("correct"),
            **{name: total(name) for name in ("repetitive", "overlong", "garbled", "length", "attempts", "hits")},
            "tied_groups": (rewards == rewards[:, :1]).all(-1).sum().item()}


def share_totals(team: Team, totals: dict[str, float], device: str) -> dict[str, float]:
    """The totals, added up over the ranks."""
    summed = team.sum(torch.tensor(list(totals.values()), dtype=torch.float64, device=device))
    return dict(zip(totals, summed.tolist()))


def metrics_row(step: int, totals: dict[str, float], grad_norm: float, gap: float) -> dict[str, float]:
    """The columns of METRICS, each total over its own denominator."""
    share = lambda name, of: totals[name] / max(1, totals[of])
    row = {name: share(name, "responses") for name in METRICS if name in totals}
    row |= {"step": step, "hits_per_attempt": share("hits", "attempts"), "tied_groups": share("tied_groups", "groups"),
            "entropy": share("entropy", "updated_tokens"), "loss": totals["loss"], "grad_norm": grad_norm, "logprob_gap": gap}
    return {name: row[name] for name in METRICS}


def signs(row: dict[str, float]) -> list[tuple[str, str]]:
    """What a metrics row shows of ill health: (sign, what to try)."""
    shown = {
        "all tied": (row["tied_groups"] == 1, "every prompt's responses earn the same: raise --k or --temperature, or take "
                     "problems that are sometimes solved"),
        "all penalised": (row["reward"] == -1, "every response is penalised: raise --max-new-tokens or --repeat-limit, or begin "
                          "from a better SFT model"),
        "entropy collapse": (row["entropy"] < 0.03 and row["skipped_rows"] < 1, "the entropy is under 0.03 nats a token: raise "
                             "--entropy-coef or --temperature, or lower --lr"),
    }
    return [(sign, advice) for sign, (shows, advice) in shown.items() if shows]


def sample_text(step: int, prompt: str, verdicts: list[Verdict]) -> str:
    """A problem's first two responses, to be read."""
    return "\n".join([f"--- step {step}: {prompt}", *(f"[{v.reward:+.0f}] {v.text}" for v in verdicts[:2])])
