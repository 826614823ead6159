r"""Expressions: the value of mathematics written in LaTeX or plain text, computed while it is read.

    sum      = term + term - ...
    term     = factor * factor / factor factor ...          side by side means times; \sin 2x takes 2x, \sin x \cos x only x
    factor   = base ^ exponent ! ° %
    base     = number | name | \frac{}{} | \sqrt[]{} | \binom{}{} | function factor | ( sum ) | { sum } | | sum |

A variable has a fixed value of its own at each of three points, and two expressions are taken for equal if they agree at all
of them: no algebra is done. Numbers are those of t1mini.answers.numbers.

See it: python -m pytest tests/test_verifier.py
"""

import re
import zlib
from decimal import localcontext
from fractions import Fraction
from functools import lru_cache

from t1mini.answers.numbers import (CONSTANTS, DIGITS, FUNCTIONS, PI, Complex, NotMathematics, Number, absolute, binomial, close,
                                    factorial, floor, log, power, root)

DEEPEST, POINTS = 40, 3  # how much stands within another; points where expressions are compared
GREEK = set("alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi varphi "
            "chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi Omega ell".split())
_TOKEN = re.compile(r"(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d{1,4}(?![A-Za-z\d]))?|\\?[A-Za-z]+|\S")
_CLOSERS = {"(": ") ]", "[": ") ]", "{": "}", "|": "|", "lfloor": "rfloor", "lceil": "rceil"}
_BRACKETS = {"|": absolute, "lfloor": floor, "lceil": lambda x: -floor(-x)}
# How much what stands between two numbers, or behind one, binds. Side by side means times, but binds more in \sin 2x.
_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "!": 5, "°": 5, "%": 5, "^": 6}
TIMES, SIGN, ALONE = 3, 4, 6
_SIGNS = {"°": Complex(DIGITS.divide(PI, 180)), "%": Fraction(1, 100)}


@lru_cache(maxsize=1024)
def values(text: str) -> list[Number | None]:
    r"""The value of a normalised expression at each point, None where it has none or too large a one; an empty list where
    the text is no expression.

    >>> values(r"\frac{1}{2} + 1")[0], values("2(3x - 1) - 6x")[0], values("1/0")[0], values("1 +")
    (Fraction(3, 2), Fraction(-2, 1), None, [])
    """
    result, tokens = [], _TOKEN.findall(text)
    for point in range(POINTS):
        try:
            result.append(_Reader(tokens, point).whole())
        except NotMathematics:
            return []
        except (ValueError, ArithmeticError):
            result.append(None)
    return result


def same_value(a: str, b: str) -> bool:
    """True if two normalised expressions agree at every point where either has a value, and have one somewhere."""
    pairs = [pair for pair in zip(values(a), values(b)) if pair != (None, None)]
    return bool(pairs) and all(None not in pair and close(*pair) for pair in pairs)


def proportional(a: str, b: str) -> bool:
    """True if one expression in variables is a constant multiple, not 0, of the other."""
    x, y = values(a), values(b)
    if not x or not y or None in x + y or len(set(x)) == 1 or close(y[0], Fraction(0)):
        return False
    with localcontext(DIGITS):
        return all(close(x[0] * v, y[0] * u) for u, v in zip(x, y))


def is_variable(word: str) -> bool:
    return word in GREEK or len(word) == 1 and word.isalpha()


