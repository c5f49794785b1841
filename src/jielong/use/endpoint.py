"""The port to any server that speaks OpenAI's protocol: llama.cpp, vLLM, Ollama, one of ours, or a paid one.

`chat/completions` answers conversations, streamed where somebody watches; `completions` goes on with bare text;
`embeddings` turns texts into vectors. A server that is busy or hiccups is asked again a few times; one that refuses is
quoted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx2

from jielong.errors import DataError, ResourceError
from jielong.outside import parse_json
from jielong.records import Conversation, Message, Sampling
from jielong.use.port import Answer, Options, Usage

_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}
_PENALTIES = ("repeat_penalty", "repetition_penalty")
"""What llama.cpp and vLLM call it. It is always sent, as llama-cpp-python penalises by 1.1 where nothing is said."""


class _Refused(ResourceError):
    """The server answered with an error of its own, `said`."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


class Endpoint:
    """The model `model` behind `url`, the address that ends in /v1. Use it within one event loop, and close it."""

    def __init__(
        self, url: str, model: str = "", *, key: str = "", timeout_s: float = 600.0, retries: int = 3, at_once: int = 16
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url, self.model, self._retries = url.rstrip("/"), model, retries
        self._client = httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(timeout_s, connect=10.0))
        self._room = asyncio.Semaphore(at_once)
        self._unknown: set[str] = set()  # of _PENALTIES, what this server refuses

    @property
    def name(self) -> str:
        return f"{self.url}#{self.model}" if self.model else self.url

    async def close(self) -> None:
        await self._client.aclose()

    async def ask(self, conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        """The answer to a conversation; ResourceError when the server cannot be reached or refuses."""
        body: dict[str, Any] = {"messages": [_plain(m) for m in conversation.messages], **self._body(options)}
        if options.tools:
            body["tools"] = [{"type": "function", "function": dict(t)} for t in options.tools]
        if options.logprobs:
            body["logprobs"] = True
        start_s = time.monotonic()
        if options.on_text:
            return await self._streamed(body, options, start_s)
        data = await self._post("chat/completions", body)
        choice = _first(data, self.url)
        message = choice.get("message") or {}
        calls = _calls(message.get("tool_calls") or ())
        written = Message("assistant", message.get("content") or "", tool_calls=calls)
        return Answer(written, _usage(data, start_s), _stop(choice, calls), logprobs=_logprobs(choice))

    async def complete(self, text: str, options: Options = Options()) -> Answer:  # noqa: B008
        """A plain continuation of bare text."""
        start_s = time.monotonic()
        data = await self._post("completions", {"prompt": text, **self._body(options)})
        choice = _first(data, self.url)
        written = Message("assistant", choice.get("text") or "")
        if options.on_text:
            options.on_text(written.text)
        return Answer(written, _usage(data, start_s), _stop(choice, ()))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, in order."""
        data = await self._post("embeddings", {"input": list(texts), **({"model": self.model} if self.model else {})})
        found = sorted(data.get("data") or (), key=lambda one: one.get("index", 0))
        if len(found) != len(texts):
            raise DataError(f"{self.url} gave {len(found)} embeddings for {len(texts)} texts")
        return [[float(x) for x in one["embedding"]] for one in found]

    def _body(self, options: Options) -> dict[str, Any]:
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
        return {**body, **{name: sampling.repetition_penalty for name in _PENALTIES if name not in self._unknown}}

    async def _streamed(self, body: dict[str, Any], options: Options, start_s: float) -> Answer:
        assert options.on_text
        pieces: list[str] = []
        parts: dict[int, dict[str, str]] = {}
        logprobs: list[float] = []
        stop, usage = "", Usage()
        asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
        async for event in self._events("chat/completions", asked):
            if event.get("usage"):
                usage = _usage(event, start_s)
            for choice in event.get("choices") or ():
                logprobs += _logprobs(choice)
                delta = choice.get("delta") or {}
                if delta.get("content"):
                    pieces.append(delta["content"])
                    options.on_text(delta["content"])
                for call in delta.get("tool_calls") or ():
                    part = parts.setdefault(call.get("index", 0), {"id": "", "name": "", "arguments": ""})
                    function = call.get("function") or {}
                    part["id"] += call.get("id") or ""
                    part["name"] += function.get("name") or ""
                    part["arguments"] += function.get("arguments") or ""
                stop = choice.get("finish_reason") or stop
        calls = _calls([{"id": p["id"], "function": p} for _, p in sorted(parts.items())])
        if not usage.calls:
            usage = Usage(0, len(pieces), 0, 1, time.monotonic() - start_s)
        written = Message("assistant", "".join(pieces), tool_calls=calls)
        return Answer(written, usage, "tool_calls" if calls else stop, logprobs=tuple(logprobs))

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        async with self._opened(path, body) as response:
            try:
                return dict(parse_json((await response.aread()).decode("utf-8-sig")))
            except (DataError, ValueError, TypeError) as error:
                raise DataError(f"{self.url}/{path} did not answer with a JSON object: {error}") from error

    async def _events(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        async with self._opened(path, body) as response:
            async for line in response.aiter_lines():
                data = line.removeprefix("data:").strip()
                if not line.startswith("data:") or data == "[DONE]":
                    continue
                try:
                    yield parse_json(data)
                except DataError as error:
                    raise DataError(f"{self.url}/{path} streamed something that is no JSON: {error}") from error

    @contextlib.asynccontextmanager
    async def _opened(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
        """The response that begins well, after as many attempts as are allowed; what breaks off later is not tried again."""
        async with self._room, contextlib.AsyncExitStack() as stack:
            try:
                response = await self._answered(path, body, stack)
                yield response
            except (httpx2.TransportError, httpx2.InvalidURL) as error:
                raise ResourceError(
                    f"{self.url} cannot be reached ({type(error).__name__}: {error}); start the server, or correct the address"
                ) from error

    async def _answered(self, path: str, body: Mapping[str, Any], stack: contextlib.AsyncExitStack) -> httpx2.Response:
        """The response, if need be without the penalties that the server says it does not know.

        A penalty that was asked for must reach it under one of its names.
        """
        unknown: set[str] = set()
        while True:
            sent = {name: value for name, value in body.items() if name not in unknown}
            try:
                response = await self._tried(path, sent, stack)
            except _Refused as refusal:
                named = {name for name in _PENALTIES if name in sent and name in refusal.said}
                is_needed = any(sent[name] != 1.0 for name in named) and not (sent.keys() & set(_PENALTIES)) - named
                if not named or is_needed:
                    raise
                unknown |= named
            else:
                self._unknown |= unknown
                return response

    async def _tried(self, path: str, body: Mapping[str, Any], stack: contextlib.AsyncExitStack) -> httpx2.Response:
        for attempt in range(self._retries + 1):
            is_last = attempt == self._retries
            try:
                request = self._client.stream("POST", f"{self.url}/{path}", json=body)
                response = await stack.enter_async_context(request)
            except (httpx2.NetworkError, httpx2.RemoteProtocolError):
                if is_last:
                    raise
                await asyncio.sleep(0.2 * 2**attempt)
                continue
            if response.status_code == 200:
                return response
            text = (await response.aread()).decode(errors="replace")
            if response.status_code not in _AGAIN or is_last:
                said = text[:300].strip() or "nothing"
                raise _Refused(f"{self.url}/{path} answered {response.status_code}: {said}", text)
            await asyncio.sleep(_wait_s(response, attempt))
        raise AssertionError("the last attempt returns or raises")


def _wait_s(response: httpx2.Response, attempt: int) -> float:
    """As long as the server asks for, within reason, or longer each time."""
    try:
        return min(30.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return float(0.5 * 2**attempt)


def _plain(message: Message) -> dict[str, Any]:
    """A message as the protocol writes it; ours differ in how a tool call looks."""
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


def _calls(calls: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Tool calls as records have them; one whose arguments are no JSON object keeps them as text, for the tool to refuse."""
    found = []
    for call in calls:
        function = call.get("function") or {}
        arguments = function.get("arguments") or {}
        if isinstance(arguments, str):
            with contextlib.suppress(DataError):
                arguments = parse_json(arguments)
        if not isinstance(arguments, dict):
            arguments = {"unreadable": function.get("arguments")}
        found.append({"name": str(function.get("name")), "arguments": arguments, "id": str(call.get("id") or "")})
    return tuple(found)


def _first(data: Mapping[str, Any], url: str) -> Mapping[str, Any]:
    try:
        return dict(data["choices"][0])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{url} answered without a choice: {str(data)[:200]}") from error


def _logprobs(choice: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(float(token["logprob"]) for token in (choice.get("logprobs") or {}).get("content") or ())


def _stop(choice: Mapping[str, Any], calls: Sequence[object]) -> str:
    return "tool_calls" if calls else str(choice.get("finish_reason") or "stop")


def _usage(data: Mapping[str, Any], start_s: float) -> Usage:
    usage = data.get("usage") or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0),
        int(cached),
        1,
        time.monotonic() - start_s,
    )
