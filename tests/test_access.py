"""Who may ask: this machine by its own name, the page by its session, others by the key, and nobody with too much at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from jielong.errors import ConfigError
from jielong.serve import sessions
from jielong.serve.access import PAGE_POLICY, REPORT_POLICY, Access, Gate, Guard, read_key
from jielong.serve.bounds import Bounds, server_options
from jielong.serve.heads import TimelyProtocol
from jielong.serve.refused import Refused, answer_refused
from jielong.serve.sessions import Attempts, Sessions

KEY = "correct-horse-battery-staple"
HOME = "http://127.0.0.1:8000"


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def new_app(access: Access, clock: Any = time.monotonic, bounds: Bounds | None = None) -> Guard:
    """A small app behind the guard: a page, an API of its own, OpenAI's, metrics, and a route that nobody thought of."""
    gate = Gate(access, clock)

    def ticket_of(given: Any, body: Response) -> Response:
        if given.set_cookie:
            body.headers["Set-Cookie"] = given.set_cookie
        return body

    async def page(request: Request) -> Response:
        ticket = gate.session_for(request)
        return ticket_of(ticket, HTMLResponse(ticket.csrf, headers={"Cache-Control": "no-cache"}))

    async def login(request: Request) -> Response:
        return ticket_of(gate.log_in(request, (await request.json())["key"]), JSONResponse({}))

    async def told(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    async def report(request: Request) -> Response:
        headers = {"Content-Security-Policy": REPORT_POLICY, "Referrer-Policy": "unsafe-url"}
        return HTMLResponse("<p>a report", headers=headers)

    async def careless(request: Request) -> Response:
        try:
            return PlainTextResponse(str(len(await request.body())))
        except Exception:
            return PlainTextResponse("there was an error parsing the body", 400)

    both = ["GET", "POST", "DELETE", "OPTIONS"]
    routes = [
        Route("/", page),
        Route("/page/app.js", told),
        Route("/api/login", login, methods=["POST"]),
        Route("/api/state", told, methods=both),
        Route("/api/report", report),
        Route("/api/careless", careless, methods=["POST"]),
        Route("/api/library/documents", told, methods=["POST"]),
        Route("/v1/chat/completions", told, methods=both),
        Route("/metrics", told),
        Route("/new", told, methods=both),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={Refused: answer_refused}), gate, bounds)


def client(access: Access | None = None, home: str = HOME, **more: Any) -> TestClient:
    return TestClient(new_app(access or Access(), **more), base_url=home)


def code_of(response: Any) -> tuple[int, str]:
    error = response.json()["error"]
    assert error["message"] and set(error) == {"message", "type", "code", "param"}
    return response.status_code, error["code"]


def opened(web: TestClient) -> dict[str, str]:
    """Load the page; the header that the page then sends with what changes something."""
    return {"X-CSRF-Token": web.get("/").text}


# The address and the key -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "chat.example.org", ""])
def test_other_machines_are_not_listened_to_without_a_key(host: str) -> None:
    with pytest.raises(ConfigError, match=r"needs a key: set JIELONG_SERVE_KEY|no name or address"):
        Access(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.4.5"])
def test_this_machine_needs_no_key(host: str) -> None:
    assert Access(host).is_loopback


def test_the_key_is_read_from_a_file_or_the_environment_and_shown_nowhere(tmp_path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    assert read_key(file, {}) == KEY == read_key(None, {"JIELONG_SERVE_KEY": f" {KEY} "})
    assert read_key(None, {}) == ""
    access = Access("0.0.0.0", key=KEY)
    assert KEY not in repr(access) and KEY not in repr(Gate(access)) and KEY not in str(access)


@pytest.mark.parametrize("key", ["", "short", "a key with some blanks", "schlüssel-mit-umlauten", "x" * 513])
def test_a_key_that_is_no_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_key(None, {"JIELONG_SERVE_KEY": key})
    assert "JIELONG_SERVE_KEY" in str(caught.value) and (not key or key not in str(caught.value))


def test_a_key_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match="does not exist; expected a file that holds the key"):
        read_key(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["a b", "http://chat.example.org", "chat/x", "é", "", "-x", "a\r\nb"])
def test_a_name_that_no_host_header_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no name or address"):
        Access(names=(name,))


# Host and Origin -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "[::1]:8000"])
def test_the_names_of_this_machine_are_served(host: str) -> None:
    assert client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1",
        "localhost:80",
        "localhost.:8000",
        "127.0.0.1:8000.evil.example",
        "",
    ],
)
def test_another_name_that_leads_here_is_refused(host: str) -> None:
    for path in ("/", "/page/app.js", "/api/state", "/v1/chat/completions", "/new"):
        assert code_of(client().get(path, headers={"Host": host})) == (421, "host")


