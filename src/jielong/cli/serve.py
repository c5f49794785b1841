"""A server on this machine: the page to chat and look into, and OpenAI's protocol for every other client."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import socket
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from jielong.cli.models import add_weights
from jielong.cli.parsing import former_name
from jielong.cli.report import locale_language
from jielong.cli.tools import add_options, equipment_of
from jielong.errors import ConfigError
from jielong.opening.ports import MODEL_HELP, default_store, newest_run


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    _add_options(
        commands.add_parser(
            "serve",
            help="a page to chat with models, and a server that speaks OpenAI's protocol",
        )
    )


def serve_run(run: Path) -> NoReturn:
    """Serve a run in place of this program: a fresh `jielong serve RUN`, without the memory of a training.

    OpenMP has read its settings in this process when torch was loaded; a fresh one reads those of the server.
    """
    words = ["serve", str(run), "--runs", str(run.parent), "--port", str(free_port(8000))]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "jielong.cli.main", *words])


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the server."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{MODEL_HELP}; without it, the newest run")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs lie (default: runs)")
    parser.add_argument(
        "--watch",
        type=Path,
        metavar="RUN",
        help="a run that is being trained: its curves, and its newest checkpoint to chat",
    )
    where = parser.add_argument_group("where it listens")
    where.add_argument("--host", default="127.0.0.1", help="default: this machine alone; elsewhere a key is needed")
    where.add_argument("--port", type=int, default=8000, metavar="N", help="default: 8000")
    names = where.add_argument(
        "--hostname", action="append", default=[], metavar="NAME", help="another name that it is asked for by"
    )
    former_name(where, names, "--name")
    where.add_argument(
        "--key-file", type=Path, metavar="FILE", help="holds the key that clients must know (else JIELONG_SERVE_KEY)"
    )
    where.add_argument("--no-browser", action="store_true", help="do not open the page")
    kept = parser.add_argument_group("what is kept")
    kept.add_argument(
        "--store",
        default="",
        metavar="FILE",
        help="where conversations are kept, a file or a database's URL (default: ~/.local/share/jielong/conversations.db)",
    )
    engine = parser.add_argument_group("models in memory")
    engine.add_argument(
        "--slots", type=int, default=8, metavar="N", help="answers that a model writes at once (default: 8)"
    )
    context = engine.add_argument(
        "--context", type=int, default=4096, metavar="N", help="longest prompt and answer together (default: 4096)"
    )
    former_name(engine, context, "--length")
    engine.add_argument("--memory", type=float, default=0.0, metavar="GB", help="for all models (default: half of it)")
    add_weights(engine)
    add_options(parser.add_argument_group("what models are handed"))
    parser.set_defaults(command=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    """Start the server and run it until Ctrl-C."""
    for needed in (
        "fastapi",
        "uvicorn",
        "sqlalchemy",
        "alembic",
        "markdown_it",
        "nh3",
        "llguidance",
        "prometheus_client",
    ):
        if find_spec(needed) is None:
            raise ConfigError(f"the server needs {needed}; pip install 'jielong[serve]'")
    # OpenMP reads it once, when torch is loaded. A thread that waits looks for the next piece of work for a millisecond at most,
    # which is enough between two steps; more would be taken from the event loop and from other programs
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")

    import uvicorn

    from jielong.serve.access import Access, read_key
    from jielong.serve.app import Settings, open_app
    from jielong.serve.bounds import server_options
    from jielong.serve.models import Memory

    specs = tuple(arguments.models) or (() if arguments.watch else (str(newest_run(arguments.runs)),))
    access = Access(arguments.host, arguments.port, tuple(arguments.hostname), read_key(arguments.key_file))
    memory = Memory(arguments.slots, arguments.context, int(arguments.memory * 1e9), arguments.weights)
    store = arguments.store or default_store()
    settings = Settings(
        specs,
        access,
        memory,
        equipment_of(arguments),
        store,
        arguments.runs,
        locale_language(),
        reads_first=True,
        watched=arguments.watch,
    )
    listening = _open_socket(access.host, access.port)
    address = f"http://{'127.0.0.1' if access.host == '0.0.0.0' else access.host}:{access.port}"
    page = f"{address}/#/runs/{arguments.watch.name}" if arguments.watch else address

    async def served() -> None:
        """Open the app, print its addresses, and serve."""
        async with open_app(settings, tell=lambda sentence: print(sentence, file=sys.stderr)) as app:
            print(f"Serving {', '.join(specs) or arguments.watch}")
            print(f"The page:          {page}")
            print(f"OpenAI's protocol: {address}/v1")
            print(f"Conversations:     {store}")
            print("Ctrl-C ends it.", flush=True)
            if not arguments.no_browser and sys.stdout.isatty():
                webbrowser.open(page)
            config = uvicorn.Config(app, log_level="warning", **server_options())
            try:
                await uvicorn.Server(config).serve(sockets=[listening])
            finally:
                print("\nEnded; conversations are kept.", flush=True)

    with listening, contextlib.suppress(KeyboardInterrupt):  # it has ended in order, and says how it was asked to
        asyncio.run(served())
    return 0


def free_port(first: int) -> int:
    """Return the first port from `first` on that no program of this machine has."""
    for port in range(first, first + 100):
        with contextlib.suppress(ConfigError), _open_socket("127.0.0.1", port):
            return port
    raise ConfigError(f"no port from {first} to {first + 99} is free")


def _open_socket(host: str, port: int) -> socket.socket:
    """Open a listening socket. Raises ConfigError if another program has the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        why = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
        raise ConfigError(f"port {port} of {host} {why}; choose another with --port") from error
    # its connections inherit it: otherwise a body waits until the other side says that it has the head, some 40 ms
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
