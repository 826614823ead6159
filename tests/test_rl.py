"""The RL step: its gradient is that of its equation, plain or fast, and it makes the reward rise."""

import csv
import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from t1mini import penalties, rl
from t1mini.__main__ import main
from t1mini.evaluate import EvaluateConfig, HeldOut, respond
from t1mini.fast import twins
from t1mini.metrics import LARGEST_GAP, METRICS, StepRecord
from t1mini.model import Qwen, QwenConfig
from t1mini.penalties import judge, judge_rollouts, rewards_of
from t1mini.reference import EMAReference
from t1mini.rl import RLConfig, problem_order, t1_step
from t1mini.rollout import Rollouts
from t1mini.runs.batches import pad
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.folder import RunFolder, read_rows
from t1mini.runs.optimiser import Optimiser
from t1mini.runs.settings import UserError
from t1mini.runs.team import Team
from t1mini.tasks import countdown
from t1mini.tasks.countdown import Problem

SFT = Path(__file__).parent.parent / "data/tiny-sft"
EASY = [Problem((2, 3, 5), 30), Problem((1, 4, 9), 40), Problem((2, 6, 7), 56), Problem((3, 5, 8), 64)]
JUDGED = dict(ids=[0] * 20, finished=True, max_new_tokens=50, repeat_limit=2)
MISS, HIT = "3 + 11 = 14 * 4 = 56 low", "3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok answer 3 + 4 * 11"


class Captured(Optimiser):
    """Keeps an update's gradients, and the rows of its batch, and applies nothing."""

    def step(self, i, quantities, describe, gap):
        self.rows, self.loss, self.gap = describe(), quantities["loss"].item(), gap.item()
        self.gradients = [p.grad.clone() for p in self.model.parameters()]
        self.adamw.zero_grad()
        return 1.0


def written_out(policy, tokenizer, rows, rollouts, entropy_coef, min_p):
    """The loss of the README, one token after another."""
    total = 0
    for i, row in enumerate(rows):
        prompt, response = tokenizer.encode(row["prompt"]), rollouts.ids(i)
        logits = policy(torch.tensor([prompt + response]))[0, :, : tokenizer.size]
        p = (logits / 1.3).softmax(-1)
        z = (logits / 1.3).masked_fill(p < min_p * p.amax(-1, keepdim=True), -1e9)
        logp = z.log_softmax(-1)
        for t, token in enumerate(response):
            here = logp[len(prompt) + t - 1]
            total = total + row["advantage"] * here[token] - entropy_coef * (here.exp() * here).sum()
    return -total / rollouts.lengths.sum()


@pytest.mark.parametrize("entropy_coef, min_p", [(0.0, 0.0), (0.01, 0.0), (0.01, 0.2)])
@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
def test_the_gradient_of_a_step_is_that_of_the_whole_loss(entropy_coef, min_p, plain):
    tokenizer = countdown.make_tokenizer()
    policy = Qwen(QwenConfig(tokenizer.size + 5, 24, 40, 2, 3, 1, 8, initializer_range=0.2)).initialise(0).double()
    config = RLConfig(k=4, temperature=1.3, entropy_coef=entropy_coef, micro_batch_tokens=40, max_new_tokens=9,
                      kl_coef=0.3, plain=plain, min_p=min_p)
    reference = EMAReference(Qwen(policy.config).initialise(1).double(), 0.99)
    optimiser = Captured(policy, Team(), lr=1e-3, steps=1, warmup=0, clip=1.0, weight_decay=0.0)
    made = []
    generate, score = twins(config)
    watched = lambda *a, **settings: made.append(generate(*a, **settings)) or made[-1]
    row, record = t1_step(0, EASY[:3], range(3), policy, reference, optimiser, tokenizer, config, watched, score)
    loss = written_out(policy, tokenizer, optimiser.rows, made[0], entropy_coef, min_p)
    loss.backward()
    assert optimiser.loss == pytest.approx(loss.item(), abs=1e-9) and optimiser.gap < 1e-9
    for got, p in zip(optimiser.gradients, policy.parameters(), strict=True):
        torch.testing.assert_close(got, p.grad, atol=1e-6, rtol=0)
    assert row.keys() == METRICS.keys() and row["kl"] != 0 and record.text(1).startswith("--- step 1: make 30 from")
    groups = torch.tensor([r["advantage"] for r in optimiser.rows]).view(3, 4)
    torch.testing.assert_close(groups.sum(-1), torch.zeros(3), atol=1e-5, rtol=0)  # both terms are centred


