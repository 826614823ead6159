"""Closed forms: complex numbers that are exact as long as they can be, and have 50 digits when they cannot.

Both parts are Fractions until the first irrational root, pi, exponential or logarithm; from then on they are Decimals. So
1/3 + 1/6 is 1/2 and not nearly 1/2, sqrt(50) is 5 * sqrt(2) to 45 digits, and 1.41421356237 is neither.

The numbers are a model's and are not to be trusted: exponents, factorials, roots and angles have bounds (ValueError beyond them),
and what has no value raises ArithmeticError or ValueError. Compute within `localcontext(DIGITS)`.

See it: python -m pytest tests/test_verifier.py
"""

import math
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction

DIGITS = Context(prec=50, Emax=100_000, Emin=-100_000)
TOLERANCE = Decimal("1e-45")
LONGEST_DENOMINATOR = 10**15
LARGEST_BITS, LARGEST_FACTORIAL, LARGEST_ROOT, LARGEST_ANGLE = 20_000, 1000, 100, 10**6
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


@dataclass(frozen=True)
class Number:
    re: Fraction | Decimal
    im: Fraction | Decimal = Fraction(0)

    @property
    def exact(self) -> bool:
        return isinstance(self.re, Fraction) and isinstance(self.im, Fraction)

    @property
    def whole(self) -> int | None:
        """The int it is exactly, or None."""
        return int(self.re) if not self.im and self.re == self.re.__trunc__() else None

    def decimal(self) -> "Number":
        return Number(*(Decimal(x.numerator) / x.denominator if isinstance(x, Fraction) else x for x in (self.re, self.im)))

    def __neg__(self):
        return Number(-self.re, -self.im)

    def __add__(self, other):
        x, y = _alike(self, other)
        return Number(x.re + y.re, x.im + y.im)

    def __mul__(self, other):
        x, y = _alike(self, other)
        if not x.im and not y.im:  # apart, so that infinity meets no zero
            return Number(x.re * y.re, x.im)
        return Number(x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re)

    def __truediv__(self, other):
        x, y = _alike(self, other)
        if not y.im:
            return Number(x.re / y.re, x.im / y.re)
        size = y.re * y.re + y.im * y.im
        return x * Number(y.re / size, -y.im / size)

    def __pow__(self, y):
        if not y.exact or y.im or y.re.denominator > LARGEST_ROOT:
            return exp(y * log(self))
        if y.re.denominator > 1:
            return root(self, y.re.denominator) ** Number(Fraction(y.re.numerator))
        n, result = y.re.numerator, Number(Fraction(1))
        bits = sum(x.numerator.bit_length() + x.denominator.bit_length() for x in (self.re, self.im)) if self.exact else 2
        if abs(n) * bits > LARGEST_BITS:
            raise ValueError("power out of bounds")
        factor = self if n >= 0 else result / self
        for bit in bin(abs(n))[2:]:
            result = result * result
            result = result * factor if bit == "1" else result
        return result


def _alike(x: Number, y: Number) -> tuple[Number, Number]:
    """Both exact, or both in decimals."""
    return (x, y) if x.exact and y.exact else (x.decimal(), y.decimal())


def close(x: Number, y: Number) -> bool:
    """Equal where both are exact, else to 45 digits. A fraction that long is no closed form, but one rounded off."""
    if x.exact != y.exact and (x if x.exact else y).re.denominator > LONGEST_DENOMINATOR:
        return False
    with localcontext(DIGITS):
        x, y = _alike(x, y)
        if x == y or x.exact:
            return x == y
        return all(a.is_finite() and b.is_finite() and abs(a - b) <= TOLERANCE * max(1, abs(a), abs(b))
                   for a, b in ((x.re, y.re), (x.im, y.im)))


def root(x: Number, n: int) -> Number:
    """The n-th root: of a negative number the real one where n is odd, else the principal one."""
    if not 1 <= n <= LARGEST_ROOT:
        raise ValueError("root out of bounds")
    if x.re < 0 and not x.im and (n % 2 or n == 2):
        size = root(-x, n)
        return -size if n % 2 else Number(size.im, size.re)
    if x.exact and not x.im:
        parts = [_whole_root(part, n) for part in (x.re.numerator, x.re.denominator)]
        if None not in parts:
            return Number(Fraction(*parts))
    x = x.decimal()
    return Number(x.re.sqrt(), x.im) if n == 2 and not x.im else exp(log(x) / Number(Fraction(n)))


