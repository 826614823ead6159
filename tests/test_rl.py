"""The RL step: its gradient is that of its equation, it checks itself, and it makes the reward rise."""

import csv
import dataclasses
import itertools
from pathlib import Path

import pytest
import torch

from t1mini.tasks import countdown
from t1mini import rl
from t1mini.runs.batches import pad
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.settings import UserError
from t1mini.tasks.countdown import Problem
from t1mini.runs.team import Team
from t1mini.loss import mean_advantages, rloo_advantages, standardised_advantages
from t1mini.model import Qwen, QwenConfig
from t1mini.reward import judge, judge_rollouts
from t1mini.metrics import METRICS
from t1mini.rl import RLConfig, problem_order
from t1mini.rollout import Rollouts, generate
from t1mini.runs.folder import RunFolder
from t1mini.update import accumulate_gradients, score_rollouts

PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3]]
CONFIG = RLConfig(k=4, temperature=1.3, entropy_coef=0.01, micro_batch_tokens=40)
VOCAB = 19
SFT = Path(__file__).parent.parent / "data/tiny-sft"


@pytest.fixture
def policy():
    return Qwen(QwenConfig(23, 24, 40, 2, 3, 1, 8, initializer_range=0.2)).initialise(0).double()


def sample(policy, config=CONFIG):
    return generate(policy, PROMPTS, config.k, max_new_tokens=17, eos_id=7, temperature=config.temperature, vocab_limit=VOCAB, seed=3)


def written_out(policy, rollouts, advantages, config):
    """The loss of the README, one token after another."""
    total = 0
    for row, advantage in enumerate(advantages):
        prompt, response = PROMPTS[row // config.k], rollouts.ids(row)
        logp = (policy(torch.tensor([prompt + response]))[0, :, :VOCAB] / config.temperature).log_softmax(-1)
        for t, token in enumerate(response):
            here = logp[len(prompt) + t - 1]
            total = total + advantage * here[token] - config.entropy_coef * (here.exp() * here).sum()
    return -total / rollouts.lengths.sum()


@pytest.mark.parametrize("entropy_coef", [0.0, 0.01])
def test_micro_batches_leave_the_gradient_of_the_whole_loss(policy, entropy_coef):
    config = dataclasses.replace(CONFIG, entropy_coef=entropy_coef)
    rollouts = sample(policy)
    torch.manual_seed(0)
    advantages = rloo_advantages(torch.randn(3, 4, dtype=torch.float64)).flatten()
    advantages[5] = 0.0
    update = accumulate_gradients(policy, PROMPTS, rollouts, advantages, rollouts.lengths.sum(), config, VOCAB)
    gradients = [p.grad.clone() for p in policy.parameters()]
    policy.zero_grad()
    expected = written_out(policy, rollouts, advantages, config)
    expected.backward()
    assert update["loss"] == pytest.approx(expected.item(), abs=1e-12)
    assert update["skipped_rows"] == (0 if entropy_coef else 1)
    assert update["logprob_gap"] < 1e-12
    for got, p in zip(gradients, policy.parameters()):
        torch.testing.assert_close(got, p.grad, atol=1e-12, rtol=0)


def test_the_policy_scored_as_its_own_reference_has_no_kl(policy):
    rollouts = sample(policy)
    torch.testing.assert_close(score_rollouts(policy, PROMPTS, rollouts, CONFIG, VOCAB), rollouts.logprobs, atol=1e-12, rtol=0)


def test_a_rollout_that_was_not_drawn_from_this_policy_stops_the_step(policy):
    rollouts = sample(policy)
    other = Qwen(policy.config).initialise(1).double()
    gap = accumulate_gradients(other, PROMPTS, rollouts, torch.ones(12), rollouts.lengths.sum(), CONFIG, VOCAB)["logprob_gap"]
    with pytest.raises(UserError, match="disagree"):
        rl.check_gap(Team(), gap, CONFIG)
    rl.check_gap(Team(), 0.99 * rl.LARGEST_GAP, CONFIG)


def test_only_the_patterns_asked_for_are_penalised():
    config = lambda **settings: RLConfig(max_new_tokens=50, repeat_limit=2, **settings)
    repeats = judge("countdown", Problem((3, 4, 11), 77), f"{MISS} {MISS} {MISS} {HIT}", **JUDGED)
    right = judge("countdown", Problem((3, 4, 11), 77), HIT, **JUDGED)
    rewards = lambda **settings: rl.rewards_of([[repeats, right]], config(**settings)).tolist()
    assert rewards() == rewards(patterns=("overlong", "repetitive")) == [[-1.0, 1.0]]
    assert rewards(patterns=("overlong", "garbled")) == rewards(penalties=False) == [[1.0, 1.0]]


def test_the_kinds_of_credit_are_those_of_the_loss():
    rewards = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, -1.0]])
    for name, expected in (("rloo", rloo_advantages), ("length", rloo_advantages), ("mean", mean_advantages), ("std", standardised_advantages)):
        assert torch.equal(rl.group_advantages(rewards, name), expected(rewards))


