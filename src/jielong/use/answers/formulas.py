"""Equality of two formulas: by their signs, or else by math-verify, which knows LaTeX and algebra.

It runs in a worker, because math-verify stops slow computations by alarms, which threads do not take, and because some
formulas need more memory or time than anybody has: exponents are bounded beforehand as well.
"""

from __future__ import annotations

import importlib.util
import re
import threading

from jielong.errors import LimitError
from jielong.outside.worker import Worker

LIMIT_S = 8.0
MEMORY_BYTES = 4 << 30
_MOST_KNOWN = 10_000
MAX_EXPONENT = 999
MAX_CHARS = 400

_lock = threading.Lock()
_ALGEBRA = Worker("jielong.use.answers.algebra:is_same", limit_s=LIMIT_S, memory_bytes=MEMORY_BYTES)


def is_same_formula(given: str, right: str) -> bool:
    """Whether two formulas, in LaTeX or plainly written, are equal wherever they are defined.

    Without math-verify, whether they are written alike.
    """
    one, other = _reduce_to_signs(given), _reduce_to_signs(right)
    if one == other:
        return True
    if max(len(given), len(right)) > MAX_CHARS or not (_is_bounded(one) and _is_bounded(other)):
        return False
    if importlib.util.find_spec("math_verify") is None:
        return False
    verdict = _ask_worker(_to_latex(given), _to_latex(right))
    return verdict or False


def _reduce_to_signs(text: str) -> str:
    """Reduce a formula to its signs: no blanks, no needless brackets, one way to write a power."""
    text = re.sub(r"\s+", "", text.strip(" .。,，"))
    text = re.sub(r"([\^_])\{(\w)\}", r"\1\2", text)
    return text.replace("**", "^").replace("\\cdot", "×").replace("*", "×").replace("\\pi", "π").replace("\\sqrt", "√")


def _is_bounded(text: str) -> bool:
    """Whether no exponent is large and none stands on another one."""
    exponents = re.findall(r"\^\{?\(?-?(\d+)", text)
    return all(len(e) < 5 and int(e) <= MAX_EXPONENT for e in exponents) and not re.search(r"\^\{?[^{}\s+*/-]*\^", text)


def _to_latex(text: str) -> str:
    """Convert a plainly written formula to LaTeX."""
    text = text.replace("**", "^")
    text = re.sub(r"√\s?(\w+|\{[^{}]*\})", lambda m: rf"\sqrt{{{m[1].strip('{}')}}}", text)
    text = re.sub(r"√\s?\(([^()]*)\)", r"\\sqrt{\1}", text)
    text = text.replace("π", r"\pi ").replace("×", r"\times ").replace("÷", "/")
    text = re.sub(r"(?<![\\a-z])(sin|cos|tan|log|ln)(?![a-z])", r"\\\1", text)
    text = re.sub(
        r"(?<![\w\\}])\(([^()]+)\)\s?/\s?(?:\(([^()]+)\)|(\w+))", lambda m: rf"\frac{{{m[1]}}}{{{m[2] or m[3]}}}", text
    )
    text = re.sub(r"(?<![\w\\}^])(\w+|\\sqrt\{[^{}]*\})\s?/\s?(\w+|\\sqrt\{[^{}]*\})(?![\w^])", r"\\frac{\1}{\2}", text)
    return text.strip(" .。,，")


_known: dict[tuple[str, str], bool] = {}


def _ask_worker(given: str, right: str) -> bool | None:
    """Return the worker's verdict on whether two formulas are equal, or None if it has none in time, which is not
    remembered.
    """
    with _lock:
        if (given, right) in _known:
            return _known[given, right]
        try:
            is_same = bool(_ALGEBRA.call(given, right))
        except LimitError:
            return None
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[given, right] = is_same
        return is_same
