r"""Expressions: the value of mathematics written in LaTeX or plain text, computed while it is read.

    sum      = term + term - ...
    term     = factor * factor / factor factor ...          side by side means times; \sin 2x takes 2x, \sin x \cos x only x
    factor   = base ^ exponent ! ° %
    base     = number | name | \frac{}{} | \sqrt[]{} | \binom{}{} | function factor | ( sum ) | { sum } | | sum |

A variable has a fixed value of its own at each of three points, and two expressions are taken for equal if they agree at all
of them: no algebra is done. Numbers are those of t1mini.answers.numbers.

See it: python -m pytest tests/test_verifier.py
"""

import math
import re
import zlib
from decimal import Decimal, localcontext
from fractions import Fraction

from t1mini.answers.numbers import (CONSTANTS, DIGITS, FUNCTIONS, LARGEST_ROOT, PI, Number, absolute, binomial, close, factorial, log,
                                root)

LONGEST, DEEPEST, POINTS = 1000, 30, 3  # characters; brackets within brackets; points where expressions are compared
GREEK = set("alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi varphi chi psi "
            "omega Gamma Delta Theta Lambda Sigma Phi Psi Omega ell".split())
_FORMS = {"frac", "binom", "lfloor", "lceil"}
_TOKEN = re.compile(r"(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+(?![A-Za-z\d]))?|\\?[A-Za-z]+|\S")
_DEGREE, _PERCENT = Number(DIGITS.divide(PI, 180), Decimal(0)), Number(Fraction(1, 100))


class NotMathematics(ValueError):
    """The text does not read as an expression."""


def evaluate(text: str, point: int = 0) -> Number:
    r"""The value of a normalised expression (t1mini.answers.latex). NotMathematics where it is none, ArithmeticError or another
    ValueError where it has no value or too large a one.

    >>> evaluate(r"\frac{1}{2} + 1"), evaluate("(1+i)^{2}")
    (Number(re=Fraction(3, 2), im=Fraction(0, 1)), Number(re=Fraction(0, 1), im=Fraction(2, 1)))
    """
    if len(text) >= LONGEST:
        raise NotMathematics("too long")
    reader = _Reader(_TOKEN.findall(text), point)
    with localcontext(DIGITS):
        result = reader.sum()
    if reader.tokens:
        raise NotMathematics(f"stray {reader.tokens[-1]}")
    return result


def same_value(a: str, b: str) -> bool:
    """True if two normalised expressions agree at every point where either has a value, and have one somewhere."""
    agreed = False
    for point in range(POINTS):
        x, y = (_value_or_none(text, point) for text in (a, b))
        if x and y and close(x, y):
            agreed = True
        elif x or y:
            return False
    return agreed


def proportional(a: str, b: str) -> bool:
    """True if one expression in variables is a constant multiple, not 0, of the other."""
    x, y = ([_value_or_none(text, point) for point in range(POINTS)] for text in (a, b))
    if None in x + y or len(set(x)) == 1 or not (y[0].re or y[0].im):
        return False
    with localcontext(DIGITS):
        return all(close(x[0] * v, y[0] * u) for u, v in zip(x, y))


