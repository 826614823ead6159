"""A critique names the slip that is there, and none that is not."""

import random

import pytest

from t1mini.tasks.critiques import DOUBTS, PLANS, critique, equations


@pytest.mark.parametrize("text, found", [
    ("5 + 3 = 9", [("5 + 3", "9", "8")]),
    ("She has 5 + 3 = 8. Then 8 * 2 = 17 remain.", [("5 + 3", "8", ""), ("8 * 2", "17", "16")]),
    ("12 - 4 - 3 = 4 and 2 x 3 = 6, 8 ÷ 2 = 4, 3×3=9", [("12 - 4 - 3", "4", "5"), ("2 x 3", "6", ""), ("8 ÷ 2", "4", ""), ("3×3", "9", "")]),
    ("$1,200 * 2 = $2,400; ($5 + $3) * 2 = $15", [("$1,200 * 2", "$2,400", ""), ("($5 + $3) * 2", "$15", "16")]),
    (".5*10 = 5 and 6 / 60 = .1, 7 / 2 = 3.6", [(".5*10", "5", ""), ("6 / 60", ".1", ""), ("7 / 2", "3.6", "3.5")]),
    ("10/3 = 3.33, 2/3 = 0.66, 2/3 = 0.67, 2/3 = 0.6", [("10/3", "3.33", ""), *[("2/3", said, "") for said in ("0.66", "0.67", "0.6")]]),
    ("2/3 = 0.5, 7/2 = 3, 5 - 8 = 3", [("2/3", "0.5", "0.6666666667"), ("7/2", "3", "3.5"), ("5 - 8", "3", "-3")]),
    ("9 hours * 2/3 = 6; M + 4 + 2 = 8; half of 8 + 2 = 6; 3 1/2 - 2 = 1", []),  # what stands before belongs to it
    ("4080 / 2 = 4000 + 2040 = 6120; 8 x 1 = 1 1/2; 192 / 1.2 = 1.2Y; 5 + 3 = 8%", [("4000 + 2040", "6120", "6040")]),
    ("0900-0130 = 0730; x = 5; 5 = 4; 2^3 + 1 = 7; 7/0 = 1; 5 + 3 ==", []),
    ("1 + 1 = 2\n2 + 2 = 5", [("1 + 1", "2", ""), ("2 + 2", "5", "4")]),
])
def test_equations_in_numbers_are_found_and_computed(text, found):
    assert equations(text) == found


def test_a_critique_says_what_is_known():
    for seed in range(20):
        rng = random.Random(seed)
        assert "5 + 3 is 8, not 9" in (said := critique("5 + 3 = 9, and 9 * 2 = 17", "17", rng)) and "17" in said
        assert critique("5 + 3 = 8", "8", rng) in [words.format(answer="8") for words in PLANS]
        assert critique("I think so.", "8", rng) in [words.format(answer="8") for words in DOUBTS]


def test_long_texts_take_no_longer_than_they_are_long():
    for text in ("1 + " * 50_000, "1" * 100_000 + "= 1", "(" * 100_000 + "1 + 1 = 2", "= 1 " * 30_000, " " * 100_000 + "= 1"):
        assert equations(text) == []
    assert equations("1 + 1 = 2\n" * 20_000) == [("1 + 1", "2", "")] * 20_000