@pytest.mark.parametrize("min_p, shift, passes", [(0.05, 0.03, True), (0.0, 0.03, False), (0.05, 0.3, False)])
def test_a_token_at_the_border_of_min_p_does_not_stop_a_run(min_p, shift, passes):
    policy, tokenizer = load_policy(SFT)
    config = RLConfig(k=2, max_new_tokens=9, min_p=min_p)
    optimiser = Optimiser(policy, Team(), lr=1e-3, steps=1, warmup=0, clip=1.0, weight_decay=0.0, largest_gap=LARGEST_GAP)
    generate, score = twins(config)

    def shifted(model, *given):  # as where another token is kept than was while sampling
        logprobs, entropy, mask = score(model, *given)
        shifts = torch.zeros_like(logprobs)
        shifts[0, 0] = shift
        return logprobs + shifts, entropy, mask

    step = lambda: t1_step(0, EASY[:1], range(1), policy, EMAReference(policy, 0.9), optimiser, tokenizer, config, generate, shifted)
    if passes:
        row, _ = step()
        assert row["flipped"] == 1 and row["logprob_gap"] < 1e-3
    else:
        with pytest.raises(UserError, match="disagree by 0.3?0?"):
            step()


def test_a_row_without_advantage_and_bonus_is_skipped_and_its_tokens_still_count():
    tokenizer = countdown.make_tokenizer()
    policy = Qwen(QwenConfig(tokenizer.size, 24, 40, 2, 3, 1, 8)).initialise(0)
    config = RLConfig(k=3, entropy_coef=0.0, kl_coef=0.0, max_new_tokens=5)  # too short for an answer: every reward is -1
    optimiser = Captured(policy, Team(), lr=1e-3, steps=1, warmup=0, clip=1.0, weight_decay=0.0)
    scored = []
    generate, score = twins(config)
    watched = lambda model, *a: scored.append(model) or score(model, *a)
    for p in policy.parameters():
        p.grad = torch.zeros_like(p)
    row, _ = t1_step(0, EASY[:2], range(2), policy, EMAReference(policy, 0.9), optimiser, tokenizer, config, generate, watched)
    assert row["skipped_rows"] == row["tied_groups"] == 1 and policy not in scored


def test_the_largest_gap_of_all_ranks_is_no_other_columns_value():
    record = StepRecord([], [], None, torch.zeros(1, 2), None, None, None)  # of a rank that had no row to update
    record.gap.fill_(0.5)  # as Team.max does
    assert not any((record.loss, record.entropy, record.tokens, record.flipped))


def test_only_the_patterns_asked_for_are_penalised(monkeypatch):
    repeats = judge(countdown, Problem((3, 4, 11), 77), f"{MISS} {MISS} {MISS} {HIT}", **JUDGED)
    right = judge(countdown, Problem((3, 4, 11), 77), HIT, **JUDGED)
    rewards = lambda *patterns: rewards_of([[repeats, right]], *patterns).tolist()
    assert rewards() == rewards(("overlong", "repetitive")) == [[-1.0, 1.0]]
    assert rewards(("overlong", "garbled")) == rewards(()) == [[1.0, 1.0]]
    monkeypatch.setattr(penalties, "penalised_reward", lambda reward, *shown: reward)  # a reader's own may return what it got
    assert rewards_of([[right]]).is_floating_point()


