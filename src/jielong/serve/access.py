"""Access control: the server's address, host names and key, sessions of the page, and the guard around all requests.

Three attackers are kept out. Another site in the same browser is recognised by its Origin and lacks the token (CSRF). A
host name that is redirected to this machine after its page was loaded is recognised by the Host header (DNS rebinding).
A remote client lacks the key; without a key the server listens only to this machine. A path is closed unless it is
listed as open, so a new route is safe by default.
"""

from __future__ import annotations

import ipaddress
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jielong.errors import ConfigError
from jielong.outside import read_text
from jielong.serve.bounds import Body, Bounds, Event, Receive, Scope, Send
from jielong.serve.refused import Refused, refused_too_much
from jielong.serve.sessions import LIFETIME_S, Attempts, Sessions, is_same

KEY_VARIABLE = "JIELONG_SERVE_KEY"
MIN_KEY_CHARS, MAX_KEY_CHARS = 16, 512
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]{0,250}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?")
_SAFE_METHODS = ("GET", "HEAD")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""Content-Security-Policy of a report: it has styles and drawings of its own, no script, and is shown in a frame of the page."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(frozen=True)
class Access:
    """The address of the server, its other host names, and its key ("" for no key).

    Raises ConfigError if it would listen to other machines without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise ConfigError(f"the port is {self.port}; it must be from 1 to 65535")
        for name in (_bracketed(self.host), *self.names):
            if not _NAME.fullmatch(name.lower()):
                raise ConfigError(f"{name!r} is no name or address of a server; expected one such as chat.example.org")
        if not self.is_loopback and not self.key:
            raise ConfigError(
                f"the server would listen to other machines on {self.host} and needs a key: set {KEY_VARIABLE}, or listen on "
                "127.0.0.1"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host == "localhost" or (_is_address(self.host) and ipaddress.ip_address(self.host).is_loopback)

    @property
    def hosts(self) -> frozenset[str]:
        """Return the allowed values of a request's Host header."""
        own = {*_LOOPBACK_NAMES, _bracketed(self.host).lower()} - {"0.0.0.0", "[::]"}
        with_port = {f"{name}:{self.port}" for name in own}
        bare = own if self.port in (80, 443) else set()
        # a proxy in front of it has a port of its own, which browsers leave out where it is the usual one
        named = {form for name in map(str.lower, self.names) for form in (name, _with_port(name, self.port))}
        return frozenset(with_port | bare | named)


