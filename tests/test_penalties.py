"""Each penalty begins exactly where its sentence says, and replaces the reward whatever the answer was worth."""

from itertools import product

import pytest

from t1mini.penalties import is_garbled, is_overlong, is_repetitive, penalised_reward


@pytest.mark.parametrize("ids, n, occurrences", [
    ([5, 8, 5, 8, 5], 1, 3),
    ([1, 2, 3, 9, 1, 2, 3, 1, 2, 3], 3, 3),
    ([7, 7, 7, 7], 2, 3),  # runs overlap: at 0, 1 and 2
    ([1, 2, 1, 2, 1], 3, 2),  # 1 2 1 twice, sharing its middle 1
    ([4, 5, 6], 3, 1),
    ([("3", "+", "4"), ("4", "+", "3"), ("3", "+", "4")], 1, 2),  # a task's own units
])
def test_repetition_counts_the_commonest_n_gram_against_the_limit(ids, n, occurrences):
    assert not is_repetitive(ids, n, limit=occurrences)
    if occurrences > 1:
        assert is_repetitive(ids, n, limit=occurrences - 1)


@pytest.mark.parametrize("ids, n", [([], 1), ([4], 2), ([4, 4, 4], 4)])
def test_a_response_shorter_than_the_n_gram_is_not_repetitive(ids, n):
    assert not is_repetitive(ids, n, limit=1)


def test_an_n_gram_is_consecutive_and_in_order():
    assert not is_repetitive([1, 2, 9, 2, 1, 8, 1, 7, 2], n=2, limit=1)


@pytest.mark.parametrize("n, limit", [(0, 3), (-1, 3), (2, 0), (2, -1)])
def test_repetition_refuses_a_meaningless_rule(n, limit):
    with pytest.raises(ValueError):
        is_repetitive([1, 2], n, limit)


@pytest.mark.parametrize("length, finished, overlong", [
    (9, False, False), (10, False, True), (10, True, False), (9, True, False)])
def test_overlong_is_the_limit_reached_without_an_end_token(length, finished, overlong):
    assert is_overlong(length, finished, max_new_tokens=10) is overlong


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\ufffd", "\ue000", "\ud800"], ids=ascii)
def test_one_control_or_replacement_character_garbles_a_text(character):
    assert is_garbled("a long and otherwise ordinary answer: 7" + character)


@pytest.mark.parametrize("text", ["", "12 + 3 = 15", "one\ttwo\nthree", "π r² ≤ ∞ · naïve", "½ ☺ → …", "5 µm", "ℝ ∋ ℓ", "𝑥 = 5", "Å", "😀 👩\u200d🚀 ℹ️ \U0001fae8"], ids=ascii)
def test_ordinary_text_is_not_garbled(text):
    assert not is_garbled(text)


@pytest.mark.parametrize("foreign", ["я", "答", "ع"], ids=ascii)
def test_foreign_letters_may_be_exactly_the_share_but_no_more(foreign):
    assert not is_garbled("a" * 9 + foreign + " 123 !?")  # 1 letter in 10; digits and signs do not count
    assert is_garbled("a" * 8 + foreign + " 123 !?")  # 1 in 9
    assert not is_garbled("aaa" + foreign, share=0.25) and is_garbled("aa" + foreign, share=0.25)


def test_the_expected_scripts_can_be_chosen():
    assert is_garbled("привет") and not is_garbled("привет", scripts=("CYRILLIC",)) and is_garbled("hello", scripts=("CYRILLIC",))


@pytest.mark.parametrize("reward", [0.0, 1.0])
@pytest.mark.parametrize("patterns", list(product([False, True], repeat=3)), ids=str)
def test_any_pattern_replaces_the_reward_also_of_a_correct_answer(reward, patterns):
    assert penalised_reward(reward, *patterns) == (-1.0 if any(patterns) else reward)
