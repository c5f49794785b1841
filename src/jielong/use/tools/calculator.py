"""Exact arithmetic: an expression goes in, its value comes out, and nothing else can be made to happen.

The expression is parsed by Python's own parser and only the nodes named here are followed. Whole numbers and decimals are
fractions, so 0.1 + 0.2 is 0.3; functions such as sin give 15 digits. Every number stays below a stated size. Chinese and
full-width signs are read as what they stand for.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import unicodedata
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from jielong.errors import DataError, did_you_mean
from jielong.use.tools.tool import Arguments, Tool

Number = Fraction | float

MAX_CHARS = 300
MAX_BITS = 13_000
"""Of a numerator or denominator: about 3,900 digits."""
MAX_FACTORIAL = 1_000

_SIGNS = str.maketrans("×✕✖·∙÷∕−–—{}[]【】", "*****//---()()()")
_TIMES = re.compile(r"(?<=[\d)])\s*[xX]\s*(?=[\d(])")
_POWERS = re.compile(r"(?<=[\d)])([²³])")
_PERCENT = re.compile(r"(\d(?:[\d.]*\d)?)\s*%(?=\s*(?:$|[+\-*/)]))")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: operator.mod,
}
_CONSTANTS = {"pi": math.pi, "e": math.e, "π": math.pi}


def calculate(expression: str) -> str:
    """The value of an expression: all digits of a whole number or a decimal, else 15; DataError says what it cannot do."""
    return written(value_of(expression))


def value_of(expression: str) -> Number:
    """The value itself, a Fraction wherever it is exact."""
    text = _POWERS.sub(lambda m: f"**{'23'['²³'.index(m[1])]}", expression)
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS).strip().rstrip("=? ")
    text = _TIMES.sub("*", text).replace("^", "**").replace("√", "sqrt")
    text = _PERCENT.sub(r"(\1/100)", text)
    if not re.search("[a-z]", text, re.IGNORECASE):  # in max(1,200) the comma is none of 1,200
        text = _THOUSANDS.sub("", text)
    if len(text) > MAX_CHARS:
        raise DataError(f"the expression has {len(text)} characters; at most {MAX_CHARS} are read")
    try:
        return _value(ast.parse(text, mode="eval").body, text.encode())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise DataError(f"{expression!r} is no expression; write it like (12 + 3.5) * 7 / 2") from None
    except ZeroDivisionError:
        raise DataError("division by zero") from None
    except OverflowError:
        raise _too_large() from None


def written(value: Number) -> str:
    """A number as people write it."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _too_large()
        return f"{value:.15g}"
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    # a decimal that ends is written to its end where that is not absurdly far
    digits = 60 if rest == 1 else 15
    context = Context(prec=digits, rounding=ROUND_HALF_EVEN)
    quotient = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    shown = f"{quotient:f}" if -30 < quotient.adjusted() < 400 else f"{quotient:e}"
    return shown.rstrip("0").rstrip(".") if "." in shown and "e" not in shown.lower() else shown


def _value(node: ast.expr, source: bytes) -> Number:
    match node:
        case ast.Constant(value=bool() | str() | bytes() | complex() | None):
            raise DataError(f"{node.value!r} is no number")
        case ast.Constant():
            return _constant(source[node.col_offset : node.end_col_offset].decode())
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand, source)
        case ast.UnaryOp(op=ast.UAdd()):
            return _value(node.operand, source)
        case ast.BinOp(op=ast.Pow()):
            return _power(_value(node.left, source), _value(node.right, source))
        case ast.BinOp() if type(node.op) in _BINARY:
            left, right = _value(node.left, source), _value(node.right, source)
            return _bounded(_BINARY[type(node.op)](left, right))
        case ast.Name() if node.id in _CONSTANTS:
            return _CONSTANTS[node.id]
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS:
            return _called(name, [_value(argument, source) for argument in node.args])
        case ast.Call(func=ast.Name(id=name)) | ast.Name(id=name):
            raise DataError(f"unknown name {name!r}; {did_you_mean(name, [*FUNCTIONS, *_CONSTANTS])}")
    raise DataError("only + - * / // % ** and parentheses, numbers and functions such as sqrt(2) are understood")


