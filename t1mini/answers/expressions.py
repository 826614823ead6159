r"""Expressions: the value of mathematics written in LaTeX or plain text, computed while it is read.

    operand = number | name | \frac{}{} | \sqrt[]{} | \binom{}{} | function operand | ( operand ) | -operand
            | operand mark operand     a mark binds as _BINDING says: ^ more than *, * more than +
            | operand operand          side by side means times

A variable has a fixed value of its own at each of three points, and two expressions are taken for equal if
they agree at all of them: no algebra is done. Behind a number may stand what it counts: its unit.

See it: python -m pytest tests/test_verifier.py
"""

import re
import zlib
from decimal import localcontext
from fractions import Fraction
from functools import lru_cache

from t1mini.answers.numbers import (CONSTANTS, DIGITS, FORMS, FUNCTIONS, PI, Complex, Number, close,
                                    factorial, log, power, root)

DEEPEST, POINTS = 40, 3  # how much stands within another; points where expressions are compared
GREEK = set("""alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma
    tau phi varphi chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi Omega ell""".split())
_SUBSCRIPT = r"(?:\s*_\s*(?:\{[^{}]*\}|\w)|\s*')+"
_TOKEN = re.compile(
    r"\d*\.\d*\s*\\?overline\s*\{\s*\d+\s*\}"  # 0.1\overline{6}
    r"|(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d{1,4}(?![A-Za-z\d]))?"  # 12, 1.5, 3e5
    rf"|(?:\\(?!log)[A-Za-z]+|[A-Za-z]){_SUBSCRIPT}"  # x_1, \theta'
    rf"|(?!log)[A-Za-z]{{1,2}}(?=[A-Za-z]{_SUBSCRIPT})"  # the x of xy_1
    r"|\\?[A-Za-z]+|\S")
