r"""Numbers: exact while they are rational, and complex with 110 digits when they are not.

A number is a Fraction until the first irrational root, pi, i, exponential or logarithm, and a Complex of
Decimals from then on: 1/3 + 1/6 is 1/2 and not nearly 1/2, sqrt(50) is 5 sqrt(2) to 75 digits, and
1.41421356237 is neither. Angles come from exp and log, by Euler's formula:

    sin x = (e^ix - e^-ix) / 2i        arcsin x = -i log(ix + sqrt(1 - x^2))

The numbers are a model's and are not to be trusted: exponents, factorials and roots have bounds. What
is beyond them or has no value raises ValueError or ArithmeticError. Compute within `localcontext(DIGITS)`.
Every x, y, n and k below is a Fraction or a Complex.

See it: python -m pytest tests/test_verifier.py
"""

import math
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

DIGITS = Context(prec=110, Emax=100_000, Emin=-100_000)
TOLERANCE = Decimal("1e-75")
LONGEST_DENOMINATOR = 10**15
LARGEST_BITS, LARGEST_FACTORIAL, LARGEST_ROOT = 20_000, 1900, 100
PI = Decimal("3.141592653589793238462643383279502884197169399375105820974944"
             "592307816406286208998628034825342117067982148086513282306647093844")


class Complex(NamedTuple):
    """A number that is not rational. The other operand may be a Fraction."""

    re: Decimal
    im: Decimal = Decimal(0)
    numerator, denominator = 1, 0  # those of no Fraction

    def __neg__(self):
        return self * -1

    def __add__(self, other):
        y = inexact(other)
        return Complex(self.re + y.re, self.im + y.im)

    def __mul__(self, other):
        y = inexact(other)
        return Complex(self.re * y.re - self.im * y.im, self.re * y.im + self.im * y.re)

    def __rtruediv__(self, other):
        size = self.re * self.re + self.im * self.im
        return inexact(other) * Complex(self.re / size, -self.im / size)

    def __truediv__(self, other):
        return inexact(other).__rtruediv__(self)

    def __abs__(self):
        return Complex((self.re * self.re + self.im * self.im).sqrt())

    __radd__, __rmul__ = __add__, __mul__


I = Complex(Decimal(0), Decimal(1))


def inexact(x):
    return Complex(Decimal(x.numerator) / x.denominator) if x.denominator else x


def check_size(x, exponent=1):
    if abs(exponent) * (x.numerator.bit_length() + x.denominator.bit_length()) > LARGEST_BITS:
        raise ValueError("too large")


def close(x, y):
    """Equal where both are exact, else to 75 digits. A very long fraction is no closed form."""
    with localcontext(DIGITS, Emax=10**9):
        difference = x + -y
        if difference.denominator:
            return difference == 0
        if max(x.denominator, y.denominator) > LONGEST_DENOMINATOR:
            return False
        return abs(difference).re < TOLERANCE * max(1, inexact(abs(x)).re)


def power(x, y):
    """By squaring where y is whole; the root first where it is rational."""
    if 1 < y.denominator <= LARGEST_ROOT:
        return power(root(x, y.denominator), y.numerator)
    if y.denominator != 1:
        return exp(y * log(x))
    check_size(x, y)
    if y < 0:
        return 1 / power(x, -y)
    if y == 0:
        return Fraction(1)
    half = power(x, y // 2)
    return half * half * x if y % 2 else half * half


def root(x, n):
    """The n-th root: of a negative number the real one where n is odd, else the principal one."""
    z = inexact(x)
    if not (z.re or z.im):
        return x
    if z.re < 0 and not z.im and n % 2:
        return -root(-x, n)
    z = exp(log(x) / n)
    exact = Fraction(z.re).limit_denominator(x.denominator or 1)
    return exact if exact**n == x else z


def exp(x):
    """e^(a + bi) = e^a (cos b + i sin b), with the series of sine and cosine, less whole turns."""
    x = inexact(x)
    angle, terms = x.im.remainder_near(2 * PI), [x.re.exp()]
    while terms[-1] and len(terms) < 100:
        terms.append(terms[-1] * angle / len(terms))
    return Complex(sum(terms[::4]) - sum(terms[2::4]), sum(terms[1::4]) - sum(terms[3::4]))


def log(x):
    """The angle is a float's guess, mended by two steps of Newton's method."""
    length = abs(inexact(x))
    unit = x / length
    angle = Decimal(math.atan2(unit.im, unit.re))
    for _ in range(2):
        angle += (unit * exp(-I * Complex(angle))).im
    return Complex(length.re.ln(), angle)


def floor(x):
    return Fraction(math.floor(x if x.denominator else x.re))


def factorial(x):
    """Of fractions and large numbers a made-up one, for which x! = x (x - 1)! but at each hundredth x."""
    if x.denominator == 1 and x <= LARGEST_FACTORIAL:
        return Fraction(math.factorial(int(x)))
    if not x.denominator:
        raise ValueError("no factorial")
    check_size(x, steps := math.floor((x + 50) % 100))
    p, q = x.numerator, x.denominator
    return (hash(x - steps) % 9973 + 2) * Fraction(math.prod(range(p, p - steps * q, -q)), q**steps)


def binomial(n, k):
    """n may be any number where k is whole: n (n - 1) ... (n - k + 1) / k!"""
    if k.denominator != 1:
        return factorial(n) / (factorial(k) * factorial(n + -k))
    result = 1 / factorial(k)
    check_size(n, k)
    for j in range(int(k)):
        result = result * (n + -j)
    return result


def sin(x):
    return (exp(I * x) + -exp(-I * x)) / (I * 2)


def cos(x):
    return (exp(I * x) + exp(-I * x)) / 2


def arcsin(x):
    return -I * log(I * x + sqrt(1 + -x * x))


def sqrt(x):
    return power(x, Fraction(1, 2))


CONSTANTS = {"pi": Complex(PI), "e": Complex(Decimal(1).exp(DIGITS)), "i": I}
FORMS = {"sqrt": sqrt, "abs": abs, "floor": floor, "ceil": lambda x: -floor(-x)}
FORMS_OF_TWO = {"frac": lambda x, y: x / y, "binom": binomial, "root": lambda n, x: power(x, 1 / n)}
FUNCTIONS = {
    "exp": exp, "ln": log, "log": log, "lg": lambda x: log(x) / log(10),
    "sin": sin, "cos": cos, "tan": lambda x: sin(x) / cos(x),
    "csc": lambda x: 1 / sin(x), "sec": lambda x: 1 / cos(x), "cot": lambda x: cos(x) / sin(x),
    "arcsin": arcsin, "arccos": lambda x: arcsin(1) + -arcsin(x),
    "arctan": lambda x: arcsin(x / sqrt(1 + x * x)),
}
