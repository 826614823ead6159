"""Lesson 5: pass_at_k, group, signal_fraction and hard_problems."""

import itertools
import math
from fractions import Fraction

import torch

from checking.ex01 import randn
from checking.tasks import Case, Mistake, Task

# --- pass_at_k: the fraction of all draws of k from n that hold a right one -----------------------


def pass_at_k(n, c, k) -> float:
    if n <= 12:
        draws = list(itertools.combinations(range(n), k))
        return float(Fraction(sum(any(i < c for i in draw) for draw in draws), len(draws)))
    miss = Fraction(1)
    for i in range(k):
        miss *= Fraction(max(n - c - i, 0), n - i)
    return float(1 - miss)


def pass_cases(seed: int) -> list[Case]:
    table = [(4, 1, 2), (10, 3, 4), (10, 0, 5), (10, 10, 1), (8, 5, 4), (6, 2, 6), (7, 3, 1), (64, 5, 16),
             (10_000, 3, 100), (1000, 500, 400), (5, 2, 3), (10, 4, 6), (10_000, 30, 2000)]
    return [Case(f"n = {n}, c = {c}, k = {k}", (n, c, k)) for n, c, k in table]


PASS = Task(
    "pass_at_k", pass_cases, pass_at_k, seeds=1, answers=("t1mini.statistics.pass_at_k",),
    mistakes=(
        Mistake("that draws with replacement: 1 - (1 - c/n)^k; the k samples are different ones",
                lambda n, c, k: 1 - (1 - c / n) ** k),
        Mistake("that is pass@1: the share of right samples, whatever k is", lambda n, c, k: c / n),
        Mistake("that is the chance that no sample is right: subtract it from 1",
                lambda n, c, k: math.comb(n - c, k) / math.comb(n, k)),
        Mistake("that is the chance that all k are right; one is enough",
                lambda n, c, k: math.comb(c, k) / math.comb(n, k)),
        Mistake("samples are counted with their order above and without it below: comb for both, or perm",
                lambda n, c, k: max(0.0, 1 - math.perm(n - c, k) / math.comb(n, k))),
        Mistake("that is 1 minus the chance that all k are right; it should be the chance that all are "
                "wrong, C(n - c, k) / C(n, k)",
                lambda n, c, k: 1 - math.comb(c, k) / math.comb(n, k)),
        Mistake("that is k times c/n: chances of several samples do not add up",
                lambda n, c, k: min(1.0, k * c / n)),
        Mistake("that is the number of right samples expected among k", lambda n, c, k: k * c / n),
        Mistake("that only says whether one sample of all n is right: is a // in it, or an any?",
                lambda n, c, k: 1.0 if c > 0 else 0.0),
        Mistake("that is the chance of exactly one right sample",
                lambda n, c, k: c * math.comb(n - c, k - 1) / math.comb(n, k)),
        Mistake("that takes c and k for one another", lambda n, c, k: 1 - (1 - k / n) ** c),
        Mistake("the product runs over k - 1 samples; it has k factors",
                lambda n, c, k: 1 - _product(n, c, k - 1)),
        Mistake("the product runs over k + 1 samples; it has k factors",
                lambda n, c, k: 1 - _product(n, c, min(k + 1, n))),
        Mistake("the product runs over i = 0 ... k - 1; yours begins at 1",
                lambda n, c, k: 1 - math.prod(max(n - c - i, 0) / (n - i) for i in range(1, k))),
        Mistake("c right samples leave n - c wrong ones; yours has one more",
                lambda n, c, k: 1 - math.prod(max(n - c + 1 - i, 0) / (n - i) for i in range(k))
                if c else 0.0),
        Mistake("the product runs over n - c + 1 ... n; yours over n - c ... n - 1: range begins with its "
                "first number and ends before its last",
                lambda n, c, k: 1 - math.prod(1 - k / m for m in range(n - c, n)) if n - c >= k else 1.0),
        Mistake("a sample that is drawn is gone: the denominators are n, n - 1, ...; yours is n each time",
                lambda n, c, k: 1 - math.prod(max(n - c - i, 0) / n for i in range(k))),
        Mistake("the product runs over n - c + 1 ... n; yours leaves out n: range ends before its end",
                lambda n, c, k: 1 - math.prod(max(1 - k / m, 0) for m in range(n - c + 1, n))),
        Mistake("the product runs over n - c + 1 ... n; yours begins one earlier",
                lambda n, c, k: 1 - math.prod(1 - k / m for m in range(n - c, n + 1)) if n - c >= k else 1.0),
        Mistake("the product runs over n - c + 1 ... n; yours begins one later",
                lambda n, c, k: 1.0 if n - c < k
                else 1 - math.prod(1 - k / m for m in range(n - c + 2, n + 1))),
        Mistake("with exactly k wrong samples all k may be wrong: it is sure only where n - c < k",
                lambda n, c, k: 1.0 if n - c <= k else pass_at_k(n, c, k)),
        Mistake("where fewer than k samples are wrong, one of k is right: that is 1, not 0",
                lambda n, c, k: 0.0 if n - c < k else pass_at_k(n, c, k)),
        Mistake("it is a share between 0 and 1, not in percent", lambda n, c, k: 100 * pass_at_k(n, c, k))
    )
)


