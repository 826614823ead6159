"""Metrics: what an RL step reports, each column defined once, with its unit and its denominator.

Every rank of the team adds up its own responses; the sums are shared, and only then divided. So a mean is
over the whole step however many ranks there are, and however unequal their shares.
"""

import math
from dataclasses import dataclass
from typing import Iterator, Sequence

import torch
from torch import Tensor

from t1mini.penalties import Verdict
from t1mini.rollout import Rollouts
from t1mini.runs.team import Team
from t1mini.runs.tokenizer import Tokenizer

METRICS = {
    "step": "updates done",
    "reward": "mean reward of the step's responses: r', or r without --penalties",
    "accuracy": "share of responses that ended with a right answer, penalised or not",
    "repetitive": "share of responses that repeat an attempt, or a run of 20 tokens, beyond --repeat-limit",
    "overlong": "share of responses that reached --max-new-tokens without their end token",
    "garbled": "share of responses with stray characters, or (Countdown) that do not read as a search",
    "length": "mean tokens a response, end token counted",
    "attempts": "mean attempts a response (mathematics: words such as wait, at which the thinking turns)",
    "hits_per_attempt": "attempts that reach the target, as a share of all attempts (Countdown)",
    "tied_groups": "share of prompts whose K rewards are all equal: they carry no reward signal",
    "skipped_rows": "share of responses without gradient, left out of the update",
    "kl": "mean over responses of log pi - log pi_ref, in nats a response",
    "entropy": "mean entropy of what was sampled from (temperature, min-p), over the updated rows' tokens",
    "kept_mass": "mean share of probability that min-p left to sample from",
    "loss": "the minimised objective, per response token",
    "grad_norm": "norm of the gradient before clipping",
    "logprob_gap": "largest difference between a token's log-probability in rollout and in update, in nats",
    "flipped": "tokens left out of it (float32): at min-p's border, kept now and not then or the other way",
}
COLLAPSED = 0.03  # nats a token
MOST_TOKENS_OF = 16  # responses of a group that are kept token by token
# nats a token that rounding explains in float32. A token at min-p's border has a probability of at most min_p
# times the largest: kept or not, it moves the others' log-probabilities by at most log(1 + min_p)
LARGEST_GAP = 1e-2


