r"""Numbers: exact while they are rational, and complex with 80 digits when they are not.

A number is a Fraction until the first irrational root, pi, i, exponential or logarithm, and a Complex of
Decimals from then on: 1/3 + 1/6 is 1/2 and not nearly 1/2, sqrt(50) is 5 sqrt(2) to 60 digits, and
1.41421356237 is neither. Angles come from exp and log, by Euler's formula:

    sin x = (e^ix - e^-ix) / 2i        arcsin x = -i log(ix + sqrt(1 - x^2))

The numbers are a model's and are not to be trusted: exponents, factorials, roots and angles have bounds. What
is beyond them or has no value raises ValueError or ArithmeticError. Compute within `localcontext(DIGITS)`.

See it: python -m pytest tests/test_verifier.py
"""

import math
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction

DIGITS = Context(prec=80, Emax=100_000, Emin=-100_000)
TOLERANCE = Decimal("1e-60")
LONGEST_DENOMINATOR = 10**15
LARGEST_BITS, LARGEST_FACTORIAL, LARGEST_ROOT, LARGEST_ANGLE = 20_000, 1000, 100, 10**6
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534")


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
        if not y.im:
            return Complex(self.re / y.re, self.im / y.re)
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
    """Equal where both are exact, else to 60 digits. A very long fraction is no closed form."""
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
    if z.re < 0 and not z.im and (n % 2 or n == 2):
        return -root(-x, n) if n % 2 else I * root(-x, 2)
    return exp(log(z) / n)


def exp(x: Number) -> Complex:
    """e^(a + bi) = e^a (cos b + i sin b): the series of sine and cosine, after whole turns are taken off."""
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
    return (x.re * x.re + x.im * x.im).sqrt() if x.im else abs(x.re)


def absolute(x: Number) -> Number:
    return Complex(size(x)) if isinstance(x, Complex) else abs(x)


def floor(x: Number) -> Fraction:
    return Fraction(math.floor(x.re if isinstance(x, Complex) else x))


def factorial(x: Number) -> Fraction:
    x = inexact(x)
    if x.im or x.re % 1 or not 0 <= x.re <= LARGEST_FACTORIAL:
        raise ValueError("factorial out of bounds")
    return Fraction(math.factorial(int(x.re)))


def binomial(n: Number, k: Number) -> Number:
    """n may be any number: n (n - 1) ... (n - k + 1) / k!"""
    result = 1 / factorial(k)
    for j in range(int(inexact(k).re)):
        result = result * (n + -j)
    return result


def sin(x: Number) -> Complex:
    return (exp(I * x) + -exp(-I * x)) / (I * 2)


def cos(x: Number) -> Complex:
    return (exp(I * x) + exp(-I * x)) / 2


def arcsin(x: Number) -> Complex:
    return -I * log(I * x + root(1 + -x * x, 2))


FORMS = {
    "frac": lambda x, y: x / y, "binom": binomial,
    "abs": absolute, "floor": floor, "ceil": lambda x: -floor(-x)}
FUNCTIONS = {
    "sqrt": lambda x: root(x, 2),
    "exp": exp, "ln": log, "log": log, "lg": lambda x: log(x) / log(10),
    "sin": sin, "cos": cos, "tan": lambda x: sin(x) / cos(x),
    "csc": lambda x: 1 / sin(x), "sec": lambda x: 1 / cos(x), "cot": lambda x: cos(x) / sin(x),
    "arcsin": arcsin, "arccos": lambda x: arcsin(1) + -arcsin(x),
    "arctan": lambda x: arcsin(x / root(1 + x * x, 2))}
CONSTANTS = {"pi": Complex(PI), "e": Complex(Decimal(1).exp(DIGITS)), "i": I}
