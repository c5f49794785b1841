"""A client that reads many streams of OpenAI's protocol at once and does as little as it can: it counts and takes times.

Standard library only, on bare sockets, so that the machine is left to the server.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Any

from bench.peers.protocol import Line

_TEXT = re.compile(rb'"content":\s?"[^"]')
_COUNT = re.compile(rb'"completion_tokens":\s?(\d+)')
_TAIL = 4096


class Stream(asyncio.Protocol):
    """One request and its answer."""

    def __init__(self, request: bytes, over: asyncio.Future[None]) -> None:
        self._request, self._over = request, over
        self.began_s = self.first_s = self.ended_s = 0.0
        self.tail, self.status, self.num_bytes, self.num_events = b"", 0, 0, 0

    def connection_made(self, transport: Any) -> None:
        self.began_s = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.status:
            self.status = int(data[9:12])
        self.num_bytes += len(data)
        self.num_events += data.count(b"data: ")
        if not self.first_s and _TEXT.search(data):
            self.first_s = time.perf_counter()
        self.tail = (self.tail + data)[-_TAIL:]
        if b"[DONE]" in self.tail[-64:]:
            self.ended_s = time.perf_counter()
            if not self._over.done():
                self._over.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def told(self, start_s: float) -> dict[str, Any]:
        """Its figures; an `error` where it did not come to its end."""
        counts = _COUNT.findall(self.tail)
        found = {
            "tokens": int(counts[-1]) if counts else 0,
            "first_s": self.first_s - self.began_s,
            "seconds": self.ended_s - start_s,
            "bytes": self.num_bytes,
            "events": self.num_events,
        }
        if self.status != 200 or not self.ended_s:
            found["error"] = f"{self.status}: {self.tail[-300:].decode('utf-8', 'replace')}"
        return found


def request_of(host: str, port: int, path: str, body: Any) -> bytes:
    """A POST as it goes over the wire."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data


async def one(host: str, port: int, request: bytes, start_s: float) -> dict[str, Any]:
    """The figures of one request."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    transport, stream = await loop.create_connection(lambda: Stream(request, over), host, port)
    await over
    transport.close()
    return stream.told(start_s)


async def all_of(host: str, port: int, requests: list[bytes]) -> dict[str, Any]:
    """All requests at once: the figures of each, and the seconds until the last one ended."""
    start_s = time.perf_counter()
    found = await asyncio.gather(*(one(host, port, request, start_s) for request in requests))
    return {"streams": found, "seconds": max(stream["seconds"] for stream in found)}


async def crowd(host: str, port: int, requests: list[bytes], clients: int, seconds: float) -> dict[str, Any]:
    """So many clients, of which each asks again when it was answered, through the requests in turn."""
    start_s = time.perf_counter()
    found: list[dict[str, Any]] = []
    turn = iter(range(sys.maxsize))

    async def client() -> None:
        while time.perf_counter() - start_s < seconds:
            try:
                found.append(await one(host, port, requests[next(turn) % len(requests)], start_s))
            except OSError as error:
                found.append({"tokens": 0, "first_s": 0.0, "seconds": 0.0, "error": str(error)})
                await asyncio.sleep(0.1)

    await asyncio.gather(*(client() for _ in range(clients)))
    return {"streams": found, "seconds": time.perf_counter() - start_s}


def main() -> None:
    line = Line()
    host = line.job.get("host", "127.0.0.1")

    def write(port: int, path: str, bodies: list[Any]) -> dict[str, Any]:
        return asyncio.run(all_of(host, port, [request_of(host, port, path, body) for body in bodies]))

    def come(port: int, path: str, bodies: list[Any], clients: int, seconds: float) -> dict[str, Any]:
        requests = [request_of(host, port, path, body) for body in bodies]
        return asyncio.run(crowd(host, port, requests, clients, seconds))

    line.say(versions={})
    line.serve({"write": write, "come": come})


if __name__ == "__main__":
    main()
