r"""Numbers: exact while they are rational, and complex with 80 digits when they are not.

A number is a Fraction until the first irrational root, pi, i, exponential or logarithm, and a Complex of Decimals from then on. So
1/3 + 1/6 is 1/2 and not nearly 1/2, sqrt(50) is 5 sqrt(2) to 60 digits, and 1.41421356237 is neither. All other functions come from
exp and log, by Euler's formula: sin x = (e^ix - e^-ix) / 2i, arcsin x = -i log(ix + sqrt(1 - x^2)).

The numbers are a model's and are not to be trusted: exponents, factorials, roots and angles have bounds (ValueError beyond them), and
what has no value raises ArithmeticError or ValueError. Compute within `localcontext(DIGITS)`.

See it: python -m pytest tests/test_verifier.py
"""

import math
import re
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction

DIGITS = Context(prec=80, Emax=100_000, Emin=-100_000)
TOLERANCE = Decimal("1e-60")
LONGEST_DENOMINATOR = 10**15
LARGEST_BITS, LARGEST_FACTORIAL, LARGEST_ROOT, LARGEST_ANGLE = 20_000, 1000, 100, 10**6
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534")


class NotMathematics(ValueError):
    """The text does not read as an expression or a unit."""


@dataclass(frozen=True)
class Complex:
    """A number that is not rational. The other operand may be a Fraction."""

    re: Decimal
    im: Decimal = Decimal(0)

    def __neg__(self):
        return Complex(-self.re, -self.im)

    def __add__(self, other):
        y = inexact(other)
        return Complex(self.re + y.re, self.im + y.im)

    def __mul__(self, other):
        y = inexact(other)
        return Complex(self.re * y.re - self.im * y.im, self.re * y.im + self.im * y.re)

    def __truediv__(self, other):
        y = inexact(other)
        size = y.re * y.re + y.im * y.im
        return self * Complex(y.re / size, -y.im / size)

    def __rtruediv__(self, other):
        return inexact(other) / self

    def __bool__(self):
        return bool(self.re or self.im)

    __radd__, __rmul__ = __add__, __mul__


Number = Fraction | Complex
I = Complex(Decimal(0), Decimal(1))


def inexact(x: Number) -> Complex:
    return x if isinstance(x, Complex) else Complex(Decimal(x.numerator) / x.denominator)


def close(x: Number, y: Number) -> bool:
    """Equal where both are exact, else to 60 digits. A fraction that long is no closed form, but one rounded off."""
    with localcontext(DIGITS, Emax=10**9):
        difference = x + -y
        if not isinstance(difference, Complex):
            return difference == 0
        if any(getattr(z, "denominator", 1) > LONGEST_DENOMINATOR for z in (x, y)):
            return False
        return size(difference) < TOLERANCE * max(1, size(x), size(y))