def _whole_root(x: int, n: int) -> int | None:
    if x < 0:
        return None
    guess = math.isqrt(x) if n == 2 else round(x ** (1 / n)) if x.bit_length() < 1000 else 0
    return guess if guess**n == x else None


def exp(x: Number) -> Number:
    x = x.decimal()
    if not x.im:
        return Number(x.re.exp(), x.im)
    sine, cosine = _sine_cosine(x.im)
    return Number(x.re.exp() * cosine, x.re.exp() * sine)


def log(x: Number) -> Number:
    x = x.decimal()
    if x.re > 0 and not x.im:
        return Number(x.re.ln(), x.im)
    return Number((x.re * x.re + x.im * x.im).ln() / 2, _angle(x.im, x.re))


def absolute(x: Number) -> Number:
    return root(Number(x.re * x.re + x.im * x.im), 2) if x.im else Number(abs(x.re), x.im)


def factorial(x: Number) -> Number:
    if x.whole is None or not 0 <= x.whole <= LARGEST_FACTORIAL:
        raise ValueError("factorial out of bounds")
    return Number(Fraction(math.factorial(x.whole)))


def binomial(n: Number, k: Number) -> Number:
    """n may be any number: n (n - 1) ... (n - k + 1) / k!"""
    result = Number(Fraction(1)) / factorial(k)
    for j in range(k.whole):
        result = result * (n + Number(Fraction(-j)))
    return result


def _sine_cosine(x: Decimal) -> tuple[Decimal, Decimal]:
    """By their series, after whole turns are taken off."""
    if abs(x) > LARGEST_ANGLE:
        raise ValueError("angle out of bounds")
    x, terms = x.remainder_near(2 * PI), [Decimal(1)]
    while abs(terms[-1]) > Decimal("1e-52"):
        terms.append(terms[-1] * x / len(terms))
    return sum(terms[1::4]) - sum(terms[3::4]), sum(terms[::4]) - sum(terms[2::4])


def _angle(y: Decimal, x: Decimal) -> Decimal:
    """The angle of the point (x, y): a float's guess, mended by two steps of Newton's method."""
    angle = Decimal(math.atan2(y, x))
    for _ in range(2):
        sine, cosine = _sine_cosine(angle)
        angle += (y * cosine - x * sine) / (x * x + y * y).sqrt()
    return angle


def _real(f):
    """A function of one real Decimal as a function of Numbers."""
    def of_number(x: Number) -> Number:
        if x.im:
            raise ValueError("for real numbers only")
        return Number(f(x.decimal().re), Decimal(0))
    return of_number


FUNCTIONS = {
    "sqrt": lambda x: root(x, 2), "exp": exp, "ln": log, "log": log, "abs": absolute,
    "lg": lambda x: log(x) / log(Number(Fraction(10))),
    "sin": _real(lambda x: _sine_cosine(x)[0]), "cos": _real(lambda x: _sine_cosine(x)[1]),
    "tan": lambda x: FUNCTIONS["sin"](x) / FUNCTIONS["cos"](x), "cot": lambda x: FUNCTIONS["cos"](x) / FUNCTIONS["sin"](x),
    "sec": lambda x: Number(Fraction(1)) / FUNCTIONS["cos"](x), "csc": lambda x: Number(Fraction(1)) / FUNCTIONS["sin"](x),
    "arcsin": _real(lambda x: _angle(x, (1 - x * x).sqrt())), "arccos": _real(lambda x: _angle((1 - x * x).sqrt(), x)),
    "arctan": _real(lambda x: _angle(x, Decimal(1)))}
CONSTANTS = {"pi": Number(PI, Decimal(0)), "e": Number(Decimal(1).exp(DIGITS), Decimal(0)), "i": Number(Fraction(0), Fraction(1)),
             "infty": Number(Decimal("Infinity"), Decimal(0)), "infinity": Number(Decimal("Infinity"), Decimal(0))}