def test_every_problem_comes_once_before_any_comes_again():
    first = lambda seed: list(itertools.islice(problem_order(7, seed), 20))
    order = first(1)
    assert sorted(order[:7]) == sorted(order[7:14]) == list(range(7))
    assert order == first(1) != first(2)


@pytest.mark.parametrize("text, changes, reward", [
    (f"{MISS} {HIT}", {}, 1.0),
    (f"{MISS} stop answer none", {}, 0.0),
    (f"{MISS} {MISS} {HIT}", {}, 1.0),
    (f"{MISS} {MISS} {MISS} {HIT}", {}, -1.0),  # repetitive, though right
    (f"{MISS} {HIT}", dict(finished=False, ids=[0] * 50), -1.0),  # overlong
    (f"{MISS} {HIT}", dict(ids=[0] * 50), 1.0),  # the end token was the last allowed one
    (f"low low {HIT}", {}, -1.0),  # garbled: does not read as attempts and verdicts
])
def test_penalties_overrule_the_verifier(text, changes, reward):
    assert judge(countdown, Problem((3, 4, 11), 77), text, **(JUDGED | changes)).reward() == reward


def run_on_easy_problems(path, **settings):
    """A short run from the committed SFT model. Returns its folder, the policy and the largest log-probability gap."""
    config = RLConfig(out=str(path), prompts=4, max_new_tokens=72, warmup=1, **settings)
    policy, tokenizer = load_policy(SFT)
    with RunFolder(config, "rl") as folder:
        rl.train(policy, tokenizer, EASY, config, folder, HeldOut(config))
        return folder.path, policy, max(float(row["logprob_gap"]) for row in read_rows(path / "metrics.csv"))


def test_a_stray_padding_token_is_garbled():
    tokenizer = countdown.make_tokenizer()
    rows = [[*tokenizer.encode(HIT), tokenizer.eos_id], [*tokenizer.encode(HIT.replace("check", "<pad> check")), tokenizer.eos_id]]
    lengths = torch.tensor([len(row) for row in rows])
    rollouts = Rollouts(pad(rows, tokenizer.pad_id), lengths, torch.tensor([True, True]), torch.zeros(2, 99), torch.ones(2))
    [verdicts] = judge_rollouts(countdown, [Problem((3, 4, 11), 77)], rollouts, tokenizer, max_new_tokens=99, repeat_limit=2)
    assert [v.reward() for v in verdicts] == [1.0, -1.0] and not any("eos" in v.text for v in verdicts)


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    return run_on_easy_problems(tmp_path_factory.mktemp("rl") / "run", steps=12, lr=8e-4, checkpoint_every=6)


def test_reward_rises(short_run):
    rewards = [float(row["reward"]) for row in csv.DictReader((short_run[0] / "metrics.csv").open())]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.15


def test_a_run_leaves_what_its_folder_promises(short_run):
    path, policy, gap = short_run
    assert {p.name for p in path.iterdir()} == {"config.json", "lock", "metrics.csv", "timing.csv", "samples.txt", "groups.jsonl", "thinking.jsonl", "step-0006", "step-0012", "final", "state"}
    rows = list(csv.DictReader((path / "metrics.csv").open()))
    assert list(rows[0]) == list(METRICS) and len(rows) == 12
    assert float(rows[0]["kl"]) == pytest.approx(0, abs=1e-4) and float(rows[-1]["kl"]) > 0
    assert 0 < gap < 1e-3
    saved, tokenizer = load_policy(path / "final")
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), saved.parameters(), strict=True))
    assert tokenizer.encode(countdown.prompt_text(EASY[0]))