@dataclass
class StepRecord:
    """What an RL step has computed on this rank: P prompts, K responses each, N = P * K rows."""

    prompts: list[str]
    verdicts: list[list[Verdict]]  # [P][K]
    rollouts: Rollouts
    rewards: Tensor  # [P, K]
    ref_logprobs: Tensor  # [N, T]
    kl: Tensor  # [P, K]
    advantages: Tensor  # [P, K]
    min_p: float = 0.0  # what was sampled with; 0 in bfloat16, whose rounding hides a border

    def __post_init__(self):
        # sums over the micro-batches of the update; they stay on the device, since to look is to wait for it
        self.gap, nothing = torch.zeros(2, device=self.rewards.device)  # Team.max writes into the gap
        self.loss = self.entropy = self.tokens = self.flipped = nothing
        self.updated_rows = 0
        self.entropies = {}  # [T] each, by the row

    def add(self, rows: list[int], loss: Tensor, logprobs: Tensor, entropy: Tensor, mask: Tensor):
        """A micro-batch of the update: its rows, its loss, and what was scored, each [n, T]."""
        sampled = self.rollouts.logprobs[rows, : mask.shape[1]]
        gap = (logprobs.detach() - sampled).abs()
        flipped = (gap > LARGEST_GAP) & (gap < LARGEST_GAP + math.log1p(self.min_p))
        self.gap = torch.maximum(self.gap, gap.masked_fill(flipped, 0.0).max())
        self.flipped = self.flipped + flipped.sum()
        self.loss, self.entropy = self.loss + loss.detach(), self.entropy + entropy.detach().sum()
        self.updated_rows, self.tokens = self.updated_rows + len(rows), self.tokens + mask.sum()
        self.entropies |= zip(rows, entropy.detach())

    def quantities(self) -> dict[str, Tensor]:
        """What has to be finite, or the update is refused."""
        return {"reward": self.rewards, "log-probability": self.rollouts.logprobs,
                "reference's log-probability": self.ref_logprobs, "loss": self.loss}

    def metrics(self, step: int, grad_norm: float, team: Team) -> dict[str, float]:
        """The columns of METRICS over all ranks' responses: each total over its own denominator."""
        flat = [verdict for group in self.verdicts for verdict in group]
        totals = {name: sum(getattr(verdict, name) for verdict in flat)
                  for name in ("repetitive", "overlong", "garbled", "length", "attempts", "hits")}
        totals |= {"accuracy": sum(verdict.correct for verdict in flat), "reward": self.rewards.sum(),
                   "kl": self.kl.sum(), "kept_mass": self.rollouts.kept_mass.sum(), "entropy": self.entropy,
                   "loss": self.loss, "responses": len(flat), "skipped_rows": len(flat) - self.updated_rows,
                   "tokens": self.tokens, "flipped": self.flipped, "groups": len(self.verdicts),
                   "tied_groups": (self.rewards == self.rewards[:, :1]).all(-1).sum()}
        values = torch.tensor([float(x) for x in totals.values()], dtype=torch.float64)
        totals = dict(zip(totals, team.sum(values.to(self.rewards.device)).tolist()))
        share = lambda name, of="responses": totals[name] / max(1, totals[of])
        row = {name: share(name) for name in METRICS if name in totals}
        row |= {"step": step, "hits_per_attempt": share("hits", "attempts"),
                "tied_groups": share("tied_groups", "groups"), "entropy": share("entropy", "tokens"),
                "loss": totals["loss"], "flipped": totals["flipped"], "grad_norm": grad_norm,
                "logprob_gap": team.max(self.gap).item()}
        return {name: row[name] for name in METRICS}

    def rows(self) -> list[dict]:
        """A row a response: its prompt, its verdict, and what moved it, log-probability and KL in nats."""
        columns = {"reward": self.rewards, "advantage": self.advantages,
                   "logprob": self.rollouts.logprobs.sum(-1), "kl": self.kl}
        values = zip(*(column.flatten().tolist() for column in columns.values()))
        return [{"prompt": prompt, **vars(verdict), **dict(zip(columns, next(values)))}
                for prompt, group in zip(self.prompts, self.verdicts) for verdict in group]

    def group(self, step: int, problems: Sequence, tokenizer: Tokenizer) -> dict:
        """A prompt with its responses, to be looked at: a line of groups.jsonl. It is the first whose rewards
        differ. Of 16 responses, their tokens with log-probabilities and entropies, in nats; a row that was
        not updated has no entropies.
        """
        p, k = int((self.rewards != self.rewards[:, :1]).any(-1).int().argmax()), self.rewards.shape[1]
        responses = self.rows()[p * k : (p + 1) * k]
        for row, response in enumerate(responses[:MOST_TOKENS_OF], p * k):
            nats = {"logprobs": self.rollouts.logprobs[row], "ref_logprobs": self.ref_logprobs[row],
                    "entropies": self.entropies.get(row, self.rewards[:0])}
            response |= {name: [round(x, 3) for x in of[: response["length"]].tolist()]
                         for name, of in nats.items()}
            response["tokens"] = [tokenizer.decode([token], special=True) for token in self.rollouts.ids(row)]
        return {"step": step, "problem": problems[p]._asdict(), "responses": responses}

    def text(self, step: int) -> str:
        """A prompt's first two responses, to be read."""
        read = [f"[{row['reward']:+.0f}] {row['text']}" for row in self.rows()[:2]]
        return "\n".join([f"--- step {step}: {self.prompts[0]}", *read])


def signs(row: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Signs of ill health that a metrics row shows, each with what to try.

    >>> [sign for sign, _ in signs({"tied_groups": 1.0, "reward": -1.0, "entropy": 0.5, "skipped_rows": 1.0})]
    ['all tied', 'all penalised']
    """
    if row["tied_groups"] == 1:
        yield "all tied", ("every prompt's responses earn the same: raise --k or --temperature, "
                           "or take problems that are sometimes solved")
    if row["reward"] == -1:
        yield "all penalised", ("every response is penalised: raise --max-new-tokens or --repeat-limit, "
                                "or begin from a better SFT model")
    if row["entropy"] < COLLAPSED and row["skipped_rows"] < 1:
        yield "entropy collapse", (f"the entropy is under {COLLAPSED} nats a token: raise --entropy-coef "
                                   "or --temperature, or lower --lr")
