"""`jielong serve` as it is typed: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from tests.serving import free_port, serving, tiny_model

from jielong.cli.main import main
from jielong.cli.serve import _open_socket
from jielong.serve.routes.state import PAGE


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("command") / "tiny")


@contextmanager
def command(*words: str, env: dict[str, str] | None = None):
    process = subprocess.Popen(
        [sys.executable, "-m", "jielong.cli.main", "serve", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def answered(address: str) -> httpx2.Response:
    """The first answer of a server that is starting."""
    until_s = time.monotonic() + 60
    while True:
        try:
            return httpx2.get(address, timeout=30)
        except httpx2.TransportError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.1)


def test_it_says_where_it_is_answers_and_ends_in_order(model, tmp_path):
    port = free_port()
    words = (str(model), "--port", str(port), "--no-browser", "--store", str(tmp_path / "kept.db"))
    with command(*words) as process:
        assert answered(f"http://127.0.0.1:{port}/health").json() == {"status": "ok"}
        assert 'name="csrf-token"' in httpx2.get(f"http://127.0.0.1:{port}/").text
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert f"http://127.0.0.1:{port}/v1" in out and "conversations are kept" in out
    assert process.returncode == 0 and "Traceback" not in err
    assert (tmp_path / "kept.db").stat().st_mode & 0o777 == 0o600


def test_a_program_that_has_loaded_torch_becomes_a_fresh_server(model, tmp_path):
    """As the quickstart's offer does; OpenMP reads its settings once, when torch is loaded."""
    program = (
        "import sys, pathlib, torch; from jielong.cli.serve import serve_run; serve_run(pathlib.Path(sys.argv[1]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path)},
    )
    try:
        address = next(line.split()[-1] for line in process.stdout if line.startswith("The page:"))
        assert answered(f"{address}/health").json() == {"status": "ok"}
        assert Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[1:4] == [
            b"-m",
            b"jielong.cli.main",
            b"serve",
        ]
        process.send_signal(signal.SIGINT)
        assert "conversations are kept" in process.communicate(timeout=30)[0] and process.returncode == 0
    finally:
        process.kill()
        process.wait()


def test_small_pieces_are_sent_at_once():
    with (
        _open_socket("127.0.0.1", 0) as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0] as one,
    ):
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_page_names_all_its_modules_beforehand(model, tmp_path):
    with serving((str(model),), tmp_path) as served:
        names = re.findall(r'rel="modulepreload" href="/page/([^"]+)"', served.open_page())
    assert "main.js" in names
    assert names == sorted(file.name for file in PAGE.iterdir() if file.name.endswith(".js"))


def test_a_port_that_is_taken_costs_a_sentence(model, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", str(model), "--port", str(port), "--store", str(tmp_path / "x.db")]) == 2
    assert "is taken by another program; choose another with --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, told",
    [
        (["--runs", "nothing-here"], "jielong quickstart"),
        (["nothing-here"], "nothing-here"),
        (["MODEL", "--host", "0.0.0.0"], "needs a key"),
        (["MODEL", "--tools", "hammer"], "hammer"),
        (["MODEL", "--library", "none.db"], "jielong library add"),
        (["MODEL", "--store", "STORE"], "STORE"),
    ],
)
def test_mistakes_cost_a_sentence(model, tmp_path, capsys, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JIELONG_SERVE_KEY", raising=False)
    (tmp_path / "STORE").write_text("this is no database, and long enough to be looked at")
    typed = [str(model) if word == "MODEL" else word for word in words]
    assert main(["serve", *typed, "--port", str(free_port()), "--no-browser"]) == 2
    err = capsys.readouterr().err
    assert told in err and "Traceback" not in err and len(err.strip().splitlines()) == 1


def test_a_key_opens_it_to_other_machines(model, tmp_path):
    port = free_port()
    words = (str(model), "--host", "0.0.0.0", "--port", str(port), "--no-browser", "--store", str(tmp_path / "k.db"))
    with command(*words, env={"JIELONG_SERVE_KEY": "k" * 32}) as process:
        assert answered(f"http://127.0.0.1:{port}/v1/models").status_code == 401
        headers = {"Authorization": "Bearer " + "k" * 32}
        assert httpx2.get(f"http://127.0.0.1:{port}/v1/models", headers=headers).status_code == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert "k" * 32 not in out + err