def read_key(file: Path | str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Read the server's key from a file, or else from JIELONG_SERVE_KEY. Returns "" if neither is given.

    Raises ConfigError for a key that no header can carry or that is easy to guess; the error never shows the key.
    """
    if file is None:
        environ = os.environ if environ is None else environ
        if KEY_VARIABLE not in environ:
            return ""
        where, key = KEY_VARIABLE, environ[KEY_VARIABLE].strip()
    else:
        path = Path(file)
        if not path.is_file():
            raise ConfigError(f"{path} does not exist; expected a file that holds the key of the server")
        where, key = str(path), read_text(path).strip()
    if not MIN_KEY_CHARS <= len(key) <= MAX_KEY_CHARS:
        raise ConfigError(
            f"the key in {where} has {len(key)} characters; it needs {MIN_KEY_CHARS} to {MAX_KEY_CHARS}: take the output of "
            "`openssl rand -hex 32`"
        )
    if not all("!" <= c <= "~" for c in key):
        raise ConfigError(f"the key in {where} holds blanks or signs that are not of ASCII; no header can carry it")
    return key


@dataclass(frozen=True)
class Ticket:
    """The page's credentials: its token ("" before login), and the value of a Set-Cookie header ("" if none is needed)."""

    csrf: str = field(repr=False)
    set_cookie: str = field(default="", repr=False)


class Gate:
    """A gate that checks requests and opens sessions. A scope is an ASGI scope, or a `Request` of starlette."""

    def __init__(self, access: Access, now: Callable[[], float] = time.monotonic) -> None:
        self.access = access
        self.sessions, self._attempts = Sessions(now), Attempts(now)
        # cookies know no ports: two servers on one machine would take each other's
        self.cookie = f"jielong_{access.port}"
        self._hosts = access.hosts

    def check(self, scope: Scope) -> None:
        """Raise Refused for a request that is not allowed."""
        path, method = scope["path"], scope["method"]
        host = self._checked_host(scope)
        self._check_origin(scope, host)
        if _is_open(path) or path == "/health":
            return
        if path in ("/metrics", "/openapi.json") or path.startswith("/v1/"):
            self._check_bearer(scope)
        elif (path, method) != ("/api/login", "POST"):
            self._check_session(scope)

    def session_for(self, scope: Scope) -> Ticket:
        """Return the page's ticket: that of its session, or of a new session if no key is needed."""
        session = self._session_of_cookie(scope)
        if session:
            return Ticket(self.sessions.token(session))
        return Ticket("") if self.access.key else self._open_session(scope)

    def log_in(self, scope: Scope, key: str) -> Ticket:
        """Return a ticket for the right key. Raises Refused for a wrong key, and for a while after several wrong
        ones.
        """
        address = (scope.get("client") or ("",))[0]
        wait_s = self._attempts.wait_s(address)
        if wait_s > 0:
            raise refused_too_much("too many wrong keys were given; wait a minute and try again", wait_s, "login")
        if self.access.key and not is_same(self.access.key, key):
            self._attempts.fail(address)
            raise Refused(401, "this is not the key of this server", "invalid_request_error", "login", "key")
        return self._open_session(scope)

    def _open_session(self, scope: Scope) -> Ticket:
        """Open a session and return its ticket."""
        session = self.sessions.open()
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{self.cookie}={session}; Path=/; Max-Age={LIFETIME_S:.0f}; HttpOnly; SameSite=Strict{secure}"
        return Ticket(self.sessions.token(session), cookie)

    def _session_of_cookie(self, scope: Scope) -> str:
        """Return the open session of a request's cookie; "" without one."""
        # read by hand: the standard library stops at the first odd cookie, and other servers of this machine set some
        for header in _values(scope, b"cookie"):
            for pair in header.split(";"):
                name, _, value = pair.strip().partition("=")
                if name == self.cookie and self.sessions.is_open(value):
                    return value
        return ""

    def _checked_host(self, scope: Scope) -> str:
        """Return the request's Host. Raises Refused if it is not one of the server's names."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1:
            raise Refused(400, f"the request has {len(hosts)} Host headers; expected one", code="host")
        if hosts[0].lower() not in self._hosts:
            raise Refused(
                421,
                f"this server is not {hosts[0][:100]!r}; start it with --hostname to serve it by that name",
                code="host",
            )
        return hosts[0].lower()

    def _check_origin(self, scope: Scope, host: str) -> None:
        """Refuse requests from other origins, except to open the page."""
        origins = _values(scope, b"origin")
        if any(not _is_own(origin, scope.get("scheme", "http"), host) for origin in origins):
            raise Refused(403, f"pages of {origins[0][:100]!r} may not send requests to this server", code="origin")
        is_bound = scope["method"] not in _SAFE_METHODS or not _is_open(scope["path"])
        # "same-site" is no friend: all ports of localhost are one site
        sites = _values(scope, b"sec-fetch-site")
        if is_bound and any(site not in ("same-origin", "none") for site in sites):
            raise Refused(403, f"a page of another origin ({sites[0][:20]}) may not send this request", code="origin")

    def _check_bearer(self, scope: Scope) -> None:
        """Refuse an API request that has neither the key nor a session of the page."""
        if not self.access.key:
            return
        given = _values(scope, b"authorization")
        kind, _, key = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if kind.lower() == "bearer" and is_same(self.access.key, key.strip()):
            return
        comes_from_page = "same-origin" in _values(scope, b"sec-fetch-site") or bool(_values(scope, b"origin"))
        if not given and comes_from_page and self._session_of_cookie(scope):
            return
        raise Refused(
            401,
            "this server needs its key: send it as `Authorization: Bearer KEY`"
            if not given
            else "this key is not right",
            "invalid_request_error",
            "invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _check_session(self, scope: Scope) -> None:
        """Refuse a page request without a session, or one that writes without the token."""
        session = self._session_of_cookie(scope)
        if not session:
            if self.access.key:
                raise Refused(401, "log in with the key of this server", code="login")
            raise Refused(401, "the session of this page has ended; load the page anew", code="session")
        if scope["method"] not in _SAFE_METHODS:
            tokens = _values(scope, b"x-csrf-token")
            if len(tokens) != 1 or not self.sessions.is_token(session, tokens[0]):
                raise Refused(
                    403, "the request lacks the token of this page (X-CSRF-Token); load the page anew", code="csrf"
                )


class Guard:
    """An ASGI wrapper: each request is checked and bounded before the app sees it, each response gets its headers."""

    def __init__(self, app: Callable[[Any, Receive, Send], Any], gate: Gate, bounds: Bounds | None = None) -> None:
        self.app, self.gate, self.bounds = app, gate, bounds or Bounds()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._guarded(scope, receive, send)
        else:  # nothing here speaks over web sockets, to which browsers apply no policy
            await send({"type": "websocket.close", "code": 1008})

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, pass it on, and turn refusals into responses."""
        body = Body(receive, self.bounds.limit_of(scope["path"]), self.bounds)
        has_begun = False

        async def sent(event: Event) -> None:
            """Send an event of the app with our headers, unless the body was refused."""
            nonlocal has_begun
            if body.refused and not has_begun:
                return  # it is what the app made of the refusal
            if event["type"] == "http.response.start":
                has_begun = True
                event = {**event, "headers": _with_headers(event.get("headers", ()), scope["path"])}
            await send(event)

        async def refuse(refused: Refused) -> None:
            """Send a refusal as the response."""
            said = refused.body()
            headers = {"Content-Type": "application/json", "Content-Length": str(len(said)), **refused.headers}
            raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            raw = _with_headers(raw, scope["path"])
            await send({"type": "http.response.start", "status": refused.status, "headers": raw})
            await send({"type": "http.response.body", "body": said})

        try:
            self.bounds.check_head(scope)
            self.gate.check(scope)
        except Refused as refused:
            await refuse(refused)
            return
        try:
            await self.app(scope, body.receive, sent)
        except Exception:
            if not body.refused:
                raise
        if body.refused and not has_begun:
            await refuse(body.refused)


def _with_headers(headers: Any, path: str) -> list[tuple[bytes, bytes]]:
    """Replace a response's headers by our security headers; keep its own policy and, on the page, its caching."""
    fixed = dict(_HEADERS)
    if not _is_open(path):
        fixed["Cache-Control"] = "no-store"
    names = {name.lower() for name in fixed}
    kept = [(name, value) for name, value in headers if name.decode("latin-1").lower() not in names]
    if not any(name.lower() == b"content-security-policy" for name, _ in kept):
        fixed["Content-Security-Policy"] = PAGE_POLICY
    return kept + [(name.lower().encode(), value.encode()) for name, value in fixed.items()]


def _is_open(path: str) -> bool:
    """Whether a path needs no credentials: the page's own files, which hold no data."""
    return path in ("/", "/favicon.ico") or path.startswith("/page/")


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]


def _is_own(origin: str, scheme: str, host: str) -> bool:
    # a proxy in front may speak https where we speak http
    return origin.lower() in (f"{scheme}://{host}", f"https://{host}")


def _is_address(host: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    """Return the host as written in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _with_port(name: str, port: int) -> str:
    return name if re.search(r":\d+\Z", name) and not name.endswith("]") else f"{name}:{port}"
