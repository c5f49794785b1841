"""A readable form of a single token: spaces and line breaks have signs, and parts of a character are bytes."""

from __future__ import annotations

from jielong.tokens.tokenizer import Tokenizer

_SIGNS = str.maketrans({" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"})


def visible(tokenizer: Tokenizer, id: int) -> str:
    r"""Return the text of one id. Bytes that are no whole character, as a rare one is spread over several ids, stand as
    \xe9.
    """
    return tokenizer.token_bytes(id).decode("utf-8", errors="backslashreplace").translate(_SIGNS)