class _Reader:
    """Recursive descent. `tokens` is what is left to read, the next one last."""

    def __init__(self, tokens: list[str], point: int):
        self.tokens, self.point, self.depth, self.bars = tokens[::-1], point, 0, False

    def peek(self) -> str:
        return self.tokens[-1].lstrip("\\") if self.tokens else ""

    def take(self) -> str:
        if not self.tokens:
            raise NotMathematics("ends early")
        return self.tokens.pop()

    def accept(self, *words: str) -> str:
        """The next token if it is one of `words`, else ""."""
        return self.take().lstrip("\\") if self.peek() in words else ""

    def within(self, opener: str) -> Number:
        """A sum and its closing bracket. A bar within bars closes."""
        bars, self.bars = self.bars, opener == "|"
        result = self.operand()
        if not self.accept(*_CLOSERS[opener].split()):
            raise NotMathematics(f"{opener} is not closed")
        self.bars = bars
        return result

    def whole(self) -> Number:
        with localcontext(DIGITS):
            result = self.operand()
        if self.tokens:
            raise NotMathematics(f"stray {self.peek()}")
        return result

    def operand(self, limit: int = 0) -> Number:
        """As much as is joined by marks that bind more than `limit`; side by side counts as a mark."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise NotMathematics("too deep")
        left = self.begun_by(self.take(), limit)
        while _BINDING.get(mark := self.peek(), TIMES if self.begins_factor(limit) else 0) > limit:
            if mark in _BINDING and mark not in "+-":  # a sign is read with what follows it
                self.take()
            if mark == "/":
                left = left / self.operand(SIGN)
            elif mark == "^":
                left = power(left, self.operand(_BINDING["!"]))
            elif mark == "!":
                left = factorial(left)
            elif mark in _SIGNS:
                left = left * _SIGNS[mark]
            elif mark in ("+", "-"):
                left = left + self.operand(_BINDING["+"])
            else:
                left = left * self.operand(SIGN)
        self.depth -= 1
        return left

    def begins_factor(self, limit: int) -> bool:
        word = self.peek()
        if word in FUNCTIONS:
            return limit < _BINDING["*"]  # \sin x \cos x is a product
        return word.isalpha() and word not in _CLOSERS.values() or word in tuple("([{") or word == "|" and not self.bars

    def begun_by(self, token: str, limit: int) -> Number:
        """The shortest expression that begins with `token`, which was taken."""
        word = token.lstrip("\\")
        if word in ("+", "-"):
            x = self.operand(max(limit, SIGN))
            return -x if word == "-" else x
        if token[0] in ".0123456789" and token != ".":
            return self.number(token)
        if word in _CLOSERS:
            x = self.within(word)
            return _BRACKETS[word](x) if word in _BRACKETS else x
        if word == "frac":
            return self.operand(ALONE) / self.operand(ALONE)
        if word == "binom":
            return binomial(self.operand(ALONE), self.operand(ALONE))
        if word in FUNCTIONS:
            return self.function(word)
        if word in CONSTANTS:
            return CONSTANTS[word]
        if is_variable(word):
            return self.variable(word)
        if token.isalpha() and len(token) <= 3:  # xy is x * y
            self.tokens += token[:0:-1]
            return self.begun_by(token[0], limit)
        raise NotMathematics(f"stray {token}")

    def number(self, digits: str) -> Fraction:
        value = Fraction(digits)
        if "." in digits and self.accept("overline"):  # 0.1\overline{6}
            repeated = "".join(iter(self.take, "}")).lstrip("{")
            value += Fraction(int(repeated), (10 ** len(repeated) - 1) * 10 ** len(digits.partition(".")[2]))
        return value

    def function(self, word: str) -> Number:
        r"""\sqrt[3]{x}, \log_{2} x, \sin^{2} x, \sin^{-1} x and the rest."""
        if word == "sqrt":
            degree = self.within("[") if self.accept("[") else Fraction(2)
            return root(self.operand(ALONE), degree)
        base = self.operand(ALONE) if word == "log" and self.accept("_") else None
        exponent = self.operand(_BINDING["!"]) if self.accept("^") else Fraction(1)
        if exponent == -1:
            word, exponent = "arc" + word, Fraction(1)
        if word not in FUNCTIONS:
            raise NotMathematics(f"no function {word}")
        x = FUNCTIONS[word](self.operand(SIGN if self.peek() in _CLOSERS else _BINDING["*"]))
        return power(x / log(base) if base is not None else x, exponent)

    def variable(self, word: str) -> Fraction:
        """A rational number, its negative, or a whole number, of the name's own."""
        while mark := self.accept("_", "'"):
            word += mark
            if mark == "_":
                word += "".join(iter(self.take, "}")) if self.accept("{") else self.take()
        code = zlib.crc32(word.encode())
        rational = Fraction(code % 997 + 1, (code >> 10) % 89 + 2)
        return (rational, -rational, Fraction(3 + code % 101))[self.point]
