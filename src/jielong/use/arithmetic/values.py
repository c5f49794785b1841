"""The value of an expression: exact if a fraction holds it, otherwise an interval that closes around it.

A number is a fraction, a fraction of pi (so that sin(pi) is 0 and not nearly 0), or an interval. Fractions that would grow
beyond `MAX_BITS` go on as intervals: 1.0001**10000 has 40,000 digits, of which 15 are wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from jielong.errors import DataError
from jielong.use.arithmetic.intervals import MAX_EXPONENT, Interval, Reals, Unsure, too_large
from jielong.use.arithmetic.tree import Binary, Call, Constant, Group, Literal, Negative, Node, Percent

MAX_BITS = 13_000
"""Of a numerator or denominator: about 3,900 digits."""
MAX_FACTORIAL = 1_000
MAX_ROOT = 64
"""Roots up to this one are looked for among the fractions; others are intervals."""


@dataclass(frozen=True)
class OfPi:
    """So many times pi; never zero times."""

    times: Fraction


Number = Fraction | OfPi | Interval

SHOWN_DIGITS = 15
WORKING_DIGITS = (40, 120, 360)
"""Tried in turn: each step is several times slower than the one before and hardly ever needed."""


def evaluate(node: Node) -> Fraction | Decimal:
    """Evaluate a tree: a Fraction if the value is exact, otherwise a Decimal of 15 digits, all of them right.

    Raises DataError if it is not defined, too large, or if even 360 digits leave the 15th open.
    """
    for digits in WORKING_DIGITS:
        arithmetic = Arithmetic(digits)
        try:
            value = arithmetic.value(node)
            if isinstance(value, Fraction):
                return value
            found = arithmetic.interval(value)
        except Unsure:
            continue
        # a value halfway between two numbers of 15 digits has 14
        for shown in (SHOWN_DIGITS, SHOWN_DIGITS - 1) if digits == WORKING_DIGITS[-1] else (SHOWN_DIGITS,):
            rounded = found.rounded(shown)
            if rounded is not None:
                return rounded
    raise DataError(
        f"the first {SHOWN_DIGITS} digits of the result cannot be guaranteed; nearly equal numbers that are not exact are "
        "subtracted or compared there, as in sqrt(2)**2 - 2"
    )


class Arithmetic:
    """All operations on numbers, with intervals of so many digits."""

    def __init__(self, digits: int) -> None:
        self.reals = Reals(digits)

    def value(self, node: Node) -> Number:
        """Evaluate a node."""
        match node:
            case Literal(value):
                return self.fit(value)
            case Constant(name):
                return OfPi(Fraction(1)) if name == "pi" else self.exp(Fraction(1))
            case Group(inner):
                return self.value(inner)
            case Negative(inner):
                return self.multiply(Fraction(-1), self.value(inner))
            case Percent(inner):
                return self.divide(self.value(inner), Fraction(100))
            case Binary(sign, left, right):
                return _OPERATIONS[sign](self, self.value(left), self.value(right))
            case Call(name, arguments):
                return FUNCTIONS[name].of(self, *map(self.value, arguments))

    def fit(self, value: Fraction) -> Number:
        """Return the fraction itself, or an interval around one that is too long to go on with."""
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
            return self.reals.of(value)
        return value

    def interval(self, x: Number) -> Interval:
        """Convert any number to an interval."""
        if isinstance(x, Interval):
            return x
        if isinstance(x, Fraction):
            return self.reals.of(x)
        return self.reals.multiply(self.reals.of(x.times), self.reals.pi())

    def add(self, a: Number, b: Number) -> Number:
        """Add, exactly if both are fractions or multiples of pi."""
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return self.fit(a + b)
        if isinstance(a, OfPi) and isinstance(b, OfPi):
            return _of_pi(a.times + b.times)
        if a == 0 or b == 0:
            return a if b == 0 else b
        return self.reals.add(self.interval(a), self.interval(b))

    def subtract(self, a: Number, b: Number) -> Number:
        return self.add(a, self.multiply(Fraction(-1), b))

    def multiply(self, a: Number, b: Number) -> Number:
        """Multiply, exactly where possible."""
        if isinstance(b, Fraction):
            a, b = b, a
        if isinstance(a, Fraction):
            if isinstance(b, Fraction):
                return self.fit(a * b)
            if isinstance(b, OfPi):
                return _of_pi(a * b.times)
            if a == 0 or a == 1:
                return b if a else a
            if a == -1:
                return self.reals.negative(b)
        return self.reals.multiply(self.interval(a), self.interval(b))

    def divide(self, a: Number, b: Number) -> Number:
        """Divide, exactly where possible. Raises DataError if the divisor is zero."""
        if b == 0:
            raise DataError("division by zero")
        if isinstance(b, Fraction):
            if isinstance(a, Fraction):
                return self.fit(a / b)
            if isinstance(a, OfPi):
                return _of_pi(a.times / b)
        if isinstance(a, OfPi) and isinstance(b, OfPi):
            return a.times / b.times
        if a == 0:
            return Fraction(0)
        return self.reals.divide(self.interval(a), self.interval(b))

    def floor_divide(self, a: Number, b: Number) -> Number:
        return self.fit(self.whole_by(math.floor, self.divide(a, b)))

    def remainder(self, a: Number, b: Number) -> Number:
        """Return the remainder of floor division; it has the sign of the divisor, as in Python."""
        return self.subtract(a, self.multiply(b, self.floor_divide(a, b)))

    def whole_by(self, rising: Callable[[Fraction], Fraction | int], x: Number) -> Fraction:
        """Apply a step function such as floor, if both ends of an interval lie on the same step."""
        if isinstance(x, Fraction):
            return Fraction(rising(x))
        ends = self.interval(x)
        low, high = Fraction(rising(Fraction(ends.low))), Fraction(rising(Fraction(ends.high)))
        if low != high:
            raise Unsure
        return low

    def power(self, base: Number, exponent: Number) -> Number:
        """Raise to a power, exactly where possible. Raises DataError if it is undefined."""
        if exponent == 0 and (base == 0 or (isinstance(base, Interval) and base.low <= 0 <= base.high)):
            raise DataError("0 to the power of 0 is 1 to some and undefined to others; it is not computed")
        if base == 0:
            if self.sign(exponent) < 0:
                raise DataError("division by zero")
            return Fraction(0)
        if base == 1 or exponent == 0:
            return Fraction(1)
        if isinstance(exponent, Fraction) and exponent.denominator == 1:
            return self._whole_power(base, exponent.numerator)
        if self.sign(base) < 0:
            raise DataError("a negative number has no real power that is not whole; for roots see cbrt(-8)")
        if isinstance(base, Fraction) and isinstance(exponent, Fraction):
            root = _root(base, exponent.denominator)
            if root is not None:
                return self._whole_power(root, exponent.numerator)
        return self.exp(self.multiply(exponent, self.ln(base)))

    def _whole_power(self, base: Number, exponent: int) -> Number:
        """Raise to an integer power."""
        if base == -1:
            return Fraction(-1 if exponent % 2 else 1)
        if isinstance(base, Fraction):
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if base == 1 or (bits - 1) * abs(exponent) <= MAX_BITS:
                return self.fit(base**exponent)
        return self.reals.power(self.interval(base), exponent)

    def sign(self, x: Number) -> int:
        """Return the sign, -1, 0 or 1. Raises Unsure if an interval holds 0."""
        if not isinstance(x, Interval):
            x = x if isinstance(x, Fraction) else x.times
            return (x > 0) - (x < 0)
        if x.low <= 0 <= x.high:
            raise Unsure
        return 1 if x.low > 0 else -1

    def absolute(self, x: Number) -> Number:
        if isinstance(x, Interval):
            return self.reals.absolute(x)
        return self.multiply(Fraction(self.sign(x)), x)

    def root(self, x: Number, degree: int) -> Number:
        """Return the real root; an odd one of a negative number is negative."""
        if x == 0:
            return Fraction(0)
        if degree % 2 and self.sign(x) < 0:
            return self.multiply(Fraction(-1), self.root(self.absolute(x), degree))
        if isinstance(x, Fraction) and x > 0:
            exact = _root(x, degree)
            if exact is not None:
                return exact
        if degree == 2:
            return self.reals.sqrt(self.interval(x))
        return self.power(x, Fraction(1, degree))

    def exp(self, x: Number) -> Number:
        return Fraction(1) if x == 0 else self.reals.exp(self.interval(x))

    def ln(self, x: Number) -> Number:
        return Fraction(0) if x == 1 else self.reals.ln(self.interval(x))

    def logarithm(self, x: Number, base: Number) -> Number:
        """Return the logarithm to a base, exactly if it is an integer."""
        if base == 1:
            raise DataError("a logarithm is not defined there (no power of 1 is another number)")
        found = self.divide(self.ln(x), self.ln(base))
        if isinstance(x, Fraction) and isinstance(base, Fraction) and isinstance(found, Interval):
            # log(8, 2) is 3 and not nearly 3
            nearest = round(found.low)
            if abs(nearest) <= 4 * MAX_EXPONENT and self._whole_power(base, nearest) == x:
                return Fraction(nearest)
        return found

    def sin(self, x: Number) -> Number:
        """Return the sine, exactly at known fractions of pi."""
        if isinstance(x, OfPi):
            exact = _SINES.get(x.times % 2)
            if exact is not None:
                return exact
            x = OfPi(x.times % 2)
        return Fraction(0) if x == 0 else self.reals.sin(self.interval(x))

    def cos(self, x: Number) -> Number:
        return Fraction(1) if x == 0 else self.sin(self.add(x, OfPi(Fraction(1, 2))))

    def tan(self, x: Number) -> Number:
        """Return the tangent. Raises DataError at its poles."""
        if isinstance(x, OfPi):
            turn = x.times % 1
            if turn == Fraction(1, 2):
                raise DataError("tan is not defined there (90 degrees, or pi/2, and half turns from it)")
            if turn in (Fraction(1, 4), Fraction(3, 4)):
                return Fraction(1 if turn < Fraction(1, 2) else -1)
        return self.divide(self.sin(x), self.cos(x))

    def largest(self, *numbers: Number) -> Number:
        """Return the maximum."""
        if all(isinstance(x, Fraction) for x in numbers):
            return max(numbers)  # type: ignore[type-var]
        ends = [self.interval(x) for x in numbers]
        return Interval(max(e.low for e in ends), max(e.high for e in ends))

    def smallest(self, *numbers: Number) -> Number:
        minus = Fraction(-1)
        return self.multiply(minus, self.largest(*(self.multiply(minus, x) for x in numbers)))

    def sum(self, *numbers: Number) -> Number:
        """Add up numbers."""
        total: Number = Fraction(0)
        for x in numbers:
            total = self.add(total, x)
        return total

    def mean(self, *numbers: Number) -> Number:
        return self.divide(self.sum(*numbers), Fraction(len(numbers)))

    def round(self, x: Number, digits: Number = Fraction(0)) -> Number:
        """Round with halves away from zero, as at school."""
        places = require_integer("round", digits)
        if abs(places) > 100:
            raise DataError(f"round keeps at most 100 places; got {places}")
        unit = Fraction(10) ** places

        def rounded(y: Fraction) -> Fraction:
            nearest = math.floor(abs(y) * unit + Fraction(1, 2))
            return (nearest if y >= 0 else -nearest) / unit

        return self.fit(self.whole_by(rounded, x))


def require_integer(name: str, x: Number) -> int:
    """Return `x` as an integer. Raises DataError, which names the function, if it is none."""
    if not isinstance(x, Fraction) or x.denominator != 1:
        raise DataError(f"{name} takes whole numbers; got {_told(x)}")
    return x.numerator


def _told(x: Number) -> str:
    return f"{Arithmetic(6).interval(x).high:g}"


def _of_pi(times: Fraction) -> Number:
    return OfPi(times) if times else times


def _root(x: Fraction, degree: int) -> Fraction | None:
    """Return the root of a positive fraction if it is a fraction too."""
    if degree > MAX_ROOT:
        return None
    numerator, denominator = _whole_root(x.numerator, degree), _whole_root(x.denominator, degree)
    return Fraction(numerator, denominator) if numerator and denominator else None


def _whole_root(n: int, degree: int) -> int | None:
    """Return the integer root, if there is one, by Newton's steps from above."""
    root = 1 << -(-n.bit_length() // degree)
    while True:
        better = ((degree - 1) * root + n // root ** (degree - 1)) // degree
        if better >= root:
            return root if root**degree == n else None
        root = better


_SINES = {
    Fraction(n, 6): Fraction(twice, 2) for n, twice in {0: 0, 1: 1, 3: 2, 5: 1, 6: 0, 7: -1, 9: -2, 11: -1}.items()
}
"""The sines of so many times pi that are fractions; there are no others (Niven 1956, corollary 3.12)."""


def _factorial(_: Arithmetic, x: Number) -> Number:
    """Return the factorial of an integer within bounds."""
    n = require_integer("factorial", x)
    if n < 0:
        raise DataError(f"factorial is not defined there ({n} is negative)")
    if n > MAX_FACTORIAL:
        raise too_large()
    return Fraction(math.factorial(n))


def _log(arithmetic: Arithmetic, x: Number, base: Number | None = None) -> Number:
    """Return the logarithm to a base. Raises DataError if no base is given, as that is read in two ways."""
    if base is not None:
        return arithmetic.logarithm(x, base)
    if arithmetic.ln(x) == 0:
        return Fraction(0)
    raise DataError("log of one number has base 10 to some and base e to others; write log10(x), ln(x) or log(x, base)")


@dataclass(frozen=True)
class Function:
    """A function, with its minimal and maximal number of arguments."""

    of: Callable[..., Number]
    least: int = 1
    most: int = 1


FUNCTIONS = {
    "abs": Function(Arithmetic.absolute),
    "average": Function(Arithmetic.mean, 1, 100),
    "avg": Function(Arithmetic.mean, 1, 100),
    "cbrt": Function(lambda a, x: a.root(x, 3)),
    "ceil": Function(lambda a, x: a.fit(a.whole_by(math.ceil, x))),
    "cos": Function(Arithmetic.cos),
    "exp": Function(Arithmetic.exp),
    "factorial": Function(_factorial),
    "floor": Function(lambda a, x: a.fit(a.whole_by(math.floor, x))),
    "gcd": Function(lambda a, *x: Fraction(math.gcd(*(require_integer("gcd", v) for v in x))), 2, 20),
    "lcm": Function(lambda a, *x: a.fit(Fraction(math.lcm(*(require_integer("lcm", v) for v in x)))), 2, 20),
    "ln": Function(Arithmetic.ln),
    "log": Function(_log, 1, 2),
    "log10": Function(lambda a, x: a.logarithm(x, Fraction(10))),
    "log2": Function(lambda a, x: a.logarithm(x, Fraction(2))),
    "max": Function(Arithmetic.largest, 1, 100),
    "mean": Function(Arithmetic.mean, 1, 100),
    "min": Function(Arithmetic.smallest, 1, 100),
    "mod": Function(Arithmetic.remainder, 2, 2),
    "pow": Function(Arithmetic.power, 2, 2),
    "round": Function(Arithmetic.round, 1, 2),
    "sin": Function(Arithmetic.sin),
    "sqrt": Function(lambda a, x: a.root(x, 2)),
    "sum": Function(Arithmetic.sum, 1, 100),
    "tan": Function(Arithmetic.tan),
}

_OPERATIONS: dict[str, Callable[[Arithmetic, Number, Number], Number]] = {
    "+": Arithmetic.add,
    "-": Arithmetic.subtract,
    "*": Arithmetic.multiply,
    "/": Arithmetic.divide,
    "//": Arithmetic.floor_divide,
    "%": Arithmetic.remainder,
    "mod": Arithmetic.remainder,
    "^": Arithmetic.power,
}
