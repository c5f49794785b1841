"""Interval arithmetic on decimals: every operation rounds outwards, so the true value never leaves its interval.

Numbers that no fraction holds (roots, logarithms, pi, powers too long to write) are computed here. When both ends round
to the same digits, these digits are right, whatever was lost on the way. When they do not, `Unsure` asks for more
digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import cache

from jielong.errors import DataError

MAX_EXPONENT = 3_913
"""Numbers lie between 10**-MAX_EXPONENT and 10**MAX_EXPONENT; a whole number above has no place in an answer."""
MAX_EXP_ARGUMENT = 9_010
"""About MAX_EXPONENT * ln(10)."""

_TINY = Decimal(f"1e-{MAX_EXPONENT}")


class Unsure(Exception):
    """Raised if the interval is too wide to decide; more digits may do."""


@dataclass(frozen=True)
class Interval:
    """The two ends, both included."""

    low: Decimal
    high: Decimal

    def rounded(self, digits: int) -> Decimal | None:
        """Round the number to so many significant digits. Returns None if the ends differ in them."""
        context = Context(prec=digits, rounding=ROUND_HALF_EVEN)
        low, high = context.plus(self.low), context.plus(self.high)
        return low if low == high else None


def too_large() -> DataError:
    return DataError("the result is too large, or too near to zero; at most about 3,900 digits are computed")


class Reals:
    """Arithmetic of intervals whose ends have `digits` digits."""

    def __init__(self, digits: int) -> None:
        self.digits = digits
        self.down = Context(prec=digits, rounding=ROUND_FLOOR)
        self.up = Context(prec=digits, rounding=ROUND_CEILING)

    def of(self, value: Fraction) -> Interval:
        numerator, denominator = Decimal(value.numerator), Decimal(value.denominator)
        return self._fit(self.down.divide(numerator, denominator), self.up.divide(numerator, denominator))

    def pi(self) -> Interval:
        low, high = _pi(self.digits)
        return self._fit(self.down.plus(low), self.up.plus(high))

    def add(self, a: Interval, b: Interval) -> Interval:
        return self._fit(self.down.add(a.low, b.low), self.up.add(a.high, b.high))

    def negative(self, a: Interval) -> Interval:
        # copy_negate, because a minus sign would round to the precision of the thread's own context
        return Interval(a.high.copy_negate(), a.low.copy_negate())

    def multiply(self, a: Interval, b: Interval) -> Interval:
        ends = [(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
        return self._fit(min(self.down.multiply(*e) for e in ends), max(self.up.multiply(*e) for e in ends))

    def divide(self, a: Interval, b: Interval) -> Interval:
        """Divide. Raises Unsure if the divisor may be 0."""
        if b.low <= 0 <= b.high:
            raise Unsure
        ends = [(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
        return self._fit(min(self.down.divide(*e) for e in ends), max(self.up.divide(*e) for e in ends))

    def power(self, a: Interval, exponent: int) -> Interval:
        """Raise to an integer power, by squaring from the first bit of the exponent, so that nothing beyond the result
        is computed.
        """
        if exponent < 0:
            return self.divide(Interval(Decimal(1), Decimal(1)), self.power(a, -exponent))
        if exponent.bit_length() > 4 * self.digits:
            raise Unsure
        result = Interval(Decimal(1), Decimal(1))
        for bit in f"{exponent:b}":
            result = self.multiply(result, result)
            if bit == "1":
                result = self.multiply(result, a)
        return result

    def absolute(self, a: Interval) -> Interval:
        """Return the absolute value."""
        if a.low >= 0:
            return a
        if a.high <= 0:
            return self.negative(a)
        return Interval(Decimal(0), max(a.high, a.low.copy_negate()))

    def sqrt(self, a: Interval) -> Interval:
        """Return the square root. Raises DataError for a negative number, Unsure if it may be one."""
        if a.high < 0:
            raise DataError("sqrt is not defined there (a negative number has no real root)")
        if a.low < 0:
            raise Unsure
        return self._rising(self.down.sqrt, a)

    def exp(self, a: Interval) -> Interval:
        """Return the exponential. Raises DataError if it is too large."""
        if a.low > MAX_EXP_ARGUMENT or a.high < -MAX_EXP_ARGUMENT:
            raise too_large()
        if a.high > MAX_EXP_ARGUMENT or a.low < -MAX_EXP_ARGUMENT:
            raise Unsure
        return self._rising(self.down.exp, a)

    def ln(self, a: Interval) -> Interval:
        """Return the natural logarithm. Raises DataError if it is not defined."""
        if a.high <= 0:
            raise DataError("a logarithm is not defined there (only numbers above 0 have one)")
        if a.low <= 0:
            raise Unsure
        return self._rising(self.down.ln, a)

    def sin(self, a: Interval) -> Interval:
        """Return the sine by its series around the middle, after whole turns are taken away; its slope is at most 1."""
        turn = self.multiply(Interval(Decimal(2), Decimal(2)), self.pi())
        turns = self.down.to_integral_value(self.down.divide(a.low, turn.low))
        rest = self.add(a, self.negative(self.multiply(Interval(turns, turns), turn)))
        inner = Context(prec=self.digits + 10)
        middle = inner.divide(inner.add(rest.low, rest.high), Decimal(2))
        width = self.up.subtract(rest.high, rest.low)
        if middle.copy_abs() > 7 or width > 1:
            raise Unsure
        sine, term, n, square = middle, middle, 1, inner.multiply(middle, middle)
        while term and term.adjusted() > middle.adjusted() - self.digits - 10:
            term = inner.divide(inner.multiply(term, square.copy_negate()), Decimal((n + 1) * (n + 2)))
            sine, n = inner.add(sine, term), n + 2
        # the terms sum up to less than 400 times the middle, so ten more digits hold all roundings
        error = self.up.add(middle.copy_abs().scaleb(-self.digits, self.up), width)
        low, high = self.down.subtract(sine, error), self.up.add(sine, error)
        return Interval(max(low, Decimal(-1)), min(high, Decimal(1)))

    def _rising(self, function: Callable[[Decimal], Decimal], a: Interval) -> Interval:
        # decimal rounds sqrt, exp and ln correctly: the true value is less than one last digit away
        return self._fit(self.down.next_minus(function(a.low)), self.up.next_plus(function(a.high)))

    def _fit(self, low: Decimal, high: Decimal) -> Interval:
        """Make an interval whose ends stay within the largest exponent; an error beyond it."""
        sizes = [end.adjusted() for end in (low, high) if end]
        if low <= 0 <= high:
            if sizes and max(sizes) >= MAX_EXPONENT:
                raise Unsure
            # an end of a million zeros after the point would be slow to go on with
            low, high = (min(low, -_TINY) if low else low), (max(high, _TINY) if high else high)
        elif min(sizes) >= MAX_EXPONENT or max(sizes) < -MAX_EXPONENT:
            raise too_large()
        elif max(sizes) >= MAX_EXPONENT or min(sizes) < -MAX_EXPONENT:
            raise Unsure
        return Interval(low, high)


@cache
def _pi(digits: int) -> tuple[Decimal, Decimal]:
    """Compute bounds of pi by Machin's formula of 1706 in integers: pi = 16 arctan(1/5) - 4 arctan(1/239)."""
    unit = 10 ** (digits + 10)

    def arctan_of_inverse(x: int) -> int:
        """Return arctan(1/x) in units of the last digit."""
        term = total = unit // x
        n = 1
        while term:
            term //= -x * x
            n += 2
            total += term // n
        return total

    about = 16 * arctan_of_inverse(5) - 4 * arctan_of_inverse(239)
    # a division loses less than 1, a sum has fewer than 2 * digits of them
    lost = 100 * digits
    return Decimal(f"{about - lost}e-{digits + 10}"), Decimal(f"{about + lost}e-{digits + 10}")
