"""Constrained generation of JSON: at each step only ids that can still lead to an answer of the schema are allowed.

`response_format` of OpenAI's protocol becomes a `Grammar`, compiled once for a schema and a model. Each answer then has
a `Matcher`, which is the engine's hook `allowed`: it maps the ids written so far to a mask over the vocabulary. It
follows the answer as it grows, and rolls back when the ids are shorter or different.
"""
# V ids of the model, which may be more than those of its tokenizer.

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import llguidance
import numpy as np
from numpy.typing import NDArray

from jielong.errors import LimitError
from jielong.outside import shorten_value
from jielong.outside.worker import Worker
from jielong.serve.limits import check_schema
from jielong.serve.refused import Refused
from jielong.serve.schemas import first_line, grammar_of, parser_limits
from jielong.tokens.tokenizer import Tokenizer

COMPILE_S = 2.0
COMPILE_BYTES = 256 << 20
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KINDS = ("text", "json_object", "json_schema")
_SCHEMA = "response_format.json_schema.schema"


def read_format(response_format: Any) -> str | None:
    """Return the text of the schema that an answer must fit, or None if any text is allowed. Raises Refused for unknown
    formats.
    """
    if response_format is None:
        return None
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind not in _KINDS:
        raise _refused(
            f"response_format has type {shorten_value(kind)}; expected one of {', '.join(_KINDS)}",
            "response_format.type",
        )
    if kind != "json_schema":
        return '{"type": "object"}' if kind == "json_object" else None
    given = response_format.get("json_schema")
    if not isinstance(given, dict):
        raise _refused(
            f"json_schema is {shorten_value(given)}; expected an object with a name and a schema",
            "response_format.json_schema",
        )
    name, strict = given.get("name"), given.get("strict")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _refused(
            f"the schema's name is {shorten_value(name)}; expected 1 to 64 letters, digits, _ or -",
            "response_format.json_schema.name",
        )
    if strict not in (None, True, False):
        raise _refused(
            f"strict is {shorten_value(strict)}; expected true or false", "response_format.json_schema.strict"
        )
    # without "strict" a server may let a part of the schema pass; this one keeps all of it or refuses it
    return check_schema(given.get("schema"), _SCHEMA)


@dataclass(frozen=True)
class Grammar:
    """A schema compiled for a tokenizer of `num_words` ids, and a model of V = `num_ids` ids."""

    root: llguidance.LLMatcher
    num_words: int
    num_ids: int
    stop_ids: tuple[int, ...]

    def matcher(self) -> Matcher:
        """Make the hook for one answer."""
        return Matcher(self)


@functools.lru_cache(maxsize=8)
def compile_schema(schema: str, tokenizer: Tokenizer, num_ids: int) -> Grammar:
    """Compile a JSON schema, given as text, to a grammar for decoding. Raises Refused (400, with the reason) if the
    schema cannot be used.

    It takes milliseconds, seconds at worst, so a server calls it in a thread. The last few grammars are cached.
    """
    fault = _fault_of(schema)
    if fault:
        raise _refused(f"the schema cannot be used: {fault}", _SCHEMA)
    root = llguidance.LLMatcher(
        _vocabulary(tokenizer, num_ids), grammar_of(schema), log_level=0, limits=parser_limits()
    )
    if root.is_error():
        raise _refused(f"the schema cannot be used: {first_line(root.get_error())}", _SCHEMA)
    return Grammar(root, tokenizer.vocab_size, num_ids, tuple(id for id in tokenizer.stop_ids if id < num_ids))


@functools.lru_cache(maxsize=64)
def _fault_of(schema: str) -> str:
    """Return a worker's reason why a schema is unusable; cached, so that a repeated bad schema cannot keep the server
    busy.
    """
    with _ONE_AT_A_TIME:
        try:
            return str(_WORKER.call(schema))
        except LimitError as error:
            return f"it is too complex, compiling it {error.reason}"


