r"""Expressions: the value of mathematics written in LaTeX or plain text, computed while it is read.

    operand = number | name | \frac{}{} | \sqrt{} | \binom{}{} | function operand | ( operand ) | -operand
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

from t1mini.answers.numbers import (CONSTANTS, DIGITS, FORMS, FORMS_OF_TWO, FUNCTIONS, check_size, close,
                                    factorial, log, power)

DEEPEST = 40  # how much stands within another
GREEK = set("""alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma
    tau phi varphi chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi Omega ell""".split())
_SUBSCRIPT = r"(?:\s*_\s*(?:\{[^{}]*\}|\w)|\s*')+"
_TOKEN = re.compile(
    r"(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d{1,3}(?![A-Za-z\d]))?"  # 12, 1.5, 3e5
    r"|(?<![A-Za-z\\])[A-Za-z]\d+"  # H2 is no product
    rf"|(?:\\(?!log)[A-Za-z]+|[A-Za-z]){_SUBSCRIPT}"  # x_1, \theta'
    rf"|(?!log)[A-Za-z]{{1,2}}(?=[A-Za-z]{_SUBSCRIPT})"  # the x of xy_1
    r"|\\?[A-Za-z]+|\S")
NAMES = GREEK.union(FUNCTIONS, FORMS, FORMS_OF_TWO, CONSTANTS)
# How much each mark binds what is on both its sides. Side by side means times, but binds more in \sin 2x.
SUM, PRODUCT, SIDE, SIGN, BEHIND, EXPONENT = range(1, 7)
_BINDING = {mark: binding for binding, marks in enumerate(
    ("", "+-", ["*", "/", *FUNCTIONS, *FORMS], "([{", "", "!°%", "^")) for mark in marks}
_BEHIND = {"!": factorial, "°": lambda x: x * CONSTANTS["pi"] / 180, "%": lambda x: x / 100}
_CLOSING = {"(": ")]", "[": ")]", "{": "}"}


class NotMathematics(ValueError):
    """The text does not read as an expression or a unit."""


def rules(script, **functions):
    """(pattern, replacement) of each line "pattern → replacement"; ␣ is a space, what follows a remark.

    A replacement may be the name of one of the `functions`.
    """
    return [(re.compile(pattern), functions.get(new, new.replace("␣", " ")))
            for pattern, new in re.findall(r"(?m)^ *(.+?) → ?(\S*)", script)]


@lru_cache
def values(text):
    r"""The value of a normalised expression at each point, None where it has none or too large a one.

    An empty list where the text is no expression.

    >>> values(r"\frac{1}{2} + 1")[0], values("2(3x - 1) - 6x")[0], values("1/0")[0], values("1 +")
    (Fraction(3, 2), Fraction(-2, 1), None, [])
    """
    result = []
    for point in range(3):
        try:
            with localcontext(DIGITS):
                result.append(_Reader(text, point).within("\n"))
        except NotMathematics:
            return []
        except (ValueError, ArithmeticError):
            result.append(None)
    return result


def same_value(a, b):
    """True if two expressions agree at every point where either has a value, and have one somewhere."""
    pairs = set(zip(values(a), values(b))) - {(None, None)}
    return bool(pairs) and all(None not in pair and close(*pair) for pair in pairs)


def proportional(a, b):
    """True if one expression in variables is a constant multiple, not 0, of the other."""
    x, y = values(a), values(b)
    if len(set(x)) < 2 or not y or None in x + y or close(y[0], 0):
        return False
    with localcontext(DIGITS):
        return all(close(x[0] * v, y[0] * u) for u, v in zip(x, y))


def is_variable(word):
    return word in GREEK or len(word) == 1 and word.isalpha()


class _Reader:
    """Recursive descent. `tokens` is what is left to read, the next one last; it ends in a "\\n"."""

    def __init__(self, text, point):
        self.tokens, self.point, self.depth = ["\n"], point, 0
        for token in reversed(_TOKEN.findall(text)):
            apart = token.isalpha() and len(token) <= 3 and token not in NAMES  # xy is x * y
            self.tokens += token[::-1] if apart else [token.lstrip("\\") or token]

    def accept(self, *words):
        """Takes the next token if it is one of `words`."""
        return self.tokens[-1] in words and self.tokens.pop()

    def within(self, closing):
        """All up to a closing bracket, or to the end."""
        x = self.operand()
        if self.tokens.pop() not in closing:
            raise NotMathematics("not closed")
        return x

    def operand(self, limit=0):
        """As much as is joined by marks that bind more than `limit`; side by side counts as a mark."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise NotMathematics("too deep")
        left = self.begun_by(self.tokens.pop(), limit)
        while _BINDING.get(mark := self.tokens[-1], SIDE * mark[:1].isalpha()) > limit:
            if mark in "+-":  # the sign is read with what follows it
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
            check_size(left)
        self.depth -= 1
        return left

    def begun_by(self, word, limit):
        """The shortest expression that begins with `word`, which was taken."""
        if word in "+-":
            x = self.operand(max(limit, SIGN))
            return -x if word == "-" else x
        if re.match(r"\.?\d", word):
            return Fraction(word)
        if word in _CLOSING:
            return self.within(_CLOSING[word])
        if word in FORMS:
            return FORMS[word](self.operand(EXPONENT))
        if word in FORMS_OF_TWO:
            return FORMS_OF_TWO[word](self.operand(EXPONENT), self.operand(EXPONENT))
        if word in FUNCTIONS:
            return self.function(word)
        if word in CONSTANTS:
            return CONSTANTS[word]
        name = re.sub(r"[{}\s]", "", word)
        if not is_variable(re.split("[_']", name)[0]):
            raise NotMathematics(f"stray {word}")
        code = zlib.crc32(name.encode())
        rational = Fraction(code % 997 + 1, (code >> 10) % 89 + 2)
        whole = Fraction(3 + code % 101 + 101 * (name == "n"))  # n is the largest: n choose k is not 0
        return (rational, -rational, whole)[self.point]

    def function(self, word):
        r"""\log_{2} x, \sin^{2} x, \sin^{-1} x and the rest."""
        base = self.operand(EXPONENT) if word == "log" and self.accept("_") else None
        exponent = self.operand(BEHIND) if self.accept("^") else 1
        if exponent == -1:
            word, exponent = "arc" + word, 1
        if word not in FUNCTIONS:
            raise NotMathematics(f"no function {word}")
        x = FUNCTIONS[word](self.operand(SIGN if self.tokens[-1] in _CLOSING else PRODUCT))
        return power(x / log(base) if base is not None else x, exponent)


