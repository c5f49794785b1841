"""The connection to a server: address and key, proxies, time-outs, retries, and advice if all fails.

A busy or failing server is asked a few times over. The key goes into the request's header and nowhere else: servers'
quotations of it are taken out of every sentence. This machine itself is never reached through a proxy.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import ipaddress
import json
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2

from jielong.errors import ConfigError, JielongError, RefusedError, ResourceError, TooLongError
from jielong.use.replies import in_words, is_too_long

TIMEOUT_S = 600.0
_CONNECT_S = 10.0
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
_LONGEST_WAIT_S = 30.0
_ENDS = ("/chat/completions", "/completions", "/embeddings", "/models", "/api/chat", "/api/generate")
"""Paths that people paste behind the address of a server."""
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_KEPT_CHARS = 20_000
"""Of a body that should have been events, to say what it was."""


def clean_key(key: str, name: str = "the key") -> str:
    """Return the key without blanks around it. Raises ConfigError, which does not show it, if no header can carry
    it.
    """
    key = key.strip().strip("\ufeff").removeprefix("Bearer ").strip()
    for c in key:
        if not "!" <= c <= "~":
            kinds = {"\r": "a line break", "\n": "a line break", **dict.fromkeys("“”‘’„«»", "a curly quote")}
            kind = kinds.get(c, "a blank" if c.isspace() else "a sign that is not of ASCII")
            raise ConfigError(f"{name} is no key of a server: it holds {kind}; copy it again, without quotes")
    return key


class Connection:
    """The server at `url`. `shown_url` is its address without a password."""

    def __init__(self, url: str, key: str, timeout_s: float, retries: int, at_once: int) -> None:
        if not timeout_s > 0:
            raise ConfigError(f"the time-out is {timeout_s:g} seconds; it must be above 0")
        self._key = clean_key(key)
        address, _, query = url.strip().partition("?")
        address = address.rstrip("/")
        for end in _ENDS:
            address = address.removesuffix(end).rstrip("/")
        self.url, self._query = address, f"?{query}" if query else ""
        self._retries, self._timeout_s = retries, timeout_s
        parsed = _parse_address(self.url)
        self.shown_url = str(parsed.copy_with(username=None, password=None)) if parsed.userinfo else self.url
        self._client = _client(parsed, self._key, timeout_s)
        self._room = asyncio.Semaphore(at_once)

    async def close(self) -> None:
        await self._client.aclose()

    @contextlib.asynccontextmanager
    async def opened(self, method: str, path: str, body: Mapping[str, Any] | None) -> AsyncIterator[httpx2.Response]:
        """Open a response that begins well, after as many attempts as are allowed; a later break is not retried."""
        async with self._room, contextlib.AsyncExitStack() as stack:
            try:
                response = await self._send_with_retries(method, path, body, stack)
            except httpx2.RequestError as error:
                raise self._unreached_error(error) from error
            try:
                yield response
            except httpx2.TimeoutException as error:
                raise self._unreached_error(error) from error
            except httpx2.RequestError as error:
                raise self.broken_off(self._named(error)) from error

    async def _send_with_retries(
        self, method: str, path: str, body: Mapping[str, Any] | None, stack: contextlib.AsyncExitStack
    ) -> httpx2.Response:
        """Send a request until a response succeeds; raise the refusal or the network's error at the last attempt."""
        for attempt in range(self._retries + 1):
            is_last = attempt == self._retries
            try:
                content = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
                request = self._client.stream(method, f"{self.url}/{path}{self._query}", content=content)
                response = await stack.enter_async_context(request)
            except (httpx2.NetworkError, httpx2.RemoteProtocolError):
                if is_last:
                    raise
                await asyncio.sleep(0.2 * 2**attempt)
                continue
            if response.is_success:
                return response
            text = (await response.aread()).decode("utf-8", "replace")
            wait_s = _wait_s(response, attempt)
            if response.status_code not in _AGAIN or is_last or wait_s > _LONGEST_WAIT_S:
                raise self.refusal(response.status_code, text, path, response.headers.get("location", ""), wait_s)
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def refusal(self, status: int, body: str, path: str, location: str = "", wait_s: float = 0.0) -> JielongError:
        """Build the error for a refusal, with advice."""
        said, where = self.hide_key(in_words(body)), f"{self.shown_url}/{path}"
        if "max_tokens" in said and "too large" in said:
            return RefusedError(f"{where} answered {status}: {said}; ask for fewer tokens", body, status)
        if (is_too_long(said) and status != 429) or status == 413:
            what = "a text" if path == "embeddings" else "the prompt"
            less = "give it shorter ones" if path == "embeddings" else "say less, or start anew"
            return TooLongError(f"{where} says that {what} is too long for it: {said}; {less}")
        answered = f"answered {status}" if status != 200 else "reports an error"
        hint = ""
        if status in (401, 403):
            hint = (
                "; put a key of this server into JIELONG_API_KEY" if not self._key else "; is it a key of this server?"
            )
        elif 300 <= status < 400:
            to = self.hide_key(location.removesuffix(f"/{path}"))
            said = f"it has moved to {to}" if to else said
            hint = "; use that address" if to else ""
        elif status == 404 and "model" in said.lower():
            hint = f"; list its models with: jielong models {self.shown_url}"
        elif status in (404, 405):
            hint = f"; {self.with_v1() or 'is the address right, and does the server offer this?'}"
        elif status == 429:
            hint = "; wait a while, or ask less at once"
        elif status == 200 and not self.url.endswith("/v1") and "endpoint" in said.lower():
            hint = f"; {self.with_v1()}"
        if wait_s > _LONGEST_WAIT_S:
            hint = f"; it asks to wait {wait_s:,.0f} s"
        return RefusedError(f"{where} {answered}: {said}{hint}", body, status)

    def _named(self, error: Exception) -> str:
        return self.hide_key(f"{type(error).__name__}: {error}".rstrip(": "))

    def broken_off(self, why: str, where: str = "") -> ResourceError:
        """Build the error for an answer that ended too early; `where` says how far it came."""
        return ResourceError(f"{self.shown_url} broke off its answer{where} ({why}); ask again")

    def _unreached_error(self, error: httpx2.RequestError) -> ResourceError:
        """Build the error for a server that cannot be reached, with advice by its cause."""
        url, why = self.shown_url, self._named(error)
        if isinstance(error, httpx2.RemoteProtocolError):
            return ResourceError(f"{url} is there but gives no answer in HTTP ({why}); is it the right port?")
        if isinstance(error, httpx2.ConnectTimeout):
            return ResourceError(
                f"{url} cannot be reached within {min(_CONNECT_S, self._timeout_s):g} s; is the address right, and the server on?"
            )
        if isinstance(error, httpx2.TimeoutException):
            return ResourceError(
                f"{url} was silent for {self._timeout_s:g} s; give it a longer timeout, or ask for fewer tokens"
            )
        if isinstance(error, httpx2.ProxyError) or "socks" in why.lower():
            named = ", ".join(_proxies_set()) or "the proxy"
            return ResourceError(
                f"{url} cannot be reached through {named} ({why}); correct it, or put the host into NO_PROXY"
            )
        if "SSL" in why and url.startswith("https://"):
            return ResourceError(f"{url} cannot be reached safely ({why}); if it speaks plain http, write http://")
        proxies = [] if _is_here(httpx2.URL(self.url).host) else _proxies_set()
        through = f" through the proxy of {', '.join(proxies)}" if proxies else ""
        return ResourceError(f"{url} cannot be reached{through} ({why}); start the server, or correct the address")

    def with_v1(self) -> str:
        """Return a hint to the address that was probably meant, or "" if it ends in /v1 already."""
        return "" if self.url.endswith("/v1") else f"try {self.shown_url.removesuffix('/api')}/v1"

    def hide_key(self, text: str) -> str:
        """Return the text without the key, which servers like to quote."""
        return text.replace(self._key, "[key]") if len(self._key) > 3 else text


