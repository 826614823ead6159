"""The verifier: labelled cases (verifier_cases.txt), bounds against hostile text, and properties."""

import random
from fractions import Fraction
from pathlib import Path

import pytest

from t1mini.answers.latex import normalise, read
from t1mini.verifier import answers_equal, extract_answer, is_plain, verify


def cases() -> dict[str, list[tuple[str, str]]]:
    """The pairs of each section."""
    found, section = {}, []
    for line in (Path(__file__).parent / "verifier_cases.txt").read_text().splitlines():
        if "|||" in line:
            a, b = line.split("|||")
            section.append((a.strip().replace("⏎", "\n"), b.strip()))
        elif line.startswith("["):
            section = found.setdefault(line.strip("[]"), [])
    return found


CASES = cases()
HOSTILE = [
    *("\\boxed{" * 15000, "{" * 100_000, "}" * 100_000, "\\boxed{" + "{" * 100_000, "\\boxed{}" * 12000),
    *("answer is " * 10_000, "<answer>" * 12_000, "#### \n" * 20_000, "answer is" + " " * 100_000),
    *("\\boxed{" * 200 + "a" * 4_000_000, "\\boxed{" * 300_000 + "}" * 300_000),
    *("\\boxed{" + inside + "}" for inside in (
        *("(" * 900, " " * 100_000, "\ud800", "\x00", "|" * 990, "|x+" * 330, "-" * 900 + "1"),
        *("9^{9^{9^9}}", "((((9!)!)!)!)", "9!" * 200, "\\binom{1e999}{500}+\\pi", "1e999999999", "\\sin(10^{100})", "0^{-1}"),
        *("\\pm 1" * 190, "1," * 490, "=1" * 490, "x_" * 490, "(1," * 200, "(1,2)," * 150, "1,234" * 190),
        *("\\sqrt{" * 150 + "2" + "}" * 150, "\\text{" * 100 + "}" * 100, "\\text{" + " " * 900),
        *("5" + "a" * 900 + "~", "5" + " a" * 490, "2^" * 490, "e^{e^{e^{e^e}}}"),
        *("\\frac" * 190, "\\sin" * 200 + "1", "ln " * 330 + "2", "\\begin{pmatrix}" + "1&" * 400),
        *("(" * 290 + "7" + ")" * 290, "(n!)!", "(10^{300})!", "(1/7)!" * 60, "\\binom{10^9}{10^8}", "1:" * 290 + "1"),
        *("1/1500!", "0." + "1" * 560, "10^{10^{10}}", "\\{x|x>" * 80, "(1,000," * 80, "May 4 " * 90, "A-" * 290 + "A"),
        *("\\infty-\\infty", "\\log_{1} 5", "\\sqrt{1e9990}")))
]


@pytest.mark.parametrize("a, b", CASES["equal"])
def test_equal_both_ways(a, b):
    assert answers_equal(a, b) and answers_equal(b, a)


@pytest.mark.parametrize("a, b", CASES["different"])
def test_different_both_ways(a, b):
    assert not answers_equal(a, b) and not answers_equal(b, a)


@pytest.mark.parametrize("response, gold", CASES["right"])
def test_a_response_earns_its_reward(response, gold):
    assert verify(response, gold)


@pytest.mark.parametrize("response, gold", [*CASES["wrong"], ("", "42")])
def test_a_response_earns_none(response, gold):
    assert not verify(response, gold)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_wrong_and_soon_told_so(text):
    assert verify(text, "5") is False  # in some 10 ms; a search that blew up would never end
    assert not answers_equal(text[7:-1], "5")


def random_answer(rng: random.Random, depth: int = 2) -> str:
    """An expression, a tuple, a set, an interval or words."""
    number = str(rng.choice([rng.randint(-999, 999), round(rng.uniform(-9, 9), 2)]))
    if depth == 0:
        fraction = rf"\frac{{{rng.randint(1, 9)}}}{{{rng.randint(1, 9)}}}"
        return rng.choice([number, "x", r"\pi", fraction, rf"\sqrt{{{rng.randint(2, 99)}}}"])
    a, b = (random_answer(rng, depth - 1) for _ in range(2))
    return rng.choice([f"({a}) + ({b})", f"({a})({b})", f"({a}, {b})", f"[{a}, {b})", rf"\{{{a}, {b}\}}",
                       f"{a}, {b}", r"\text{even}", f"{number} cm"])


@pytest.mark.parametrize("seed", range(60))
def test_every_answer_equals_itself_however_it_is_spaced(seed):
    rng = random.Random(seed)
    a, b = random_answer(rng), random_answer(rng)
    assert answers_equal(a, a)
    assert answers_equal(a, b) == answers_equal(b, a)
    assert answers_equal(a, f"$ {a.replace('(', '( ').replace('+', ' +  ')} $")
    assert answers_equal(a, a.replace("(", r"\left(").replace(")", r"\right)").replace("[", r"\left["))


@pytest.mark.parametrize("seed", range(40))
def test_whole_numbers_are_what_they_are_in_every_spelling(seed):
    rng = random.Random(seed)
    n = rng.randint(-10**rng.randint(1, 30), 10**rng.randint(1, 30))
    spellings = f"{n:,}", f"{n}.0", f"{n}.", rf"\boxed{{{n}}}", f"{n:+}", f"x = {n}", f"${n}$", f"{n} apples"
    for spelling in spellings:
        assert answers_equal(spelling, str(n)), spelling
        assert not answers_equal(spelling, str(n + 1)), spelling


@pytest.mark.parametrize("seed", range(40))
def test_fractions_are_what_they_are_in_every_spelling(seed):
    rng = random.Random(seed)
    p, q = rng.randint(1, 999), rng.choice([2, 4, 5, 8, 10, 16, 20, 25, 125])
    decimal = str(float(Fraction(p, q)))
    mixed = f"{p // q} {p % q}/{q}" if p % q and p > q else decimal
    for spelling in (f"{p}/{q}", rf"\frac{{{p}}}{{{q}}}", rf"\dfrac{{{-p}}}{{{-q}}}", mixed):
        assert answers_equal(spelling, decimal), spelling
        assert not answers_equal(spelling, f"{p + 1}/{q}"), spelling


def test_whole_numbers_of_any_length_are_compared_exactly():
    n = "7" * 6000
    assert answers_equal(n, f"{n[:-3]},{n[-3:]}") and verify(rf"\boxed{{{n}}}", n)
    assert not answers_equal(n, n[:-1] + "8")


PIECES = [
    *r"{}[]()^_,;.+-*/=<>!|&%$ 059xyi'\\", "½", "²", "π", "\n", "\ud800", "\x00", "cm", "and", "answer is",
    "<think>", "#### ",
    *r"\frac \sqrt \boxed{ \text{ \begin{pmatrix} \end{pmatrix} \pm \cup \left \infty \log_".split(),
]


@pytest.mark.parametrize("seed", range(30))
def test_garbage_never_raises(seed):
    rng = random.Random(seed)
    for _ in range(40):
        text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 40)))
        assert answers_equal(text, text)
        answers_equal(text, "5")
        verify("\\boxed{" + text + "}", text)
        extract_answer(text)
        is_plain(text)


def test_what_is_no_mathematics_is_compared_as_text():
    assert read(normalise(r"\text{June } 20, \ldots"))[0] == "text"
    assert answers_equal(r"\text{June 20}", "june 20") and not answers_equal("June 20", "June 21")