def power(x: Number, y: Number) -> Number:
    """By squaring where y is whole; the root first where it is rational."""
    if isinstance(y, Complex) or y.denominator > LARGEST_ROOT:
        return exp(y * log(x))
    if y.denominator > 1:
        return power(root(x, y.denominator), y.numerator)
    bits = 2 if isinstance(x, Complex) else x.numerator.bit_length() + x.denominator.bit_length()
    if abs(y) * bits > LARGEST_BITS:
        raise ValueError("power out of bounds")
    if y < 0:
        return 1 / power(x, -y)
    if y == 0:
        return Fraction(1)
    half = power(x, y // 2)
    return half * half * x if y % 2 else half * half


def root(x: Number, n: Number) -> Number:
    """The n-th root: of a negative number the real one where n is odd, else the principal one."""
    if not x:
        return x
    if isinstance(n, Complex) or n.denominator > 1 or not 1 <= n <= LARGEST_ROOT:
        raise ValueError("root out of bounds")
    if not isinstance(x, Complex) and x > 0:
        parts = [round((+Decimal(part)) ** (1 / Decimal(int(n)))) for part in (x.numerator, x.denominator)]
        if (exact := Fraction(*parts)) ** n == x:
            return exact
    z = inexact(x)
    return -root(-x, n) if z.re < 0 and not z.im and n % 2 else exp(log(z) / n)


def exp(x: Number) -> Complex:
    """e^(a + bi) = e^a (cos b + i sin b), with the series of sine and cosine after whole turns are taken off."""
    x = inexact(x)
    if abs(x.im) > LARGEST_ANGLE:
        raise ValueError("angle out of bounds")
    angle, terms = x.im.remainder_near(2 * PI), [Decimal(1)]
    while abs(terms[-1]) > Decimal("1e-82"):
        terms.append(terms[-1] * angle / len(terms))
    cosine, sine = (sum(terms[k::4]) - sum(terms[k + 2 :: 4]) for k in (0, 1))
    return Complex(x.re.exp() * cosine, x.re.exp() * sine)


def log(x: Number) -> Complex:
    """The angle is a float's guess, mended by two steps of Newton's method."""
    length = size(x)
    unit = inexact(x) / Complex(length)
    angle = Decimal(math.atan2(unit.im, unit.re))
    for _ in range(2):
        angle += (unit * exp(-I * Complex(angle))).im
    return Complex(length.ln(), angle)


def size(x: Number) -> Decimal:
    x = inexact(x)
    return (x.re * x.re + x.im * x.im).sqrt()


def absolute(x: Number) -> Number:
    return Complex(size(x)) if isinstance(x, Complex) else abs(x)


def floor(x: Number) -> Fraction:
    return Fraction(math.floor(x.re if isinstance(x, Complex) else x))


def factorial(x: Number) -> Fraction:
    if isinstance(x, Complex) or x.denominator > 1 or not 0 <= x <= LARGEST_FACTORIAL:
        raise ValueError("factorial out of bounds")
    return Fraction(math.factorial(int(x)))


def binomial(n: Number, k: Number) -> Number:
    """n may be any number: n (n - 1) ... (n - k + 1) / k!"""
    result = 1 / factorial(k)
    for j in range(int(k)):
        result = result * (n + -j)
    return result


def sin(x: Number) -> Complex:
    return (exp(I * x) + -exp(-I * x)) / (I * 2)


def cos(x: Number) -> Complex:
    return (exp(I * x) + exp(-I * x)) / 2


def arcsin(x: Number) -> Complex:
    return -I * log(I * x + root(1 + -x * x, 2))


FORMS = {"abs": absolute, "floor": floor, "ceil": lambda x: -floor(-x), "frac": lambda x, y: x / y, "binom": binomial}
FUNCTIONS = {
    "sqrt": lambda x: root(x, 2), "exp": exp, "ln": log, "log": log, "lg": lambda x: log(x) / log(10),
    "sin": sin, "cos": cos, "tan": lambda x: sin(x) / cos(x),
    "csc": lambda x: 1 / sin(x), "sec": lambda x: 1 / cos(x), "cot": lambda x: cos(x) / sin(x),
    "arcsin": arcsin, "arccos": lambda x: arcsin(1) + -arcsin(x), "arctan": lambda x: arcsin(x / root(1 + x * x, 2))}
CONSTANTS = {"pi": Complex(PI), "e": Complex(Decimal(1).exp(DIGITS)), "i": I}


# --- what is counted ------------------------------------------------------------------------------------------------

# One unit a line: its name, and other names. "square", "per", "mph" and plurals are seen to below.
_UNIT_NAMES = """cm centimeter centimetre
    mm millimeter millimetre
    m meter metre
    km kilometer kilometre
    in inch inche
    ft foot feet
    yd yard
    mi mile
    h hour hr
    min minute
    s second sec
    kg kilogram
    g gram
    lb pound £
    oz ounce
    l liter litre
    ml milliliter
    ° degree deg
    % percent
    dollar usd buck
    euro €
    yen ¥
    cent ¢
    yr year
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
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_NO_UNIT = set("""is are was be not no nor non isn isnt wrong incorrect false maybe perhaps possibly probably if then than except
    unless but plus minus times half least most about around between never none more less fewer either neither approximately
    roughly exactly or and answer correct true""".split())
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
    """A unit in one spelling, and the factor that words such as "million" stand for. NotMathematics where it is no unit.

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
