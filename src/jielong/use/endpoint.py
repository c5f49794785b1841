"""The port to any server that speaks OpenAI's protocol: llama.cpp, vLLM, Ollama, one of ours, or a paid one.

`chat/completions` answers conversations, streamed if somebody watches; `completions` continues bare text; `embeddings`
turns texts into vectors; `models` lists the models. `connection` asks, and `replies` reads the responses: a failure is
an error and never looks like an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import httpx2

from jielong.errors import DataError, RefusedError, ResourceError
from jielong.outside import parse_json
from jielong.records import Conversation, Message, Sampling
from jielong.tokens.tokenizer import estimate_tokens
from jielong.use.connection import TIMEOUT_S, Connection, Heard
from jielong.use.port import Answer, Options, Usage
from jielong.use.replies import ErrorInside, Reply, in_words, is_page, models_in, vectors_in
from jielong.use.thoughts import ThoughtSplitter, split_thoughts

_AFTER_END_S = 5.0
_MAX_EVENT_BYTES = 64 << 20
_OPTIONAL = ("seed", "stream_options", "temperature")
"""Fields that some servers refuse and answer well without."""
_PENALTIES = ("repeat_penalty", "repetition_penalty")
"""The names that llama.cpp and vLLM have for the repetition penalty. Always sent: llama-cpp-python uses 1.1 where nothing is
said."""


class Endpoint:
    """The model `model` behind `url`, the address that ends in /v1. Use it within one event loop, and close it."""

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        key: str = "",
        timeout_s: float = TIMEOUT_S,
        retries: int = 3,
        at_once: int = 16,
    ) -> None:
        self.model = model
        self._server = Connection(url, key, timeout_s, retries, at_once)
        self._unknown: set[str] = set()  # of what is optional, what this server refuses
        self._renamed: dict[str, str] = {}

    @property
    def name(self) -> str:
        return f"{self._server.shown_url}#{self.model}" if self.model else self._server.shown_url

    async def close(self) -> None:
        await self._server.close()

    async def ask(self, conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        """Answer a conversation.

        Raises TooLongError if it does not fit, ResourceError if the server cannot be reached, refuses or breaks off,
        DataError if its response is no answer.
        """
        body: dict[str, Any] = {"messages": [_wire_message(m) for m in conversation.messages], **self._body(options)}
        if options.tools:
            body["tools"] = [{"type": "function", "function": dict(t)} for t in options.tools]
        if options.logprobs:
            body["logprobs"] = True
        if options.on_text or options.on_thought:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        start_s = time.monotonic()
        reply = await self._read_reply("chat/completions", body, options)
        prompt = "\n".join(m.text for m in conversation.messages)
        return self._answer(reply, prompt, start_s)

    async def complete(self, text: str, options: Options = Options()) -> Answer:  # noqa: B008
        """Continue bare text."""
        start_s = time.monotonic()
        reply = await self._read_reply("completions", {"prompt": text, **self._body(options)}, options)
        return self._answer(reply, text, start_s)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text, in order."""
        body = {"input": list(texts), **({"model": self.model} if self.model else {})}
        data = await self._request_json("POST", "embeddings", body)
        with self._name_address_in_errors("embeddings"):
            return vectors_in(data, len(texts))

    async def models(self) -> list[str]:
        """Return the names of the models that the server lists."""
        data = await self._request_json("GET", "models", None)
        with self._name_address_in_errors("models"):
            return models_in(data)

    def _body(self, options: Options) -> dict[str, Any]:
        """Build the request's body from options; fields that not every server knows are sent only if asked for."""
        sampling, off = options.sampling, Sampling()
        body: dict[str, Any] = {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": options.seed & 0x7FFFFFFF,
        }
        if self.model:
            body["model"] = self.model
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        # what not every server knows is sent only where it is asked for
        for name in ("top_p", "top_k", "min_p"):
            if getattr(sampling, name) != getattr(off, name):
                body[name] = getattr(sampling, name)
        return {**body, **dict.fromkeys(_PENALTIES, sampling.repetition_penalty)}

    # --- reading what comes back

    @contextlib.contextmanager
    def _name_address_in_errors(self, path: str) -> Any:
        """Turn errors of `replies` into sentences that name the address."""
        try:
            yield
        except ErrorInside as error:
            raise self._server.refusal(200, str(error), path) from None
        except DataError as error:
            raise DataError(self._server.hide_key(f"{self._server.shown_url}/{path} sent no answer: {error}")) from None

    def _answer(self, reply: Reply, prompt: str, start_s: float) -> Answer:
        """Build the answer from a reply, estimating the tokens if the server does not count them."""
        thoughts, text = ("", reply.text) if reply.thoughts else split_thoughts(reply.text)
        thoughts = "\n".join(filter(None, (reply.thoughts.strip(), thoughts)))
        calls = reply.calls
        stop = "tool_calls" if calls else reply.stop or "stop"
        if reply.refusal and not text.strip():
            text, stop = reply.refusal, "refusal"
        said = reply.tokens
        is_estimated = said.prompt is None or said.completion is None or not (said.prompt or said.completion)
        if is_estimated:
            calls_said = "".join(json.dumps(dict(c), ensure_ascii=False) for c in calls)
            written = estimate_tokens(f"{reply.text}{reply.thoughts}{calls_said}")
            said = replace(said, prompt=said.prompt or estimate_tokens(prompt), completion=said.completion or written)
        usage = Usage(said.prompt or 0, said.completion or 0, said.cached, 1, time.monotonic() - start_s, is_estimated)
        message = Message("assistant", text, tool_calls=calls)
        return Answer(message, usage, stop, logprobs=reply.logprobs or (), thoughts=thoughts)

    async def _read_reply(self, path: str, body: Mapping[str, Any], options: Options) -> Reply:
        """Read the reply, passing on its text as it comes. The server decides whether it is streamed or whole."""
        reply, told = Reply(), ThoughtSplitter(options.on_text, options.on_thought)

        def tell(event: Any) -> None:
            """Add an event to the reply and pass on its text and thoughts."""
            text, thoughts = reply.add(event)
            if thoughts and options.on_thought:
                options.on_thought(thoughts)
            told.push(text)

        async with self._open_response("POST", path, body) as response:
            heard = Heard(response)
            is_whole = await heard.is_whole()
            try:
                if not is_whole:
                    await self._read_events(heard, tell, reply, path)
            except (httpx2.NetworkError, httpx2.RemoteProtocolError, TimeoutError) as error:
                if not reply.is_over:  # what was said to be over is whole, however the connection ends
                    raise self._broken_off(reply, type(error).__name__) from error
            if is_whole or not (reply.has_choice or reply.is_over or heard.num_events):
                for data in self._parse_bodies(await heard.read() if is_whole else heard.begun, path):
                    with self._name_address_in_errors(path):
                        tell(data)
                reply.is_over = True
        told.finish()
        if not reply.is_over:
            raise self._broken_off(reply, "it ended without saying that it was done")
        if not reply.has_choice:
            raise DataError(f"{self._server.shown_url}/{path} sent no answer: there was no choice in it")
        return reply

    async def _read_events(self, heard: Heard, tell: Any, reply: Reply, path: str) -> None:
        """Read the stream of events until it is over."""
        events = aiter(httpx2.EventSource(cast(httpx2.Response, heard), max_event_size=_MAX_EVENT_BYTES))
        while True:
            # what it cost may follow the end of an answer, but not for ever
            event = await asyncio.wait_for(anext(events, None), _AFTER_END_S if reply.is_over else None)
            if event is None:
                return
            heard.num_events += 1
            data = event.data.strip()
            if data == "[DONE]":
                reply.is_over = True
                return
            if not data:
                continue
            with self._name_address_in_errors(path):
                try:
                    found = parse_json(data)
                except DataError as error:
                    if event.event == "error":
                        raise ErrorInside(data) from None
                    if heard.is_over and data.startswith("{"):
                        raise self._broken_off(reply, "in the middle of an event") from None
                    raise DataError(f"an event of its stream is {error}: {data[:60]}") from None
                if event.event == "error":
                    raise ErrorInside(in_words(data))
                tell(found)

    def _broken_off(self, reply: Reply, why: str) -> ResourceError:
        num = len(reply.text)
        return self._server.broken_off(why, f" after {num:,} character{'s' * (num != 1)}")

    def _parse_bodies(self, body: str, path: str) -> list[Any]:
        """Parse a whole body as one JSON value, or as one value a line if each line is an object."""
        lines = [line for line in body.splitlines() if line.strip()]
        if len(lines) > 1 and all(line.startswith("{") and line.rstrip().endswith("}") for line in lines):
            return [self._parse_json(line, path) for line in lines]
        return [self._parse_json(body, path)]

    def _parse_json(self, body: str, path: str) -> Any:
        """Parse the JSON of a whole body. Raises DataError, which says what it is instead, and what to try."""
        try:
            return parse_json(body.removeprefix("\ufeff"))
        except DataError as error:
            where = f"{self._server.shown_url}/{path}"
            if is_page(body):
                hint = self._server.with_v1() or "is the address that of the server's API?"
                said = self._server.hide_key(in_words(body, 80))
                raise DataError(f"{where} answered with a web page ({said}) and not with JSON; {hint}") from None
            if body.lstrip()[:1] in ("{", "["):
                raise DataError(f"{where} did not answer with JSON: {error}") from None
            raise DataError(
                f"{where} did not answer with JSON but with {self._server.hide_key(in_words(body, 80))}"
            ) from None

    async def _request_json(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        """Send a request and parse the JSON of its response."""
        async with self._open_response(method, path, body) as response:
            text = (await response.aread()).decode("utf-8", "replace")
        return self._parse_json(text, path)

    @contextlib.asynccontextmanager
    async def _open_response(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> AsyncIterator[httpx2.Response]:
        """Open a response, if need be again without a field that the server refuses, or with its name for it.

        A penalty that was asked for must reach it under one of its names.
        """
        unknown, renamed = set(self._unknown), dict(self._renamed)
        async with contextlib.AsyncExitStack() as stack:
            while True:
                sent = None if body is None else {renamed.get(n, n): v for n, v in body.items() if n not in unknown}
                try:
                    response = await stack.enter_async_context(self._server.opened(method, path, sent))
                    break
                except RefusedError as refusal:
                    known = sent or {}
                    if "max_completion_tokens" in refusal.said and "max_tokens" in known:
                        renamed["max_tokens"] = "max_completion_tokens"
                        continue
                    named = {
                        n for n in (*_PENALTIES, *_OPTIONAL) if n in known and re.search(rf"\b{n}\b", refusal.said)
                    }
                    penalties = named & set(_PENALTIES)
                    is_needed = any(known[n] != 1.0 for n in penalties) and not (known.keys() & set(_PENALTIES)) - named
                    if not named or is_needed or not refusal.is_about_request:
                        raise
                    unknown |= named
            self._unknown, self._renamed = unknown, renamed
            yield response


def _wire_message(message: Message) -> dict[str, Any]:
    """Convert a message to the protocol's form, which writes tool calls in another way."""
    plain: dict[str, Any] = {"role": message.role, "content": message.text}
    if not isinstance(message.content, str):
        plain["content"] = [dict(part) for part in message.content]
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": str(call.get("id") or f"call_{number}"),
                "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call.get("arguments") or {})},
            }
            for number, call in enumerate(message.tool_calls)
        ]
    if message.role == "tool":
        plain["tool_call_id"] = message.tool_call_id or "call_0"
    if message.name:
        plain["name"] = message.name
    return plain