def test_a_request_has_exactly_one_host() -> None:
    web = client()
    assert code_of(web.get("/", headers=[("Host", "127.0.0.1:8000"), ("Host", "evil.example")])) == (400, "host")


def test_off_loopback_the_given_names_are_served_with_any_port_that_was_named() -> None:
    web = client(Access("0.0.0.0", 8000, ("chat.example.org", "other.example:444"), KEY))
    for host in ("chat.example.org", "chat.example.org:8000", "other.example:444", "localhost:8000"):
        assert web.get("/", headers={"Host": host}).status_code == 200, host
    for host in ("other.example", "0.0.0.0:8000", "10.0.0.1:8000", "chat.example.org.evil.example"):
        assert web.get("/", headers={"Host": host}).status_code == 421, host


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1:8001",
        "http://localhost:8000",
        "null",
        "file://",
        f"{HOME}.evil.example",
    ],
)
def test_a_page_of_another_origin_may_send_nothing(origin: str) -> None:
    web = client()
    token = opened(web)
    for path in ("/api/state", "/v1/chat/completions", "/new"):
        for method in ("GET", "POST", "OPTIONS", "DELETE"):
            assert code_of(web.request(method, path, headers={"Origin": origin, **token})) == (403, "origin")
    assert web.post("/v1/chat/completions", headers={"Origin": HOME}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_says_where_a_request_comes_from_is_believed(site: str) -> None:
    web = client()
    token = opened(web)
    for path in ("/api/state", "/v1/chat/completions", "/metrics"):
        assert code_of(web.get(path, headers={"Sec-Fetch-Site": site})) == (403, "origin")
    assert code_of(web.post("/", headers={"Sec-Fetch-Site": site, **token})) == (403, "origin")
    assert web.get("/", headers={"Sec-Fetch-Site": site}).status_code == 200  # a link to the page
    assert web.get("/api/state", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_nobody_else_is_told_that_he_may_read() -> None:
    response = client().options("/v1/chat/completions", headers={"Origin": HOME})
    assert not [name for name in response.headers if name.startswith("access-control")]


# Sessions --------------------------------------------------------------------------------------------------------------


def test_without_a_key_the_page_gets_a_session_and_keeps_it() -> None:
    web = client()
    assert code_of(web.get("/api/state")) == (401, "session")
    first = web.get("/")
    cookie = first.headers["set-cookie"]
    for part in ("jielong_8000=", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert part in cookie
    assert "Secure" not in cookie
    again = web.get("/")
    assert "set-cookie" not in again.headers and again.text == first.text
    assert web.get("/api/state").status_code == 200


def test_the_cookie_travels_by_https_alone_where_the_page_came_by_it() -> None:
    web = client(Access(names=("chat.example.org",)), home="https://chat.example.org")
    assert web.get("/").headers["set-cookie"].endswith("; Secure")


def test_odd_cookies_of_other_servers_do_not_hide_the_session() -> None:
    web = client()
    cookie = web.get("/").headers["set-cookie"].split(";")[0]
    odd = TestClient(web.app, base_url=HOME)
    header = f'a={{"b": 1}}; jielong_8000=x; [odd]; {cookie}'
    assert odd.get("/api/state", headers={"Cookie": header}).status_code == 200


def test_changing_something_needs_the_token_of_this_very_session() -> None:
    web, other = client(), client()
    token = opened(web)
    assert web.post("/api/state", headers=token).status_code == 200
    for wrong in ({}, opened(other), {"X-CSRF-Token": ""}, {"X-CSRF-Token": "é"}):
        headers = [(name.encode(), value.encode()) for name, value in wrong.items()]
        assert code_of(web.post("/api/state", headers=headers)) == (403, "csrf")
        assert code_of(web.delete("/api/state", headers=headers)) == (403, "csrf")


def test_a_path_that_nobody_thought_of_is_closed() -> None:
    for path in (
        "/new",
        "/nothing",
        "/docs",
        "//v1/chat/completions",
        "/V1/chat/completions",
        "/page",
        "/api",
    ):
        assert code_of(client().get(path)) == (401, "session"), path


def test_a_session_ends_when_it_is_not_used_for_its_time() -> None:
    clock = Clock()
    web = client(clock=clock)
    web.get("/")
    for _ in range(3):
        clock.now_s += sessions.LIFETIME_S - 1
        assert web.get("/api/state").status_code == 200
    clock.now_s += sessions.LIFETIME_S
    assert code_of(web.get("/api/state")) == (401, "session")


def test_the_number_of_sessions_is_bounded_and_those_in_use_stay() -> None:
    table = Sessions()
    used, unused = table.open(), table.open()
    for _ in range(sessions.MAX_SESSIONS):
        table.open()
        assert table.is_open(used)
    assert len(table) == sessions.MAX_SESSIONS and not table.is_open(unused)


def test_sessions_are_long_and_all_different_and_their_tokens_are_of_this_process() -> None:
    table = Sessions()
    made = {table.open() for _ in range(100)}
    assert len(made) == 100 and all(len(session) == 43 for session in made)  # 256 bits in base64
    session = made.pop()
    assert table.token(session) != Sessions().token(session)
    assert table.is_token(session, table.token(session)) and not table.is_token(session, table.token(session)[:-1])


# The key ---------------------------------------------------------------------------------------------------------------


def keyed(**more: Any) -> TestClient:
    return client(Access(key=KEY), **more)


def test_programs_show_the_key() -> None:
    for path in ("/v1/chat/completions", "/metrics"):
        assert keyed().get(path, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        for wrong in ("", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, "Bearer", "Bearer é"):
            response = keyed().get(path, headers=[(b"Authorization", wrong.encode())] if wrong else {})
            assert code_of(response) == (401, "invalid_api_key")
            assert response.json()["error"]["type"] == "invalid_request_error"
            assert KEY not in response.text
    twice = [("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer other")]
    assert code_of(keyed().get("/metrics", headers=twice)) == (401, "invalid_api_key")


def test_without_a_key_programs_on_this_machine_are_answered() -> None:
    assert client().get("/v1/chat/completions").status_code == 200
    assert client().get("/metrics", headers={"Authorization": "Bearer anything"}).status_code == 200


def test_with_a_key_the_page_logs_in_first() -> None:
    web = keyed()
    first = web.get("/")
    assert first.text == "" and "set-cookie" not in first.headers
    assert code_of(web.get("/api/state")) == (401, "login")
    # the key opens OpenAI's part; the page's own belongs to sessions
    assert code_of(web.get("/api/state", headers={"Authorization": f"Bearer {KEY}"})) == (401, "login")
    assert code_of(web.post("/api/login", json={"key": "wrong"})) == (401, "login")
    assert web.post("/api/login", json={"key": KEY}).status_code == 200
    assert web.post("/api/state", headers=opened(web)).status_code == 200


def test_a_logged_in_page_may_ask_as_a_program_and_nobody_with_its_cookie_alone() -> None:
    web = keyed()
    web.post("/api/login", json={"key": KEY})
    assert code_of(web.post("/v1/chat/completions")) == (401, "invalid_api_key")
    assert web.post("/v1/chat/completions", headers={"Origin": HOME}).status_code == 200
    assert web.get("/v1/chat/completions", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert code_of(web.post("/v1/chat/completions", headers={"Origin": "http://evil.example"})) == (403, "origin")


def test_wrong_keys_are_taken_a_few_times_a_minute() -> None:
    clock = Clock()
    web = keyed(clock=clock)
    for _ in range(sessions.MAX_ATTEMPTS):
        clock.now_s += 1
        assert code_of(web.post("/api/login", json={"key": "wrong"})) == (401, "login")
    response = web.post("/api/login", json={"key": KEY})  # not even the right one, or one could go on guessing
    assert code_of(response) == (429, "login") and 1 <= int(response.headers["retry-after"]) <= 60
    clock.now_s += int(response.headers["retry-after"])
    assert web.post("/api/login", json={"key": KEY}).status_code == 200


def test_the_table_of_attempts_is_bounded_and_addresses_do_not_share_it() -> None:
    attempts = Attempts()
    for _ in range(sessions.MAX_ATTEMPTS):
        attempts.fail("10.0.0.1")
    assert attempts.wait_s("10.0.0.1") > 0 == attempts.wait_s("10.0.0.2")
    for number in range(sessions.MAX_ADDRESSES):
        attempts.fail(f"10.1.{number // 256}.{number % 256}")
    assert attempts.wait_s("10.0.0.1") == 0


# Headers of responses --------------------------------------------------------------------------------------------------


def test_every_response_says_what_a_browser_may_do_with_it() -> None:
    web = client()
    token = opened(web)
    ways = [
        ("GET", "/"),
        ("GET", "/page/app.js"),
        ("GET", "/api/state"),
        ("POST", "/api/state"),
        ("GET", "/nothing"),
        ("PUT", "/new"),
    ]
    for method, path in ways:
        for headers in (token, {"Host": "evil.example"}):
            got = web.request(method, path, headers=headers).headers
            assert got["content-security-policy"] == PAGE_POLICY
            assert got["x-content-type-options"] == "nosniff" and got["referrer-policy"] == "no-referrer"
            assert got["cross-origin-opener-policy"] == got["cross-origin-resource-policy"] == "same-origin"
            assert "geolocation=()" in got["permissions-policy"]
            if path not in ("/", "/page/app.js"):
                assert got["cache-control"] == "no-store"
    assert web.get("/").headers["cache-control"] == "no-cache"
    assert web.get("/v1/chat/completions").headers["cache-control"] == "no-store"
    assert "unsafe" not in PAGE_POLICY and "script" not in REPORT_POLICY


def test_a_report_keeps_its_own_policy_and_nothing_else() -> None:
    web = client()
    web.get("/")
    headers = web.get("/api/report").headers
    assert headers["content-security-policy"] == REPORT_POLICY and headers["referrer-policy"] == "no-referrer"


# Bounds ----------------------------------------------------------------------------------------------------------------

SMALL = Bounds(body_bytes=1000, upload_bytes=5000, pause_s=0.2, patience_s=0.5)


def test_bodies_are_bounded_whether_or_not_they_say_their_size() -> None:
    web = client(bounds=SMALL)
    token = opened(web)

    def in_pieces(size: int) -> Iterator[bytes]:
        for _ in range(size // 100):
            yield b"x" * 100

    for path, most in (("/api/state", 1000), ("/api/library/documents", 5000), ("/api/careless", 1000)):
        for size in (most, most + 100):
            for body in (b"x" * size, in_pieces(size)):
                response = web.post(path, content=body, headers=token)
                assert response.status_code == (200 if size == most else 413), (path, size)
                if size > most:
                    assert "is larger than" in response.json()["error"]["message"]
                    assert response.headers["content-security-policy"] == PAGE_POLICY
    assert web.post("/api/library/documents-of-others", content=b"x" * 1100, headers=token).status_code == 413


def test_the_head_of_a_request_is_bounded() -> None:
    web = client()
    assert web.get("/?" + "x" * 8192).status_code == 200
    assert web.get("/?" + "x" * 8193).status_code == 414
    assert web.get("/", headers={"X-Long": "x" * 40_000}).status_code == 431
    assert web.get("/", headers=[(f"X-{n}", "") for n in range(101)]).status_code == 431
    assert web.get("/", headers=[(f"X-{n}", "") for n in range(80)]).status_code == 200


def test_bounds_that_let_nothing_through_are_refused() -> None:
    with pytest.raises(ConfigError, match="body_bytes is 0"):
        Bounds(body_bytes=0)


def test_an_error_of_the_app_stays_its_own() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError("ours")

    web = TestClient(Guard(broken, Gate(Access())), base_url=HOME)
    with pytest.raises(ZeroDivisionError):
        web.get("/")


def test_web_sockets_are_closed() -> None:
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/", "headers": []}
    asyncio.run(new_app(Access())(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


@contextlib.contextmanager
def running(access: Access, bounds: Bounds) -> Iterator[int]:
    """A real server with our options; its port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        port = listening.getsockname()[1]
        app = new_app(Access(access.host, port, access.names, access.key), bounds=bounds)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, **server_options()))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield port
        finally:
            server.should_exit = True
            thread.join()


def said(port: int, *pieces: bytes, pause_s: float = 0.0) -> tuple[int, bytes]:
    """The status and all else that the server says to these bytes until it closes; 0 where it says nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        with contextlib.suppress(OSError):  # it may have hung up
            for piece in pieces:
                line.sendall(piece)
                time.sleep(pause_s)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := line.recv(65_536):
                got += piece
    return (int(got.split(b" ", 2)[1]) if got else 0), got


def head(port: int, first: str, *more: str) -> bytes:
    return "\r\n".join([f"{first} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close", *more, "", ""]).encode()


def test_a_real_server_keeps_the_bounds(caplog) -> None:
    with caplog.at_level(logging.DEBUG), running(Access(key=KEY), SMALL) as port:
        path = "/v1/chat/completions"
        bearer = f"Authorization: Bearer {KEY}"
        assert said(port, head(port, f"GET {path}", bearer))[0] == 200
        assert b"server:" not in said(port, head(port, "GET /"))[1].lower()
        # a head that never ends is given up while it is read
        assert said(port, b"GET / HTTP/1.1\r\nX: ", *[b"x" * 8192] * 16)[0] in (400, 431)
        assert said(port, head(port, "GET /", f"X-Long: {'x' * 40_000}"))[0] == 431
        status, answer = said(port, head(port, f"POST {path}", bearer, "Content-Length: 99999999999999999999"))
        assert (
            status == 413 and json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
        )
        chunk = b"64\r\n" + b"x" * 100 + b"\r\n"
        chunked = head(port, f"POST {path}", bearer, "Transfer-Encoding: chunked")
        assert said(port, chunked, *[chunk] * 10, b"0\r\n\r\n")[0] == 200
        assert said(port, chunked, *[chunk] * 12)[0] == 413
        # one that stops, and one that drips
        promised = head(port, f"POST {path}", bearer, "Content-Length: 900")
        begun_s = time.monotonic()
        assert said(port, promised, b"x" * 100)[0] == 408
        assert said(port, promised, *[b"x"] * 8, pause_s=0.1)[0] == 408
        assert time.monotonic() - begun_s < 8
        assert said(port, head(port, "GET http://evil.example/v1/chat/completions"))[0] == 401
    assert KEY not in caplog.text


def test_a_head_that_does_not_come_whole_ends_its_connection(monkeypatch) -> None:
    monkeypatch.setattr(TimelyProtocol, "head_s", 0.3)
    whole = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
    with running(Access(), Bounds()) as port:
        for first, then in ((b"", b""), (b"GET / HTTP/1.1\r\nHost: x\r\n", b""), (whole % port, b"GET /")):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(first)
                if then:
                    assert client.recv(4096).startswith(b"HTTP/1.1 ")
                    client.sendall(then)
                while client.recv(4096):
                    pass
