"""Clients that other people wrote: each call that they offer must work as it does with OpenAI's servers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.contest import Contestant
from bench.environments import environment
from bench.rows import Row
from bench.serve.server import Server
from bench.serve.setting import Setting

LIBRARIES = ("openai", "llm", "LangChain")


def rows(setting: Setting) -> Iterator[Row]:
    """A row for each library, and one for each call that failed."""
    options = ("--slots", "4", "--length", "2048")
    with Server(setting.model, setting.folder, *options, threads=setting.threads) as server:
        server.warm()
        job = {
            "threads": 1,
            "clock": "wall",
            "address": f"{server.address}/v1",
            "model": server.name,
            "folder": str(setting.folder),
            "libraries": LIBRARIES,
        }
        with Contestant("openai_clients", job, environment("clients", setting.peers), setting.folder) as clients:
            for library in LIBRARIES:
                calls = clients.ask("calls", library=library)["calls"]
                failed = {name: why for name, why in calls.items() if why}
                what = f"{library} {clients.versions[library]}"
                yield Row(f"{what}: calls that work", f"{len(calls)}", len(calls) - len(failed), not failed)
                yield from (Row(f"{what}: {name}", "works", why, False) for name, why in failed.items())
