"""The calculator tool: an expression goes in, its exact value comes out, and nothing else can be made to happen.

`use.arithmetic` reads and computes it: right or refused, never wrong. Whole numbers and decimals are fractions, so 0.1
+ 0.2 is 0.3; of roots, sines and powers too long for a fraction 15 digits are shown, and all of them are right. Every
number and every nesting stays below a stated size.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from jielong.errors import DataError
from jielong.use.arithmetic.grammar import parse
from jielong.use.arithmetic.values import FUNCTIONS, SHOWN_DIGITS, evaluate
from jielong.use.tools.tool import Arguments, Tool

MAX_CHARS = 300
DECIMALS = 60
"""A decimal that ends is written to its end, but to no more places than these."""


def calculate(expression: str) -> str:
    """Compute an expression: all digits of a whole number or a decimal, else 15. Raises DataError, which says what it
    cannot do.
    """
    return format_number(value_of(expression))


def value_of(expression: str) -> Fraction | Decimal:
    """Return the value itself: a Fraction wherever it is exact, else a Decimal of 15 digits that are right."""
    if len(expression) > MAX_CHARS:
        raise DataError(f"the expression has {len(expression)} characters; at most {MAX_CHARS} are read")
    arities = {name: (function.least, function.most) for name, function in FUNCTIONS.items()}
    return evaluate(parse(expression, arities))


def format_number(value: Fraction | Decimal) -> str:
    """Format a number in decimals, or with an exponent where it is very large or small, with no more digits than were
    computed.
    """
    digits = SHOWN_DIGITS
    if isinstance(value, Fraction):
        if value.denominator == 1:
            return str(value.numerator)
        rest = value.denominator
        for prime in (2, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            digits = DECIMALS + len(str(abs(value.numerator) // value.denominator))
        context = Context(prec=digits, rounding=ROUND_HALF_EVEN)
        value = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    value = value.normalize(Context(prec=digits))
    return f"{value:f}" if -30 < value.adjusted() < digits else f"{value:e}"


async def _run(arguments: Arguments) -> str:
    return calculate(arguments["expression"])


CALCULATOR = Tool(
    "calculator",
    "Computes an arithmetic expression exactly: + - * / // % **, parentheses, sqrt, round, max and the like. "
    "17 % 5 is the remainder, with the sign of the divisor; 15% of 80 a share; angles are radians, or 90°. 精确计算算式。",
    {
        "type": "object",
        "properties": {"expression": {"type": "string", "description": 'such as "12*7" or "(3+4.5)/2"'}},
        "required": ["expression"],
    },
    _run,
    is_foreign=False,
)