def test_every_problem_comes_once_before_any_comes_again():
    first = lambda seed: list(itertools.islice(problem_order(7, seed), 20))
    order = first(1)
    assert sorted(order[:7]) == sorted(order[7:14]) == list(range(7))
    assert order == first(1) != first(2)


JUDGED = dict(ids=[0] * 20, finished=True, max_new_tokens=50, repeat_limit=2)
MISS, HIT = "3 + 11 = 14 * 4 = 56 low", "3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok answer 3 + 4 * 11"


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
    assert judge("countdown", Problem((3, 4, 11), 77), text, **(JUDGED | changes)).reward == reward


EASY = [Problem((2, 3, 5), 30), Problem((1, 4, 9), 40), Problem((2, 6, 7), 56), Problem((3, 5, 8), 64)]


def run_on_easy_problems(path, **settings):
    """A short run from the committed SFT model. Returns its folder, the policy and the largest log-probability gap."""
    config = RLConfig(prompts=4, max_new_tokens=72, warmup=1, **settings)
    policy, tokenizer = load_policy(SFT)
    with RunFolder(path, config) as folder:
        rl.train(policy, tokenizer, EASY, config, folder)
        return folder.path, policy, max(float(row["logprob_gap"]) for row in folder.rows("metrics.csv"))


def test_a_stray_padding_token_is_garbled():
    tokenizer = countdown.make_tokenizer()
    rows = [[*tokenizer.encode(HIT), tokenizer.eos_id], [*tokenizer.encode(HIT.replace("check", "<pad> check")), tokenizer.eos_id]]
    lengths = torch.tensor([len(row) for row in rows])
    rollouts = Rollouts(pad(rows, tokenizer.pad_id), lengths, torch.tensor([True, True]), torch.zeros(2, 99), torch.ones(2))
    [verdicts] = judge_rollouts(RLConfig(max_new_tokens=99, repeat_limit=2), [Problem((3, 4, 11), 77)], rollouts, tokenizer)
    assert [v.reward for v in verdicts] == [1.0, -1.0] and not any("eos" in v.text for v in verdicts)


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    return run_on_easy_problems(tmp_path_factory.mktemp("rl") / "run", steps=12, lr=8e-4, checkpoint_every=6)


def test_reward_rises(short_run):
    rewards = [float(row["reward"]) for row in csv.DictReader((short_run[0] / "metrics.csv").open())]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.15


def test_a_run_leaves_what_its_folder_promises(short_run):
    path, policy, gap = short_run
    assert {p.name for p in path.iterdir()} == {"config.json", "lock", "metrics.csv", "timing.csv", "samples.txt", "step-0006", "step-0012", "final", "state"}
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


def test_bfloat16_compute_leaves_float32_weights(tmp_path):
    path, policy, gap = run_on_easy_problems(tmp_path / "run", steps=1, k=4, precision="bfloat16")
    start, _ = load_policy(SFT)
    assert all(p.dtype == torch.float32 for p in policy.parameters())
    assert not any(torch.equal(p, q) for p, q in zip(policy.parameters(), start.parameters()))  # every one was trained
    assert 1e-4 < gap < 0.3  # rounding to 8 bits shows, a wrong distribution would show more