def _product(n, c, k):
    return math.prod(max(n - c - i, 0) / (n - i) for i in range(k))


# --- group ----------------------------------------------------------------------------------------


def group(rewards, k):
    if len(rewards) % k:
        raise ValueError("not a multiple")
    return torch.stack([torch.stack([rewards[p * k + i] for i in range(k)])
                        for p in range(len(rewards) // k)])


def group_cases(seed: int) -> list[Case]:
    rewards = randn(seed, 12)
    return [Case("12 rewards, k = 4", (rewards, 4)),
            Case("12 rewards, k = 3", (rewards, 3), varies="k"),
            Case("6 rewards, k = 6", (rewards[:6].float(), 6)),
            Case("5 rewards, k = 1", (rewards[:5], 1)),
            Case("whole numbers", (torch.tensor([1, 0, -1, 1, 0, 0]), 2)),
            Case("10 rewards, k = 4: no whole number of prompts", (rewards[:10], 4))]


def _turned_round(rewards, k):
    if k % len(rewards):
        raise ValueError("not a multiple")
    return rewards.view(-1, k)


GROUP = Task(
    "group", group_cases, group, seeds=1, same_dtype=True,
    mistakes=(Mistake("reshape: rows are prompt-major, so a prompt's k rewards stand side by side: view(-1, "
                      "k); yours is view(k, -1)",
                      lambda r, k: r.view(k, -1)),
              Mistake("reshape: yours takes every P-th reward, so prompts are mixed; a prompt's k rewards "
                      "stand side by side: view(-1, k)",
                      lambda r, k: r.view(k, -1).T),
              Mistake("the shape is [k, P]; it should be [P, k]", lambda r, k: r.view(-1, k).T),
              Mistake("where the rewards are no multiple of k, raise ValueError; yours drops the rest",
                      lambda r, k: r[: len(r) // k * k].view(-1, k)),
              Mistake("where the rewards are no multiple of k, raise ValueError; yours fills up with zeros",
                      lambda r, k: torch.nn.functional.pad(r, (0, -len(r) % k)).view(-1, k)),
              Mistake("the rewards of a group are sorted; each stays with its response",
                      lambda r, k: r.view(-1, k).sort(-1, descending=True).values),
              Mistake("the rewards of a group are sorted; each stays with its response",
                      lambda r, k: r.view(-1, k).sort(-1).values),
              Mistake("it returns a list of tensors; stack them", lambda r, k: list(r.split(k))),
              Mistake("the rewards of a group are averaged; they should stay as they are",
                      lambda r, k: r.view(-1, k).mean(-1)),
              Mistake("groups lie side by side; yours overlap (unfold with a step of 1)",
                      lambda r, k: r.unfold(0, k, 1)),
              Mistake("the rewards stay as they are; yours have the group's mean taken away",
                      lambda r, k: (x := group(r, k)) - x.double().mean(-1, keepdim=True).to(x.dtype)),
              Mistake("a multiple of k it is where N % k is 0; yours asks for k % N", _turned_round),
              Mistake("the number of columns is fixed; it is k", lambda r, k: r.view(-1, 4)))
)


# --- signal_fraction ------------------------------------------------------------------------------


def signal_fraction(rewards) -> float:
    return sum(len(set(row)) > 1 for row in rewards.tolist()) / len(rewards)


def signal_cases(seed: int) -> list[Case]:
    table = {"some tied, some not": [[1, 0, 0], [0, 0, 0], [1, 1, 1], [-1, 0, 1], [0, 0, 0]],
             "no right answer in any, but penalties in two": [[-1, 0, 0], [0, 0, 0], [0, 0, -1]],
             "all penalised alike": [[-1, -1, -1], [-1, -1, 0]],
             "rewards that sum to 0": [[1, -1, 0], [0, 0, 0]],
             "the first is the mean": [[0, 1, -1], [0, -1, 1], [0, 0, 0]],
             "right or penalised": [[1, -1, 1], [0, 0, 0], [-1, -1, 1]],
             "all tied": [[1, 1, 1], [0, 0, 0]], "none tied": [[1, 0, 0], [0, 1, 0], [0, 0, -1]],
             "more right than wrong": [[1, 1, 0], [1, 1, 1], [1, 1, 1], [0, 1, 1]]}
    return [Case(label, (torch.tensor(rows, dtype=torch.float32 if seed else torch.float64),))
            for label, rows in table.items()]


def _signal(says: str, has) -> Mistake:
    return Mistake(says, lambda rewards: sum(bool(has(row)) for row in rewards) / len(rewards))


SIGNAL = Task(
    "signal_fraction", signal_cases, signal_fraction, seeds=2,
    mistakes=(
        _signal("that is the share of tied groups: the signal is in the others",
                lambda row: (row == row[0]).all()),
        _signal("a group with penalties and no right answer has a signal, too: rewards that differ are "
                "enough",
                lambda row: (row == 1).any() and (row != 1).any()),
        _signal("that is the share of groups with a right answer; if all are right there is no signal",
                lambda row: (row == 1).any()),
        _signal("that is the share of groups with a reward that is not 0; if all are alike there is no "
                "signal",
                lambda row: (row != 0).any()),
        _signal("that is the share of groups whose sum is not 0; 1 and -1 differ and sum to 0",
                lambda row: row.sum() != 0),
        _signal("a mean between 0 and 1 is no test where rewards may be -1: max > min",
                lambda row: 0 < row.mean() < 1),
        _signal("a group that is penalised throughout is tied, too: -1 alone says as little as 0 alone",
                lambda row: not (row == 1).all() and not (row == 0).all()),
        _signal("any difference is enough: yours asks that all rewards of a group differ",
                lambda row: len(set(row.tolist())) == len(row)),
        _signal("that is the share of groups with a mean above 0", lambda row: row.mean() > 0),
        _signal("only the first and the last reward of a group are compared", lambda row: row[0] != row[-1]),
        _signal("only the first two rewards of a group are compared", lambda row: row[0] != row[1]),
        _signal("a group has a signal only where right and penalised answers meet; any difference is one",
                lambda row: row.max() - row.min() > 1),
        _signal("rewards that are all 0 are alike, too: a sum below K does not tell",
                lambda row: row.sum().abs() < len(row)),
        _signal("equal rewards count as different: a set of tensors holds each apart; .tolist() first",
                lambda row: True),
        Mistake("that is a share of responses; a share of groups is asked for",
                lambda rewards:
                    ((rewards - rewards.mean(-1, keepdim=True)).abs() > 1e-7).double().mean().item()),
        Mistake("that is a share of responses; a share of groups is asked for",
                lambda rewards: (rewards != rewards[:, :1]).double().mean().item()),
        _signal("a sum of 0 or K does not tell where rewards may be -1: max > min",
                lambda row: row.sum() != 0 and row.sum() != len(row)),
        _signal("any and all take -1 for true, as they do 1: compare the rewards themselves",
                lambda row: row.any() and not row.all()),
        Mistake("that is the number of groups with a signal; divide by the number of groups",
                lambda rewards: sum(len(set(r)) > 1 for r in rewards.tolist())),
        Mistake("divide with /: // leaves a whole number",
                lambda rewards: sum(len(set(r)) > 1 for r in rewards.tolist()) // len(rewards)),
        Mistake("divide by the number of groups, not by that of responses",
                lambda rewards: sum(len(set(r)) > 1 for r in rewards.tolist()) / rewards.numel()),
        Mistake("the groups are the rows: compare along the last axis",
                lambda rewards: signal_fraction(rewards.T))
    )
)

# --- hard_problems --------------------------------------------------------------------------------


def hard_problems(correct, at_least, at_most, *, inside=lambda share, low, high: low <= share <= high):
    return [i for i, row in enumerate(correct.tolist()) if inside(sum(row) / len(row), at_least, at_most)]


def hard_cases(seed: int) -> list[Case]:
    counts = [[3, 0, 8, 2, 1, 7, 4], [8, 1, 1, 0, 5, 2, 6, 3, 2]][seed]
    rows = torch.tensor([[j < c for j in range(8)] for c in counts])
    order = lambda i: torch.randperm(8, generator=torch.Generator().manual_seed(i))
    rows = torch.stack([row[order(i)] for i, row in enumerate(rows)])
    some = lambda right, n: torch.stack([torch.arange(n) < c for c in right])
    return [Case("8 samples a problem, at most a quarter right", (rows, 0.0, 0.25)),
            Case("at most a half", (rows, 0.0, 0.5), varies="at_most"),
            Case("an eighth to a half", (rows, 0.125, 0.5), varies="at_least"),
            Case("none fits", (rows[:, :1] | True, 0.0, 0.25)),
            Case("as many problems as samples", (rows[:4, :4], 0.25, 0.5)),
            Case("10 samples, at most 0.3", (some((3, 4, 0, 2), 10), 0.0, 0.3)),
            Case("16 samples, 0.3 to 0.7", (some((4, 5, 11, 12, 0), 16), 0.3, 0.7)),
            Case("100 samples, 0.07 to 0.29", (some((29, 6, 7, 30), 100), 0.07, 0.29))]


def _hard(says: str, inside) -> Mistake:
    return Mistake(says, lambda correct, low, high: hard_problems(correct, low, high, inside=inside))


HARD = Task(
    "hard_problems", hard_cases, hard_problems, seeds=2,
    mistakes=(
        _hard("a share of exactly `at_most` is still hard: <=", lambda share, low, high: low <= share < high),
        _hard("a share of exactly `at_least` counts, too: >=", lambda share, low, high: low < share <= high),
        _hard("a problem that is never solved has a share of 0, which counts where at_least is 0",
              lambda share, low, high: share > 0 and low <= share <= high),
        _hard("shares are rounded: compare them as they are",
              lambda share, low, high: low <= round(share, 1) <= high),
        Mistake("a mean in float32 is not quite 3/10: .tolist() shows it as 0.30000001, above 0.3; divide "
                "whole numbers, or compare within torch",
                lambda correct, low, high: [i for i, x in enumerate(correct.float().mean(1).tolist())
                                            if low <= x <= high]),
        Mistake("at_least * n is cut to a whole number: 0.3 of 16 is 4.8, and 4 are too few",
                lambda correct, low, high: [i for i in hard_problems(correct, 0.0, high)
                                            if int(correct[i].sum()) >= int(low * correct.shape[1])]),
        Mistake("at_most * n is not quite whole, 28.999999999999996 for 0.29 of 100: divide the number of "
                "right ones by n",
                lambda correct, low, high: [i for i, row in enumerate(correct.tolist())
                                            if low * len(row) <= sum(row) <= high * len(row)]),
        Mistake("at_most * n is not quite whole, 28.999999999999996 for 0.29 of 100: divide the number of "
                "right ones by n",
                lambda correct, low, high: [i for i, row in enumerate(correct.tolist())
                                            if low <= sum(row) / len(row) and sum(row) <= high * len(row)]),
        _hard("both ends count: <=", lambda share, low, high: low < share < high),
        _hard("`at_least` is not used", lambda share, low, high: share <= high),
        _hard("`at_most` is not used", lambda share, low, high: low <= share),
        _hard("those are the problems that are left out", lambda share, low, high: not low <= share <= high),
        _hard("the share of wrong responses is compared; the share of right ones is asked for",
              lambda share, low, high: low <= 1 - share <= high),
        Mistake("problems are the rows: the share is over a row's samples (the last axis)",
                lambda correct, low, high: hard_problems(correct.T, low, high)),
        Mistake("the number of right responses is compared; the share of a problem's samples is asked for",
                lambda correct, low, high: [i for i, row in enumerate(correct.tolist())
                                            if low <= sum(row) <= high]),
        Mistake("a share is of a problem's n samples, however many; yours is always divided by 16",
                lambda correct, low, high: [i for i, row in enumerate(correct.tolist())
                                            if low <= sum(row) / 16 <= high]),
        Mistake("a share is of a problem's n samples; yours is divided by the number of problems",
                lambda correct, low, high: [i for i, row in enumerate(correct.tolist())
                                            if low <= sum(row) / len(correct) <= high]),
        Mistake("a list of numbers is asked for; in yours each is a list of its own (nonzero gives a row "
                "each)",
                lambda correct, low, high: [[i] for i in hard_problems(correct, low, high)]),
        Mistake("the numbers are those of the rows that were given; yours count what another filter has left",
                lambda correct, low, high: hard_problems(correct[correct.any(1)], low, high) if low > 0
                else hard_problems(correct, low, high)),
        Mistake("problems are numbered from 0",
                lambda correct, low, high: [i + 1 for i in hard_problems(correct, low, high)]),
        Mistake("the numbers of the problems are asked for, in their order; yours are sorted by their shares",
                lambda correct, low, high: sorted(hard_problems(correct, low, high),
                                                  key=lambda i: (sum(correct[i].tolist()), -i))),
        Mistake("the numbers of the problems are asked for, not a truth value for each",
                lambda correct, low, high: [i in hard_problems(correct, low, high)
                                            for i in range(len(correct))]),
        Mistake("the numbers of the problems are asked for, not how many they are",
                lambda correct, low, high: len(hard_problems(correct, low, high)))
    )
)

TASKS = (PASS, GROUP, SIGNAL, HARD)
