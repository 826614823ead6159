"""The budget curve cuts the same thinking at every budget, forces an answer, and lets finished responses keep theirs."""

import shutil
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import AddedToken

from t1mini.tasks import countdown, policy_for
from t1mini import inference_scaling
from t1mini.runs.checkpoint import load_policy
from t1mini.evaluate import respond
from t1mini.inference_scaling import ScaleConfig, budget_curve, gains, thoughts, truncate_thinking
from t1mini.rollout import generate
from t1mini.runs.tokenizer import Tokenizer

END = 9


@pytest.mark.parametrize("ids, budget, expected", [
    *(([5, 6, 7, END, 8], budget, [5, 6, 7][:budget]) for budget in (10, 3, 2)),
    ([5, 6, 7], 10, [5, 6, 7]), ([5, 6, 7], 0, []), ([END, 5], 4, []), ([], 4, [])])
def test_thinking_ends_at_the_budget_or_at_its_end(ids, budget, expected):
    assert truncate_thinking(ids, budget, END) == expected


@pytest.fixture(scope="module")
def policy():
    return load_policy(Path(__file__).parent.parent / "data/tiny-sft")


PROBLEMS = countdown.make_splits()["validation"][::60]
CONFIG = ScaleConfig(samples=3, budgets=(0, 25, 60, 192))


def test_with_room_to_finish_the_curve_is_the_plain_accuracy(policy):
    model, tokenizer = policy
    rollouts = respond(model, tokenizer, PROBLEMS, CONFIG)[0]
    scores, _ = budget_curve(model, tokenizer, PROBLEMS, rollouts, CONFIG)
    finished = rollouts.finished.reshape(len(PROBLEMS), 3).numpy()
    plain = np.array([countdown.is_correct(PROBLEMS[r // 3], tokenizer.decode(rollouts.ids(r))) for r in range(len(rollouts.lengths))])
    assert scores.shape == (4, len(PROBLEMS), 3) and finished.mean() > 0.5
    assert (scores[-1] == plain.reshape(finished.shape))[finished].all()


@pytest.mark.parametrize("name", ["qwen2-tiny", "llama-tiny", "its own"])
def test_countdown_is_cut_before_its_answer_and_asked_for_it_in_any_tokens(name):
    tokenizer = countdown.make_tokenizer() if name == "its own" else Tokenizer.from_dir(Path(__file__).parent / "golden" / name)
    if name == "qwen2-tiny":  # as in a language model's tokenizer, a word with the space before it is one token
        tokenizer.backend.add_tokens([AddedToken(" answer", normalized=False)])
        assert len(tokenizer.encode(countdown.END_OF_THINKING)) == 1
    ids = tokenizer.encode("3 + 4 = 7 * 11 = 77 low answer 3 + 4 * 11")
    kept = thoughts(ids, 1000, tokenizer, countdown.END_OF_THINKING)
    assert tokenizer.decode(kept) == "3 + 4 = 7 * 11 = 77 low"
    assert tokenizer.decode(kept + tokenizer.encode(countdown.FORCED_ANSWER)).rstrip() == "3 + 4 = 7 * 11 = 77 low answer"


def test_a_stray_special_token_counts_as_text_in_the_curve_too(policy):
    model, tokenizer = policy
    problem, pad = countdown.Problem((3, 4, 11), 77), tokenizer.encode("<pad>")
    assert len(pad) == 1
    for stray in ([], pad):
        ids = [*tokenizer.encode("answer 3 + 4"), *stray, *tokenizer.encode("* 11"), tokenizer.eos_id]
        thinking = SimpleNamespace(finished=torch.tensor([True]), lengths=torch.tensor([len(ids)]), unpadded=[ids], ids=lambda row: ids)
        scores, _ = budget_curve(model, tokenizer, [problem], thinking, ScaleConfig(samples=1, budgets=(192,)))
        assert scores.item() == (not stray)


def test_an_answer_is_forced_from_the_cut_thinking(policy, monkeypatch):
    model, tokenizer = policy
    calls = []

    def watched(model, prompts, k, sampling, **settings):
        calls.append((prompts, settings["max_new_tokens"]))
        return generate(model, prompts, k, sampling, **settings)

    config = ScaleConfig(samples=3, budgets=(0, 25), answer_tokens=9)
    thinking, _ = respond(model, tokenizer, PROBLEMS[:4], config)
    monkeypatch.setattr(inference_scaling, "twins", lambda config: (watched, None))
    budget_curve(model, tokenizer, PROBLEMS[:4], thinking, config)
    (at_none, answer_tokens), (at_25, _) = calls
    questions = [tokenizer.encode(countdown.prompt_text(p)) for p in PROBLEMS[:4]]
    opener = tokenizer.encode(countdown.END_OF_THINKING)
    assert answer_tokens == 9
    assert at_none == [q + opener for q in questions for _ in range(3)]
    for forced in at_25:
        question = next(q for q in questions if forced[: len(q)] == q)
        assert forced[-1:] == opener and len(forced) <= len(question) + 25 + 1
        assert opener[0] not in forced[len(question) : -1]


def test_one_policy_is_in_memory_at_a_time(tmp_path, monkeypatch):
    alive, most = weakref.WeakSet(), []

    def watched(*args):
        loaded = policy_for(*args)
        alive.add(loaded[0])
        most.append(len(alive))
        return loaded

    monkeypatch.setattr(inference_scaling, "policy_for", watched)
    copies = [shutil.copytree("data/tiny-sft", tmp_path / name).as_posix() for name in "abc"]
    inference_scaling.run(ScaleConfig(init=tuple(copies), problems=2, samples=1, budgets=(8,), out=str(tmp_path / "out")))
    assert max(most) == 1 and len(most) == 6


def test_gains_are_paired_differences_from_the_first_policy_and_from_the_longest_budget():
    before, after = np.zeros((2, 4, 1)), np.array([[[0], [0], [1], [0]], [[1], [1], [1], [1]]], dtype=float)
    header, short, long = gains({"sft": before, "rl": after}, (8, 16), seed=0).splitlines()
    assert header.split() == "gain, in points rl over sft 16 tokens over this".split()
    assert short.split()[:3] == ["8", "tokens", "+25.0"] and "+75.0 (" in short
    assert " ".join(long.split()) == "16 tokens +100.0 (+100.0 to +100.0) +0.0 (+0.0 to +0.0)"