def _constant(text: str) -> Fraction:
    mantissa, _, exponent = text.replace("_", "").lower().partition("e")
    if len(exponent) > 5:
        raise _too_large()
    return _exact(Fraction(mantissa) * Fraction(10) ** int(exponent or 0))


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(base) not in (0, 1) and (size - 1) * abs(exponent) > MAX_BITS:
            raise _too_large()
        if abs(base) in (0, 1):
            exponent = exponent % 2 + 2 if exponent > 0 else exponent  # the same value, without the large exponent
        return _bounded(base ** int(exponent))
    if base < 0:
        raise DataError("a negative number has no real power that is not whole")
    return float(base) ** float(exponent)


def _exact(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise _too_large()
    return value


def _bounded(value: Number) -> Number:
    return _exact(value) if isinstance(value, Fraction) else value


def _too_large() -> DataError:
    return DataError("the result is too large; at most about 3,900 digits are computed")


def _called(name: str, values: list[Number]) -> Number:
    function, num_least, num_most = FUNCTIONS[name]
    if not num_least <= len(values) <= num_most:
        raise DataError(
            f"{name} takes {num_least} {'or more ' if num_most > num_least else ''}numbers; got {len(values)}"
        )
    try:
        return _bounded(function(*values))
    except ValueError as error:
        raise DataError(f"{name} is not defined there ({error})") from None


def _sqrt(x: Number) -> Number:
    if isinstance(x, Fraction) and x >= 0:
        root = Fraction(math.isqrt(x.numerator), math.isqrt(x.denominator))
        if root * root == x:
            return root
    return math.sqrt(x)


def _whole(name: str, x: Number) -> int:
    if not isinstance(x, Fraction) or x.denominator != 1:
        raise DataError(f"{name} takes whole numbers; got {written(x)}")
    return x.numerator


def _factorial(x: Number) -> Fraction:
    n = _whole("factorial", x)
    if n > MAX_FACTORIAL:
        raise _too_large()
    return Fraction(math.factorial(n))


def _round(x: Number, digits: Number = Fraction(0)) -> Number:
    """Halves away from zero, as at school."""
    places = _whole("round", digits)
    if abs(places) > 100:
        raise _too_large()
    scaled = Fraction(x) * Fraction(10) ** places
    rounded = math.floor(abs(scaled) + Fraction(1, 2)) * (1 if scaled >= 0 else -1)
    return Fraction(rounded) / Fraction(10) ** places


FUNCTIONS: dict[str, tuple[Callable[..., Number], int, int]] = {
    "abs": (abs, 1, 1),
    "ceil": (lambda x: Fraction(math.ceil(x)), 1, 1),
    "cos": (math.cos, 1, 1),
    "exp": (math.exp, 1, 1),
    "factorial": (_factorial, 1, 1),
    "floor": (lambda x: Fraction(math.floor(x)), 1, 1),
    "gcd": (lambda *x: Fraction(math.gcd(*(_whole("gcd", v) for v in x))), 2, 20),
    "lcm": (lambda *x: Fraction(math.lcm(*(_whole("lcm", v) for v in x))), 2, 20),
    "ln": (math.log, 1, 1),
    "log": (math.log, 1, 2),
    "log10": (math.log10, 1, 1),
    "log2": (math.log2, 1, 1),
    "max": (max, 1, 20),
    "min": (min, 1, 20),
    "round": (_round, 1, 2),
    "sin": (math.sin, 1, 1),
    "sqrt": (_sqrt, 1, 1),
    "tan": (math.tan, 1, 1),
}
"""Each with the least and the most numbers it takes."""


async def _run(arguments: Arguments) -> str:
    return calculate(arguments["expression"])


CALCULATOR = Tool(
    "calculator",
    "Computes an arithmetic expression exactly: + - * / // % **, parentheses, sqrt, round, max and the like. 精确计算算式。",
    {
        "type": "object",
        "properties": {"expression": {"type": "string", "description": 'such as "12*7" or "(3+4.5)/2"'}},
        "required": ["expression"],
    },
    _run,
    is_foreign=False,
)