def _value_or_none(text: str, point: int) -> Number | None:
    try:
        return evaluate(text, point)
    except (ValueError, ArithmeticError):
        return None


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

    def within(self, *closers: str) -> Number:
        """A sum and its closing bracket."""
        self.depth, bars, self.bars = self.depth + 1, self.bars, closers == ("|",)
        if self.depth > DEEPEST:
            raise NotMathematics("too deep")
        result = self.sum()
        if not self.accept(*closers):
            raise NotMathematics(f"{closers[0]} is missing")
        self.depth, self.bars = self.depth - 1, bars
        return result

    def sum(self) -> Number:
        result = self.signed(self.term)
        while self.peek() in ("+", "-"):
            result = result + self.signed(self.term)
        return result

    def signed(self, read) -> Number:
        minus = False
        while mark := self.accept("+", "-"):
            minus ^= mark == "-"
        return -read() if minus else read()

    def term(self, explicit: bool = True) -> Number:
        """Factors multiplied or divided; without `explicit`, only those side by side, up to the next function."""
        result = self.factor()
        while True:
            if explicit and (mark := self.accept("*", "/")):
                factor = self.signed(self.factor)
                result = result * factor if mark == "*" else result / factor
            elif self.begins_factor() and (explicit or self.peek() not in FUNCTIONS):
                result = result * self.factor()
            else:
                return result

    def begins_factor(self) -> bool:
        word = self.peek()
        return word.isalpha() and word not in ("rfloor", "rceil") or word in tuple("([{") or (word == "|" and not self.bars)

    def factor(self) -> Number:
        result = self.base()
        while mark := self.accept("^", "!", "°", "%"):
            if mark == "^":
                result = result ** self.exponent()
            else:
                result = factorial(result) if mark == "!" else result * (_DEGREE if mark == "°" else _PERCENT)
        return result

    def exponent(self) -> Number:
        power = self.signed(self.base)
        return power ** self.exponent() if self.accept("^") else power

    def base(self) -> Number:
        token = self.take()
        word = token.lstrip("\\")
        if token[0] in ".0123456789" and token != ".":
            return self.number(token)
        if word in ("(", "["):
            return self.within(")", "]")
        if word == "{":
            return self.within("}")
        if word == "|":
            return absolute(self.within("|"))
        if word in _FORMS:
            return self.form(word)
        if word in FUNCTIONS:
            return self.function(word)
        if word in CONSTANTS:
            return CONSTANTS[word]
        if word in GREEK or len(word) == 1 and word.isalpha():
            return self.variable(word)
        if token.isalpha() and len(token) <= 3:  # xy is x * y
            self.tokens += token[:0:-1]
            self.tokens.append(token[0])
            return self.base()
        raise NotMathematics(f"stray {token}")

    def number(self, word: str) -> Number:
        if self.peek()[:1].isdigit():
            raise NotMathematics("two numbers side by side")
        digits, _, exponent = word.lower().partition("e")
        if len(exponent) > 4:
            raise ValueError("exponent out of bounds")
        value = Fraction(word if word[-1] != "." else word + "0")
        if "." in word and self.accept("overline"):  # 0.1\overline{6}
            repeated = "".join(iter(self.take, "}")).lstrip("{")
            value += Fraction(int(repeated), (10 ** len(repeated) - 1) * 10 ** len(digits.partition(".")[2]))
        return Number(value)

    def form(self, word: str) -> Number:
        if word == "frac":
            return self.base() / self.base()
        if word == "binom":
            return binomial(self.base(), self.base())
        x = self.within("r" + word[1:])
        return Number(Fraction(math.floor(x.re) if word == "lfloor" else math.ceil(x.re)))

    def function(self, word: str) -> Number:
        r"""\sqrt[3]{x}, \log_{2} x, \sin^{2} x, \sin^{-1} x and the rest."""
        if word == "sqrt" and self.accept("["):
            degree = self.within("]").whole
            return root(self.base(), degree if degree else LARGEST_ROOT + 1)
        base = self.base() if word == "log" and self.accept("_") else None
        power = self.exponent() if self.accept("^") else None
        if power and power.whole == -1:
            word, power = "arc" + word, None
            if word not in FUNCTIONS:
                raise NotMathematics(f"no function {word}")
        plain = word == "sqrt" or self.peek() in ("(", "{", "[")
        x = FUNCTIONS[word](self.factor() if plain else self.term(explicit=False))
        x = x / log(base) if base else x
        return x**power if power else x

    def variable(self, word: str) -> Number:
        """A rational number, its negative, or a whole number, of the name's own."""
        while mark := self.accept("_", "'"):
            word += mark
            if mark == "_":
                word += "".join(iter(self.take, "}")) if self.accept("{") else self.take()
        code = zlib.crc32(word.encode())
        rational = Fraction(code % 997 + 1, (code >> 10) % 89 + 2)
        return Number((rational, -rational, Fraction(3 + code % 101))[self.point])