class Heard:
    """A response for `httpx2.EventSource`: decoded as UTF-8, its last event ended, its beginning kept."""

    def __init__(self, response: httpx2.Response) -> None:
        self.request = response.request
        self.headers = {"content-type": "text/event-stream"}
        self.begun = ""
        self.num_events = 0
        self.is_over = False
        self._chunks = response.aiter_bytes()
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")

    async def is_whole(self) -> bool:
        """Whether the response is one body and no stream of events, by how it begins: headers are often wrong."""
        async for chunk in self._chunks:
            self.begun += self._decoder.decode(chunk)
            if self.begun.strip():
                break
        return self.begun.lstrip()[:1] in ("{", "[", "<")

    async def read(self) -> str:
        """Read the whole response as text."""
        async for chunk in self._chunks:
            self.begun += self._decoder.decode(chunk)
        return self.begun + self._decoder.decode(b"", final=True)

    async def aiter_text(self) -> AsyncIterator[str]:
        """Yield the text piece by piece, and keep its beginning."""
        yield self.begun
        async for chunk in self._chunks:
            text = self._decoder.decode(chunk)
            if not self.num_events:
                self.begun = (self.begun + text)[:_KEPT_CHARS]
            yield text
        self.is_over = True
        yield self._decoder.decode(b"", final=True) + "\n\n"


def _parse_address(url: str) -> httpx2.URL:
    """Parse a server's address. Raises ConfigError if it is none."""
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise ConfigError(f"{url!r} is no address of a server ({error}); expected http://HOST:PORT/v1#MODEL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or not 0 < (parsed.port or 80) < 65536:
        raise ConfigError(f"{url!r} is no address of a server; expected http://HOST:PORT/v1#MODEL")
    return parsed


def _client(url: httpx2.URL, key: str, timeout_s: float) -> httpx2.AsyncClient:
    """Make the HTTP client; without proxies for this machine."""
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
    try:
        return httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=not _is_here(url.host))
    except ImportError:
        named = ", ".join(_proxies_set())
        raise ConfigError(f"{named} names a SOCKS proxy, which needs: pip install 'jielong[socks]'") from None
    except (ValueError, httpx2.InvalidURL) as error:
        named = ", ".join(_proxies_set()) or "the environment"
        raise ConfigError(
            f"the proxy of {named} cannot be used ({error}); expected http://HOST:PORT or socks5://HOST:PORT"
        ) from None


def _is_here(host: str) -> bool:
    """Whether a host is this machine."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _proxies_set() -> list[str]:
    return [name for upper in _PROXIES for name in (upper, upper.lower()) if os.environ.get(name)]


def _wait_s(response: httpx2.Response, attempt: int) -> float:
    """Return the seconds to wait: as the server asks, or longer each time."""
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return float(0.5 * 2**attempt)
