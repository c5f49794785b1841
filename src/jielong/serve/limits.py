"""Limits of requests: bounds on one request, and a queue that is bounded in work.

Work is counted in tokens that a request may write: its choices times the maximum of each, which is known beforehand. A
request beyond a bound gets a 400 that names the field. One without room in the queue gets a 429 with the seconds to
wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from jielong.errors import ConfigError
from jielong.outside import is_number, is_whole, kind_of, shorten_value
from jielong.serve.refused import Refused, refused_too_much

MAX_CHOICES = 128
MAX_STOPS = 4
"""As OpenAI's servers take."""
MAX_STOP_CHARS = 256
"""Of one: so much text may be held back while it could still become one."""
MAX_BIASES = 1024
"""Entries of logit_bias: more than anybody lists by hand, and less than a hundredth of a large vocabulary, so that to add them at
each step costs nothing. Without a bound one request could name every id."""
MAX_BIAS = 100.0
MAX_TOP_LOGPROBS = 20
MAX_MESSAGES = 2048
MAX_MESSAGE_CHARS = 2_000_000
"""Of all messages: more than any context holds. What exceeds that of the model is refused once it is counted in tokens."""
MAX_SCHEMA_BYTES = 64 << 10
MAX_SCHEMA_DEPTH = 32
MOST_WAIT_S = 600.0
_FIRST_RATE = 10.0
"""Tokens a second of one generation, until there is a measurement."""


