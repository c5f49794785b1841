"""A real server that says whatever it is told to: the answers of others, whole, streamed, damaged, or cut off."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON, EVENTS = "application/json", "text/event-stream"


@dataclass(frozen=True)
class Said:
    """One response of the server. With `is_cut` its stream ends without the closing mark."""

    body: bytes
    kind: str = JSON
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    is_cut: bool = False


def whole(data: Any, status: int = 200) -> Said:
    """A JSON body."""
    return Said(json.dumps(data).encode(), status=status)


def events(*found: Any, is_done: bool = True, is_cut: bool = False) -> Said:
    """A stream of events; one that is bytes stands as it is."""
    written = [e if isinstance(e, bytes) else b"data: " + json.dumps(e).encode() + b"\n\n" for e in found]
    return Said(b"".join([*written, *([b"data: [DONE]\n\n"] if is_done else [])]), EVENTS, is_cut=is_cut)


def chat(content: Any, stop: str | None = "stop", usage: Any = None, **fields: Any) -> dict[str, Any]:
    """The body of a whole answer."""
    message = {"role": "assistant", "content": content, **fields}
    made: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": stop}]}
    return made if usage is None else {**made, "usage": usage}


def delta(stop: str | None = None, **fields: Any) -> dict[str, Any]:
    """An event of a streamed answer."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": stop}]}


@contextmanager
def saying(say: Callable[[str, dict[str, Any]], Said] | Sequence[Said]) -> Iterator[str]:
    """The address of a server that answers a path and a body by `say`, or one request after another from a list."""
    left = None if callable(say) else list(say)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # one packet an answer: a second one would wait for the first to be acknowledged

        def do_GET(self) -> None:
            self.answer({})

        def do_POST(self) -> None:
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}"))

        def answer(self, body: dict[str, Any]) -> None:
            if left is None:
                assert callable(say)
                said = say(self.path, body)
            else:
                said = left.pop(0) if len(left) > 1 else left[0]
            with suppress(ConnectionError):  # who asked may have left
                self.send_response(said.status)
                self.send_header("Content-Type", said.kind)
                for name, value in said.headers:
                    self.send_header(name, value)
                if said.kind == EVENTS:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for start in range(0, len(said.body), 1000):
                        piece = said.body[start : start + 1000]
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.write(b"" if said.is_cut else b"0\r\n\r\n")
                    self.close_connection = said.is_cut
                else:
                    self.send_header("Content-Length", str(len(said.body)))
                    self.end_headers()
                    self.wfile.write(said.body[: len(said.body) // 2] if said.is_cut else said.body)
                    self.close_connection = said.is_cut

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing on standard error."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of those who left in the middle."""

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