# --- what is counted -------------------------------------------------------------------------------------

# One unit a line: its name, and other names. "square", "squared", "mph" and plurals are seen to below.
_UNIT_NAMES = """mm millimeter millimetre
    cm centimeter centimetre
    m meter metre
    km kilometer kilometre
    in inch inche
    ft foot feet
    yd yard
    mi mile
    s second sec
    min minute
    h hour hr
    yr year
    g gram
    kg kilogram
    oz ounce
    lb pound £
    l liter litre
    ml milliliter
    dollar usd buck
    cent ¢
    euro €
    yen ¥
    rupee ₹
    % percent
    ° degree deg
    rad radian
    c celsius celsiu
    f fahrenheit
    / per
    -
    unit
    sq
    cu
    mph"""
UNITS = {alias: line.split()[0] for line in _UNIT_NAMES.split("\n") for alias in line.split()}
_NO_UNIT = re.compile(r"""(?x) (?<![a-z]) (?:is|are|was|be|not|no|nor|non|isn|isnt|wrong|incorrect|false|maybe
    |perhaps|possibly|probably|if|then|than|except|unless|but|plus|minus|times|half|least|most|about|around
    |between|never|none|more|less|fewer|either|neither|approximately|roughly|exactly|or|and|answer|correct
    |true|dozen|hundred|thousand|million|billion|trillion) (?![a-z])""")
_SPELT = rules(r"""
    [{}".] → ␣
    \bmph\b → mi␣/␣h
    (?<=\w\w)s\b →
    \b(?:square|sq) +(\w+) → \1^2
    \b(?:cubic|cu) +(\w+) → \1^3
    \ squared\b → ^2
    \ cubed\b → ^3
    \s*\^\s*(-?)\s* → ^\1""")


def canonical_unit(text):
    """A unit in one spelling. NotMathematics where it is no unit.

    >>> canonical_unit("square centimeters"), canonical_unit("cm^2"), canonical_unit("miles per hour")
    ('cm^2', 'cm^2', 'mi / h')
    """
    text = text.casefold()
    no_unit = _NO_UNIT.search(text)
    for pattern, new in _SPELT:
        text = pattern.sub(new, text)
    words = re.findall(r"([^\W\d_]+|\S)(\^-?\d)?", text)
    if no_unit or len(words) > 4 or not all(word.isalpha() or word in UNITS for word, _ in words):
        raise NotMathematics(f"{text!r} is no unit")
    return " ".join(dict.fromkeys(UNITS.get(word, word) + power for word, power in words))