def test_the_same_seed_gives_the_same_run_bit_for_bit(tmp_path):
    torch.use_deterministic_algorithms(True)
    try:
        runs = [run_on_easy_problems(tmp_path / name, steps=2, k=4) for name in ("one", "two")]
        other, _, _ = run_on_easy_problems(tmp_path / "other", steps=2, k=4, seed=1)
    finally:
        torch.use_deterministic_algorithms(False)
    (path, policy, _), (again_path, again, _) = runs
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), again.parameters(), strict=True))
    assert (path / "metrics.csv").read_text() == (again_path / "metrics.csv").read_text() != (other / "metrics.csv").read_text()


def test_a_reference_that_is_reset_is_the_policy_again_every_few_updates(tmp_path):
    run_on_easy_problems(tmp_path / "run", steps=5, ema_decay=0.0, ema_every=2, lr=5e-3)
    kl = [abs(float(row["kl"])) for row in read_rows(tmp_path / "run/metrics.csv")]
    assert max(kl[0], kl[2], kl[4]) < 1e-4 and min(kl[1], kl[3]) > 1e-2, kl


def test_bfloat16_compute_leaves_float32_weights(tmp_path):
    path, policy, gap = run_on_easy_problems(tmp_path / "run", steps=1, k=4, precision="bfloat16")
    start, _ = load_policy(SFT)
    assert all(p.dtype == torch.float32 for p in policy.parameters())
    assert not any(torch.equal(p, q) for p, q in zip(policy.parameters(), start.parameters()))  # every one was trained
    assert 1e-4 < gap < 0.3  # rounding to 8 bits shows, a wrong distribution would show more
    run_on_easy_problems(tmp_path / "min-p", steps=1, k=4, precision="bfloat16", min_p=0.05)
    (row,) = read_rows(tmp_path / "min-p/metrics.csv")
    assert row["flipped"] == "0" and float(row["logprob_gap"]) > LARGEST_GAP  # rounding is no border's doing


def test_problems_held_out_are_looked_at_before_during_and_after(tmp_path):
    flags = ["rl", "--steps", "5", "--prompts", "2", "--k", "2", "--max-new-tokens", "40", "--threads", "2", "--eval-every", "2"]
    looks = {}
    for workers in ("1", "2"):  # --data is the folder of all splits
        assert main([*flags, "--workers", workers, "--eval-problems", "5", "--out", str(tmp_path / workers)]) == 0
        looks[workers] = read_rows(tmp_path / workers / "eval.csv")
    rows = looks["1"]
    assert [row["step"] for row in rows] == ["0", "2", "4", "5"] and rows[0] == looks["2"][0]  # whoever answers
    assert all(row["problems"] == "5" and 0 <= float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) <= 1 for row in rows)
    countdown.save_problems(tmp_path / "held.jsonl", EASY)
    policy, tokenizer = load_policy(SFT)
    config = RLConfig(eval_every=1, eval_data=str(tmp_path / "held.jsonl"), eval_problems=0, data="none.jsonl")
    assert len(HeldOut(replace(config, eval_problems=1)).problems) == 1  # Wilson's interval needs no second
    held_out, state = HeldOut(config), SimpleNamespace(team=Team(), folder=None)
    held_out.look(0, policy, tokenizer, state)
    _, verdicts = respond(policy, tokenizer, EASY, EvaluateConfig(samples=1))
    assert held_out.shown == {"held out": f"{sum(v.correct for v, in verdicts) / 4:.2f}"}


def test_held_out_problems_have_to_be_somewhere(tmp_path, capsys):
    assert main(["rl", "--data", "data/train.jsonl", "--eval-every", "2", "--out", str(tmp_path / "a")]) == 2
    assert "--eval-every needs --eval-data" in capsys.readouterr().err
    assert main(["rl", "--eval-every", "2", "--eval-data", "none.jsonl", "--out", str(tmp_path / "a")]) == 2
    assert "--eval-data" in (said := capsys.readouterr().err) and "none.jsonl" in said and not (tmp_path / "a").exists()