class Matcher:
    """The mask for each step of one answer: `matcher(written)` is (V,) bool, true for ids that can come next.

    A stop id is allowed exactly when the JSON is complete. If the ids so far fit no answer, as a draft's may, or if the
    parser exceeds its limits, only the stop ids are allowed. `error` then names the limit, and the answer is no JSON.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._grammar, self._parser = grammar, grammar.root.deep_copy()
        self._seen: list[int] = []
        self._stops = np.array(grammar.stop_ids, np.int64)
        self.error = ""

    def __call__(self, written: Sequence[int]) -> NDArray[np.bool_]:
        mask = np.zeros(self._grammar.num_ids, np.bool_)
        is_complete = True
        if self._advance_parser(written):
            bits = np.frombuffer(self._parser.compute_bitmask(), np.uint8)
            # a parser beyond its limits is stopped too, as one is that has read a whole answer
            self.error = first_line(self._parser.get_error())
            if not self.error:
                mask |= np.unpackbits(bits, count=len(mask), bitorder="little").view(np.bool_)
                is_complete = self._parser.is_accepting()
        mask[self._stops] = is_complete
        return mask

    def _advance_parser(self, written: Sequence[int]) -> bool:
        """Advance the parser to the end of `written`. Returns False if it cannot get there, or if one of the ids is a
        stop id or unknown.
        """
        if self.error:
            return False
        ids = list(map(int, written))
        if ids[: len(self._seen)] != self._seen:
            num_same = next((n for n, (a, b) in enumerate(zip(ids, self._seen, strict=False)) if a != b), len(ids))
            self._parser.rollback(len(self._seen) - num_same)
            del self._seen[num_same:]
        new = ids[len(self._seen) :]
        # neither is for the parser: an end, after which nothing comes, and what it calls an error of the program
        if any(id in self._grammar.stop_ids or not 0 <= id < self._grammar.num_words for id in new):
            return False
        num_fitting = self._parser.try_consume_tokens(new)
        self._seen += new[:num_fitting]
        self.error = first_line(self._parser.get_error())
        return num_fitting == len(new) and not self.error


class _Words:
    """The vocabulary in `llguidance`'s form, with an encoder for text that the grammar forces."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = tokenizer.stop_ids[0]
        self.tokens = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]
        self.special_token_ids = [id for id in range(tokenizer.vocab_size) if tokenizer.is_special(id)]
        self._longest = max(map(len, self.tokens))
        self._id_of = {word: id for id, word in enumerate(self.tokens) if not tokenizer.is_special(id)}

    def __call__(self, text: str | bytes) -> list[int]:
        raw = text if isinstance(text, bytes) else text.encode()
        ids = self._tokenizer.encode(raw.decode())
        # some tokenizers begin every text with a space of their own
        return ids if self._tokenizer.decode_bytes(ids) == raw else self._greedy(raw)

    def _greedy(self, raw: bytes) -> list[int]:
        """Encode bytes greedily into the longest known tokens."""
        ids, at = list[int](), 0
        while at < len(raw):
            ends = range(min(len(raw), at + self._longest), at, -1)
            end = next((end for end in ends if raw[at:end] in self._id_of), None)
            if end is None:  # then it lacks this byte, and nothing that is forced can be written
                break
            ids.append(self._id_of[raw[at:end]])
            at = end
        return ids


@functools.lru_cache(maxsize=4)
def _vocabulary(tokenizer: Tokenizer, num_ids: int) -> llguidance.LLTokenizer:
    """Build the vocabulary once for a model: of 150,000 ids it takes a second."""
    words = llguidance.TokenizerWrapper(_Words(tokenizer))
    num_ids = max(num_ids, tokenizer.vocab_size)
    return llguidance.LLTokenizer(words, n_vocab=num_ids, eos_token=list(tokenizer.stop_ids))


def _refused(message: str, param: str) -> Refused:
    return Refused(400, message, code="invalid_json_schema" if param == _SCHEMA else None, param=param)


_ONE_AT_A_TIME = threading.Lock()
_WORKER = Worker("jielong.serve.schemas:fault_of", limit_s=COMPILE_S, memory_bytes=COMPILE_BYTES)
