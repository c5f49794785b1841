"""`jielong models` lists what a server has, and `alias` gives a model a short name that stands for it everywhere."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from pathlib import Path
from typing import Any

from jielong.cli.as_json import add_json, print_json
from jielong.cli.tools import add_timeout
from jielong.errors import ConfigError, ResourceError, did_you_mean
from jielong.opening.ports import (
    MODEL_HELP,
    aliases,
    aliases_file,
    folder_of,
    is_address,
    long_name,
    open_endpoint,
    shown_address,
)
from jielong.runs import write_json


def add_parser(commands: Any) -> None:
    """Add the commands."""
    names = commands.add_parser("models", help="the models that a server has, or the short names that you gave")
    names.add_argument("server", nargs="?", metavar="SERVER", help="its address, such as http://localhost:8080/v1")
    add_timeout(names)
    add_json(names)
    names.set_defaults(command=_models)

    alias = commands.add_parser("alias", help="give a model a short name for all commands")
    alias.add_argument("name", metavar="NAME", help="letters, digits, - and _")
    alias.add_argument("model", nargs="?", metavar="MODEL", help=MODEL_HELP)
    alias.add_argument("--remove", action="store_true", help="forget the name")
    alias.set_defaults(command=_alias)


def _models(arguments: argparse.Namespace) -> int:
    """List the models of a server, or the short names."""
    if not arguments.server:
        known = {name: shown_address(model) for name, model in sorted(aliases().items())}
        if arguments.json:
            print_json({"server": None, "models": [{"name": n, "stands_for": model} for n, model in known.items()]})
            return 0
        for name, model in known.items():
            print(f"{name}  {model}")
        if not known:
            print("No short names yet; give one with: jielong alias NAME MODEL")
        return 0
    server = long_name(arguments.server)
    if not is_address(server):
        raise ConfigError(f"{arguments.server!r} is no address of a server; expected http://HOST:PORT/v1")

    async def listed() -> list[str]:
        """Ask the server for its models."""
        port = open_endpoint(server, arguments.timeout)
        try:
            return await port.models()
        finally:
            await port.close()

    address = shown_address(server.partition("#")[0].rstrip("/"))
    names = asyncio.run(listed())
    if arguments.json:
        print_json({"server": address, "models": [{"name": n, "stands_for": f"{address}#{n}"} for n in names]})
        return 0
    for name in names:
        print(f"{address}#{name}")
    if not names:
        print(f"{address} has no models yet", file=sys.stderr)
    return 0


def _alias(arguments: argparse.Namespace) -> int:
    """Give a model a short name, or remove one."""
    name, model = arguments.name, arguments.model
    if not re.fullmatch(r"[\w-]+", name):
        raise ConfigError(f"{name!r} is no short name; expected letters, digits, - and _")
    known = aliases()
    if arguments.remove:
        if name not in known:
            raise ConfigError(f"there is no short name {name!r}; {did_you_mean(name, known)}")
        del known[name]
    elif not model:
        raise ConfigError(f"say which model {name!r} stands for: jielong alias {name} MODEL")
    elif Path(name).exists():
        raise ConfigError(f"{name!r} is a file or folder here, which would be taken first; choose another short name")
    else:
        model = long_name(model)
        if is_address(model):
            asyncio.run(open_endpoint(model).close())  # says what is wrong with it
        else:
            folder_of(model)  # says what is wrong with it; a GGUF file is imported now
            model = str(Path(model).resolve())
        known[name] = model
    path = aliases_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, known)
    except OSError as error:
        raise ResourceError(
            f"{path} cannot be written ({error.strerror}); set JIELONG_HOME to a folder of yours"
        ) from None
    print(f"{name}  {shown_address(known[name]) if name in known else 'is forgotten'}")
    return 0