# How much a mark binds. SIDE is for numbers side by side: times like *, but \sin 2x is \sin(2x).
SUM, PRODUCT, SIDE, SIGN, BEHIND, EXPONENT = range(1, 7)
_BINDING = {
    "+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "!": BEHIND, "°": BEHIND, "%": BEHIND, "^": EXPONENT}
_BEHIND = {"!": factorial, "°": lambda x: x * Complex(PI / 180), "%": lambda x: x / 100}


class NotMathematics(ValueError):
    """The text does not read as an expression or a unit."""


@lru_cache(maxsize=1024)
def values(text: str) -> list[Number | None]:
    r"""The value of a normalised expression at each point, None where it has none or too large a one.

    An empty list where the text is no expression.

    >>> values(r"\frac{1}{2} + 1")[0], values("2(3x - 1) - 6x")[0], values("1/0")[0], values("1 +")
    (Fraction(3, 2), Fraction(-2, 1), None, [])
    """
    result = []
    for point in range(POINTS):
        reader = _Reader(_TOKEN.findall(text), point)
        try:
            with localcontext(DIGITS):
                result.append(reader.operand())
        except NotMathematics:
            return []
        except (ValueError, ArithmeticError):
            result.append(None)
        else:
            if reader.tokens:
                return []
    return result


def same_value(a: str, b: str) -> bool:
    """True if two expressions agree at every point where either has a value, and have one somewhere."""
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
        self.tokens, self.point, self.depth = tokens[::-1], point, 0

    def peek(self) -> str:
        return self.tokens[-1].lstrip("\\") if self.tokens else ""

    def accept(self, *words: str) -> bool:
        """Takes the next token if it is one of `words`."""
        return self.peek() in words and bool(self.tokens.pop())

    def operand(self, limit: int = 0) -> Number:
        """As much as is joined by marks that bind more than `limit`; side by side counts as a mark."""
        self.depth += 1
        if self.depth > DEEPEST or not self.tokens:
            raise NotMathematics("too deep, or ends early")
        left = self.begun_by(self.tokens.pop(), limit)
        while _BINDING.get(mark := self.peek(), SIDE if self.begins_factor(limit) else 0) > limit:
            if mark in ("+", "-"):  # the sign is read with what follows it
                left = left + self.operand(SUM)
            elif self.accept("/"):
                left = left / self.operand(SIGN)
            elif self.accept("^"):
                left = power(left, self.operand(BEHIND))
            elif self.accept(*_BEHIND):
                left = _BEHIND[mark](left)
            else:
                self.accept("*")
                left = left * self.operand(SIGN)
        self.depth -= 1
        return left

    def begins_factor(self, limit: int) -> bool:
        word = self.peek()
        if word in FUNCTIONS:
            return limit < PRODUCT  # \sin x \cos x is a product
        return word[:1].isalpha() or word in tuple("([{")

    def begun_by(self, token: str, limit: int) -> Number:
        """The shortest expression that begins with `token`, which was taken."""
        word = token.lstrip("\\")
        if word in ("+", "-"):
            x = self.operand(max(limit, SIGN))
            return -x if word == "-" else x
        if token[0].isdecimal() or len(token) > 1 and token[0] == ".":
            return _number(token)
        if word in ("(", "[", "{"):
            x = self.operand()
            if not self.accept(*("}" if word == "{" else ")]")):
                raise NotMathematics(f"{word} is not closed")
            return x
        if word in ("frac", "binom"):
            return FORMS[word](self.operand(EXPONENT), self.operand(EXPONENT))
        if word in FORMS:
            return FORMS[word](self.operand(EXPONENT))
        if word in FUNCTIONS:
            return self.function(word)
        if word in CONSTANTS:
            return CONSTANTS[word]
        name = re.sub(r"[\\{}\s]", "", token)
        if is_variable(re.split("[_']", name)[0]):
            return _variable(name, self.point)
        if token.isalpha() and len(token) <= 3:  # xy is x * y
            self.tokens += token[:0:-1]
            return self.begun_by(token[0], limit)
        raise NotMathematics(f"stray {token}")

    def function(self, word: str) -> Number:
        r"""\sqrt[3]{x}, \log_{2} x, \sin^{2} x, \sin^{-1} x and the rest."""
        if word == "sqrt":
            degree = self.operand(EXPONENT) if self.peek() == "[" else Fraction(2)
            return root(self.operand(EXPONENT), degree)
        base = self.operand(EXPONENT) if word == "log" and self.accept("_") else None
        exponent = self.operand(BEHIND) if self.accept("^") else Fraction(1)
        if exponent == -1:
            word, exponent = "arc" + word, Fraction(1)
        if word not in FUNCTIONS:
            raise NotMathematics(f"no function {word}")
        x = FUNCTIONS[word](self.operand(SIGN if self.peek() in tuple("([{") else PRODUCT))
        return power(x / log(base) if base is not None else x, exponent)


def _number(token: str) -> Fraction:
    digits, _, repeated = re.sub(r"[\\{}\s]", "", token).partition("overline")
    value = Fraction(digits)
    if repeated:
        value += Fraction(int(repeated), (10 ** len(repeated) - 1) * 10 ** len(digits.partition(".")[2]))
    return value


def _variable(name: str, point: int) -> Fraction:
    """A rational number, its negative, or a whole number, of the name's own."""
    code = zlib.crc32(name.encode())
    rational = Fraction(code % 997 + 1, (code >> 10) % 89 + 2)
    return (rational, -rational, Fraction(3 + code % 101))[point]


# --- what is counted -------------------------------------------------------------------------------------

# Each unit with its other names. "square", "squared", "mph" and plurals are seen to below.
_UNIT_NAMES = """
    mm millimeter millimetre; cm centimeter centimetre; m meter metre; km kilometer kilometre
    in inch inche; ft foot feet; yd yard; mi mile
    s second sec; min minute; h hour hr; yr year
    g gram; kg kilogram; oz ounce; lb pound £; l liter litre; ml milliliter
    dollar usd buck; cent ¢; euro €; yen ¥
    % percent; ° degree deg; rad radian; c celsius celsiu; f fahrenheit
    / per; -; unit; sq; cu; mph"""
UNITS = {name: unit.split()[0] for unit in re.split(r"[;\n]", _UNIT_NAMES) for name in unit.split()}
_SCALES = {
    "dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_NO_UNIT = set("""is are was be not no nor non isn isnt wrong incorrect false maybe perhaps possibly probably
    if then than except unless but plus minus times half least most about around between never none more less
    fewer either neither approximately roughly exactly or and answer correct true""".split())
_SPELT = [(re.compile(pattern), new) for pattern, new in (
    (r'[{}".]', " "),
    (r"\bmph\b", "mi / h"),
    (r"(?<=\w\w)s\b", ""),
    (r"\b(?:square|sq) +(\w+)", r"\1^2"),
    (r"\b(?:cubic|cu) +(\w+)", r"\1^3"),
    (r" squared\b", "^2"),
    (r" cubed\b", "^3"),
    (r"\s*\^\s*(-?)\s*", r"^\1"),
)]


def canonical_unit(text: str) -> tuple[str, int]:
    """A unit in one spelling, and the factor that "million" stands for. NotMathematics where it is no unit.

    >>> canonical_unit("square centimeters"), canonical_unit("cm^2"), canonical_unit("million dollars")
    (('cm^2', 1), ('cm^2', 1), ('dollar', 1000000))
    """
    text, unit, scale = text.casefold(), [], 1
    said_otherwise = _NO_UNIT & set(re.findall(r"[a-z]+", text))
    for pattern, new in _SPELT:
        text = pattern.sub(new, text)
    for word, power in re.findall(r"([^\W\d_]+|\S)(\^-?\d)?", text):
        if said_otherwise or not (word.isalpha() or word in UNITS) or len(unit) > 3:
            raise NotMathematics(f"{text!r} is no unit")
        name = UNITS.get(word, word) + power
        if word in _SCALES:
            scale *= _SCALES[word]
        elif unit[-1:] != [name]:
            unit.append(name)
    return " ".join(unit), scale
