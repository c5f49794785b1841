"""Compilation of a JSON schema by `llguidance` for `grammar`, tried in a worker first.

The library limits a schema's grammar, yet one number (`multipleOf`) can keep it busy for minutes. So a schema is first
compiled in a process that can be killed, and in this process only if it stayed within the limits there.
"""

from __future__ import annotations

import functools
from typing import Any

import llguidance

_OPTIONS = {
    # room for one space, or a new line that is indented: a model may write neat JSON, and never blanks without end
    "whitespace_pattern": r"[ ]?|\n[ ]{0,16}",
    "whitespace_flexible": True,
    # what it does not know of a schema is refused and not passed over
    "lenient": False,
    "coerce_one_of": False,
}
"""They go before those that a schema may ask for itself ("x-guidance")."""


_NUM_BYTES = 256 // 8
"""Of a mask of one bit a token: those of the bytes, without that of the end."""


@functools.cache
def parser_limits() -> Any:
    """Return a parser's limits, at or below the library's own: a step takes about a second at worst."""
    return llguidance.LLParserLimits(
        max_items_in_row=2000,
        initial_lexer_fuel=500_000,
        step_lexer_fuel=100_000,
        step_max_items=20_000,
        max_lexer_states=20_000,
        max_grammar_size=100_000,
        verbose_errors=False,
    )


class _Bytes:
    """A vocabulary of single bytes and an end token: enough to check a grammar against the limits."""

    eos_token_id, bos_token_id = 256, None
    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
    special_token_ids = (256,)

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


@functools.cache
def _bytes() -> llguidance.LLTokenizer:
    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Bytes()))


def grammar_of(schema: str) -> str:
    """Return the grammar for a schema's text. Raises ValueError if it is no JSON object."""
    return str(llguidance.LLMatcher.grammar_from_json_schema(schema, overrides=_OPTIONS))  # type: ignore[arg-type]


def fault_of(schema: str) -> str:
    """Return the library's reason why a schema is unusable, "" if it is usable; the worker's function."""
    try:
        parser = llguidance.LLMatcher(_bytes(), grammar_of(schema), log_level=0, limits=parser_limits())
    except ValueError as error:
        return first_line(str(error))
    # the first step makes what the grammar leaves until it is needed
    if not parser.is_error() and not any(parser.compute_bitmask()[:_NUM_BYTES]):
        return "no JSON fits it"
    return first_line(parser.get_error())


def first_line(message: str) -> str:
    """Return the first line of the library's message; the rest shows internals."""
    return message.strip().partition("\n")[0].strip()[:300]