@dataclass(frozen=True)
class Limits:
    """Bounds on all requests together, and on the work of one."""

    max_running: int = 4
    """Requests that are worked on at once."""
    max_waiting: int = 64
    max_waiting_tokens: int = 131_072
    """Of work that waits."""
    max_request_tokens: int = 32_768
    """Of one request: choices times tokens."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ConfigError(f"the limit {name} is {value}; it must be at least 1")
        if self.max_request_tokens > self.max_waiting_tokens:
            raise ConfigError(
                f"max_request_tokens is {self.max_request_tokens:,}, but at most {self.max_waiting_tokens:,} tokens may wait "
                "(max_waiting_tokens): such a request could never wait for its turn"
            )


class WorkQueue:
    """A queue that runs a limited number of requests at once, and lets a bounded number wait in order. It belongs to
    one event loop.
    """

    def __init__(self, limits: Limits | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.limits, self._now = limits or Limits(), now
        self.num_running = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._finished: deque[tuple[int, float]] = deque(maxlen=32)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def waiting_tokens(self) -> int:
        return sum(tokens for _, tokens in self._waiting)

    @contextlib.asynccontextmanager
    async def turn(self, tokens: int) -> AsyncIterator[None]:
        """Wait for a request's turn, and hold it during the block; `tokens` is its work. Raises Refused, a 429, if the
        queue is full.
        """
        await self._begin(tokens)
        begun_s = self._now()
        try:
            yield
        finally:
            self._finished.append((tokens, self._now() - begun_s))
            self._end()

    async def _begin(self, tokens: int) -> None:
        """Wait for a turn. Raises Refused if the queue is full."""
        if self.num_running < self.limits.max_running:
            assert not self._waiting
            self.num_running += 1
            return
        is_full = self.num_waiting >= self.limits.max_waiting
        if is_full or self.waiting_tokens + tokens > self.limits.max_waiting_tokens:
            raise refused_too_much(
                f"the server is busy: {self.num_running} requests are running and {self.num_waiting} are waiting; try again later",
                self.wait_s(),
                "queue_full",
            )
        mine = (asyncio.get_running_loop().create_future(), tokens)
        self._waiting.append(mine)
        try:
            await mine[0]
        except asyncio.CancelledError:
            if mine in self._waiting:
                self._waiting.remove(mine)
            elif not mine[0].cancelled():  # its turn had come in the same moment: it goes to the next one
                self._end()
            raise

    def _end(self) -> None:
        """Pass the turn to the next waiting request, or free it."""
        while self._waiting:
            waits = self._waiting.popleft()[0]
            if not waits.cancelled():
                waits.set_result(None)
                return
        self.num_running -= 1

    def wait_s(self) -> float:
        """Estimate the seconds until all waiting requests have started, from the recent rate."""
        tokens, seconds = (sum(column) for column in zip(*self._finished, strict=True)) if self._finished else (0, 0.0)
        rate = tokens / seconds if tokens and seconds > 0 else _FIRST_RATE
        return min(MOST_WAIT_S, self.waiting_tokens / (rate * self.limits.max_running))


def check_work(n: Any, max_tokens: Any, limits: Limits) -> int:
    """Return the work in tokens of a request of `n` choices of at most `max_tokens` each."""
    if not is_whole(n, 1, MAX_CHOICES):
        raise _wrong("n", n, f"a whole number from 1 to {MAX_CHOICES}")
    if not is_whole(max_tokens, 1):
        raise _wrong("max_tokens", max_tokens, "a whole number of at least 1")
    if n * max_tokens > limits.max_request_tokens:
        raise Refused(
            400,
            f"the request asks for up to {n} x {max_tokens:,} tokens; at most {limits.max_request_tokens:,} are written for one",
            param="max_tokens" if n == 1 else "n",
        )
    return int(n * max_tokens)


def check_stop(stop: Any) -> tuple[str, ...]:
    """Return the strings that end an answer, from a string, a list of them or null."""
    if stop is None:
        return ()
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > MAX_STOPS or not all(isinstance(one, str) for one in stops):
        raise _wrong("stop", stop, f"a string or a list of at most {MAX_STOPS}")
    for one in stops:
        if not 1 <= len(one) <= MAX_STOP_CHARS:
            raise _wrong("stop", one, f"1 to {MAX_STOP_CHARS} characters in each string")
    return tuple(stops)


def check_logit_bias(bias: Any, num_ids: int) -> dict[int, float]:
    """Parse `logit_bias`, an object with token ids in decimal as keys; return the biases by id."""
    if bias is None:
        return {}
    if not isinstance(bias, dict):
        raise _wrong("logit_bias", bias, "an object from token ids to numbers")
    if len(bias) > MAX_BIASES:
        raise Refused(
            400, f"logit_bias has {len(bias):,} entries; at most {MAX_BIASES:,} are taken", param="logit_bias"
        )
    found = {}
    for key, value in bias.items():
        is_id = isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) <= 9 and int(key) < num_ids
        if not is_id:
            raise _wrong("logit_bias", key, f"token ids from 0 to {num_ids - 1} as its keys")
        if not is_number(value, -MAX_BIAS, MAX_BIAS):
            raise _wrong(f"logit_bias.{key}", value, f"a number from {-MAX_BIAS:g} to {MAX_BIAS:g}")
        if int(key) in found:
            raise _wrong("logit_bias", key, "each id once")
        found[int(key)] = float(value)
    return found


def check_top_logprobs(logprobs: Any, top_logprobs: Any) -> int:
    """Return the requested number of alternatives for each token."""
    if top_logprobs is None:
        return 0
    if not is_whole(top_logprobs, 0, MAX_TOP_LOGPROBS):
        raise _wrong("top_logprobs", top_logprobs, f"a whole number from 0 to {MAX_TOP_LOGPROBS}")
    if top_logprobs and logprobs is not True:
        raise _wrong("logprobs", logprobs, "true where top_logprobs is given")
    return int(top_logprobs)


def check_messages(messages: Any) -> None:
    """Refuse too many messages, or too much text in them; each message is checked later."""
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", messages, "a list of at least one message")
    if len(messages) > MAX_MESSAGES:
        raise Refused(
            400, f"the request has {len(messages):,} messages; at most {MAX_MESSAGES:,} are read", param="messages"
        )
    num_chars = _num_chars(messages)
    if num_chars > MAX_MESSAGE_CHARS:
        raise Refused(
            400,
            f"the messages have {num_chars:,} characters; at most {MAX_MESSAGE_CHARS:,} are read",
            code="context_length_exceeded",
            param="messages",
        )


def check_schema(schema: Any, param: str = "response_format.json_schema.schema") -> str:
    """Check a JSON schema's size and depth, and return its text."""
    if not isinstance(schema, dict):
        raise _wrong(param, schema, "an object that is a JSON schema")
    depth = _depth(schema)
    if depth > MAX_SCHEMA_DEPTH:
        raise Refused(
            400, f"the schema is nested {depth} levels deep; at most {MAX_SCHEMA_DEPTH} are read", param=param
        )
    text = json.dumps(schema, ensure_ascii=False)
    size = len(text.encode("utf-8", "replace"))
    if size > MAX_SCHEMA_BYTES:
        raise Refused(400, f"the schema has {size:,} bytes; at most {MAX_SCHEMA_BYTES:,} are read", param=param)
    return text


def _wrong(param: str, value: Any, expected: str) -> Refused:
    said = shorten_value(value) if not isinstance(value, (dict, list)) else kind_of(value)
    return Refused(400, f"{param} is {said}; expected {expected}", param=param)


def _num_chars(value: Any) -> int:
    """Count the characters of all strings in a value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + _num_chars(one) for key, one in value.items())
    return sum(map(_num_chars, value)) if isinstance(value, list) else 0


def _depth(value: Any) -> int:
    """Return the depth of a value, counted without recursion: a level at a time."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, (dict, list))]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth
