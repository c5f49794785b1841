"""Chat templates in a bounded Jinja sandbox, as `transformers` runs them: the inside of `templates`, run in a worker
alone.

A template is a program, and nobody can tell beforehand whether it ends. Two bounds hold. Here: no text, number, range
or result beyond a size that no conversation needs, with an error in the template's own terms. Around it: the worker's
seconds and bytes, whatever a template does.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.sandbox

from jielong.errors import CheckpointError, DataError

MAX_CHARS = 1 << 24
"""Of the whole conversation, and of a text that is made by repeating one."""
MAX_NUMBER = 1_000_000
"""Given to a filter or a method: a width, an indent, a count."""
MAX_BITS = 10_000
"""Of an integer that is computed."""
_MAX_SAID = 500

_RAISED = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""Errors that a program in Jinja may raise, where it is read and where it is run."""
# a width of seven digits, or one that comes from an argument
_WIDE = re.compile(r"%(\([^()]{0,99}\))?[#0\- +]*(\d{7}|\*|\d*\.(\d{7}|\*))|\{[^{}]{0,99}:[^{}]{0,99}\d{7}")
_SIZED_FILTERS = ("batch", "center", "format", "indent", "round", "slice", "tojson", "truncate", "wordwrap")
"""Take a width or a count."""


def run(source: str, variables: Mapping[str, Any] | None) -> bool | str:
    """Render the template with the variables, which must say `messages`; without any, return whether it reads `tools`.

    Raises CheckpointError for a template that cannot be read, DataError if it refuses the variables.
    """
    try:
        template, names = _compiled(source)
    except _RAISED as error:
        raise CheckpointError(f"the chat template cannot be read ({_said(error)}); restore a copy") from None
    if variables is None:
        return "tools" in names
    pieces, size = list[str](), 0
    try:
        for piece in template.generate(**variables):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_CHARS:
                raise DataError(f"it makes more than {MAX_CHARS:,} characters of it")
    except _RAISED as error:
        raise DataError(_said(error)) from None
    return "".join(pieces)


def _said(error: BaseException) -> str:
    said = str(error)
    return said if len(said) <= _MAX_SAID else f"{said[:_MAX_SAID]}..."


@functools.lru_cache(maxsize=8)
def _compiled(source: str) -> tuple[jinja2.Template, set[str]]:
    environment = _environment()
    return environment.from_string(source), jinja2.meta.find_undeclared_variables(environment.parse(source))


class _Generation(jinja2.ext.Extension):
    """The tag {% generation %} ... {% endgeneration %} around the assistant's words; here its body is only written."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        """Parse a generation block as its body alone, in a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


class _BoundedSandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """A sandbox whose operators and calls make nothing huge."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Apply a binary operator; refuse results of a huge size."""
        if operator == "%" and isinstance(left, (str, bytes)):
            _check_format(str(left))
        elif isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * max(right, 1) if operator == "**" else left.bit_length() + right.bit_length()
            if bits > MAX_BITS:
                raise _too_large(f"an integer of {bits:,} bits")
        elif operator == "*":
            for whole, count in ((left, right), (right, left)):
                if isinstance(count, int) and hasattr(whole, "__len__") and len(whole) * count > MAX_CHARS:
                    raise _too_large(f"something {len(whole) * count:,} long")
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function; refuse string methods that would make something huge."""
        of = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)  # the sandbox wraps str.format
        if isinstance(of, (str, bytes)):
            _check_numbers(args, kwargs)
            if getattr(__obj, "__name__", "").startswith("format"):
                _check_format(str(of))
        return super().call(__context, __obj, *args, **kwargs)


def _too_large(what: str) -> jinja2.TemplateError:
    return jinja2.TemplateRuntimeError(f"it asks for {what}, which no conversation needs")


def _check_numbers(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments that are numbers above `MAX_NUMBER`."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, (int, float)) and abs(value) > MAX_NUMBER:
            raise _too_large(f"a width or a count above {MAX_NUMBER:,}")


def _check_format(text: str) -> None:
    if _WIDE.search(text):
        raise _too_large("a format of unbounded width")


def _bound_filter(filter: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a filter so that it refuses huge numbers and formats."""

    @functools.wraps(filter)  # which keeps what Jinja notes on it: whether it wants the context
    def bounded(*args: Any, **kwargs: Any) -> Any:
        """Check the arguments, then call the filter."""
        _check_numbers(args, kwargs)
        if isinstance(args[0], str) and filter.__name__ == "do_format":
            _check_format(args[0])
        return filter(*args, **kwargs)

    return bounded


@functools.cache
def _environment() -> jinja2.Environment:
    """Build the sandboxed environment with the filters and functions of `transformers`."""
    environment = _BoundedSandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.filters |= {name: _bound_filter(environment.filters[name]) for name in _SIZED_FILTERS}
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Format a value as JSON, as the filter `tojson` of `transformers` does."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
