"""Opening a port from what a user writes: a run's or model's folder, or the address of a server."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from jielong.records import Conversation, Scorer
    from jielong.use.endpoint import Endpoint
    from jielong.use.port import Answer, LocalPort, Options

_KEYS = ("JIELONG_API_KEY", "OPENAI_API_KEY")
LOCAL_HELP = "a run's or model's folder, a stage of a run (RUN:sft), a .gguf file, or a short name (jielong alias)"
MODEL_HELP = f"{LOCAL_HELP}, or a server's address with the model's name: http://localhost:8080/v1#NAME"


def aliases_file() -> Path:
    """Return the file of short names of models, for this user on this machine."""
    base = os.environ.get("JIELONG_HOME") or os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / ("aliases.json" if os.environ.get("JIELONG_HOME") else "jielong/aliases.json")


def default_store() -> Path:
    """Return the usual place of conversations, for this user on this machine."""
    home = os.environ.get("JIELONG_HOME")
    base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(home) / "conversations.db" if home else base / "jielong" / "conversations.db"


def aliases() -> dict[str, str]:
    """Read the short names that were given to models. Raises DataError if their file is damaged."""
    from jielong.outside import read_json_file

    path = aliases_file()
    if not path.exists():
        return {}
    try:
        found = read_json_file(path)
    except DataError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise DataError(
            f'{path}, which holds the short names of models, is damaged: expected {{"NAME": "MODEL"}}; correct it, or delete it'
        )
    return found


def long_name(spec: str) -> str:
    """Return the model that a short name, or NAME:STAGE, stands for; a folder of that name goes first."""
    if is_address(spec) or "/" in spec or Path(spec).exists():
        return spec
    known = aliases()
    name, _, stage = spec.rpartition(":")
    return f"{known[name]}:{stage}" if spec not in known and name in known else known.get(spec, spec)


def served_name(spec: str) -> str:
    """Return a model's name on a server: its run, RUN:STAGE, its folder, or its name on another server."""
    from jielong.runs import named_stage

    spec = long_name(spec)
    if is_address(spec):
        return spec.partition("#")[2] or shown_address(spec)
    path, stage = named_stage(Path(spec))
    return f"{path.name}:{stage}" if stage else path.name.removesuffix(".gguf")


def newest_run(root: Path) -> Path:
    """Return the run under `root` that was written to last. Raises ConfigError if there is none."""
    from jielong.runs import runs_in

    runs = runs_in(root)
    if not runs:
        raise ConfigError(f"no run under {root}; make one with: jielong quickstart")
    return runs[-1]


def is_address(spec: str) -> bool:
    """Whether the name is that of a model on a server."""
    return spec.strip().lower().startswith(("http://", "https://"))


def shown_address(spec: str) -> str:
    """Return an address without its password and query; any other text as it is."""
    if not is_address(spec):
        return spec
    address, _, model = spec.strip().partition("#")
    scheme, _, rest = address.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}{'#' if model else ''}{model}"


def open_endpoint(spec: str, timeout_s: float = 0.0) -> Endpoint:
    """Open the server at an address; its key is read from JIELONG_API_KEY or OPENAI_API_KEY. A `timeout_s` of 0 is the
    usual one.
    """
    from jielong.use.connection import TIMEOUT_S, clean_key
    from jielong.use.endpoint import Endpoint

    url, _, model = spec.strip().partition("#")
    name = next((name for name in _KEYS if os.environ.get(name)), "")
    key = clean_key(os.environ[name], name) if name else ""
    return Endpoint(url, model, key=key, timeout_s=timeout_s or TIMEOUT_S)


def open_port(
    spec: str,
    *,
    stage: str | None = None,
    weights: str | None = None,
    slots: int = 16,
    length: int = 0,
    timeout_s: float = 0.0,
) -> LocalPort | Endpoint:
    """Open a port to the model that `spec` names, which may be a short name (`jielong alias`)."""
    port = open_late(spec, stage=stage, timeout_s=timeout_s, weights=weights, slots=slots, length=length)
    return port.open() if isinstance(port, LatePort) else port


class LatePort:
    """A port to a model on this machine that loads it at the first question."""

    def __init__(self, folder: Path, **how: Any) -> None:
        self.name, self._folder, self._how = str(folder), folder, how
        self.opened: LocalPort | None = None

    async def ask(self, conversation: Conversation, options: Options | None = None) -> Answer:
        port = self.open()
        return await (port.ask(conversation) if options is None else port.ask(conversation, options))

    def render(self, conversation: Conversation, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """Return the exact prompt that a conversation becomes."""
        return self.open().render(conversation, tools)

    async def close(self) -> None:
        """Do nothing: the port holds no connection."""

    def open(self) -> LocalPort:
        """Load the model, if that is still to be done, and return its port."""
        if self.opened is None:
            from jielong.opening.models import open_engine
            from jielong.use.port import LocalPort

            engine, tokenizer = open_engine(self._folder, **self._how)
            self.opened = LocalPort(engine, tokenizer, self.name)
        return self.opened


def open_late(
    spec: str,
    *,
    stage: str | None = None,
    weights: str | None = None,
    slots: int = 16,
    length: int = 0,
    timeout_s: float = 0.0,
) -> LatePort | Endpoint:
    """Open a port to the model that `spec` names; a model on this machine is found now and loaded when it is asked."""
    address = long_name(spec)
    if is_address(address):
        return open_endpoint(address, timeout_s)
    return LatePort(folder_of(spec, stage), weights=weights, slots=slots, length=length)


def folder_of(spec: str, stage: str | None = None) -> Path:
    """Return the folder of the model on this machine that `spec` names. A GGUF file is imported first.

    Raises ConfigError for an address that lacks its http://, and for a name that is neither a folder nor a short name.
    """
    from jielong.runs import find_model, named_stage

    spec = long_name(spec)
    if re.match(r"[\w.-]+:\d+(?:[/#]|$)", spec) and not Path(spec).exists():
        raise ConfigError(f"{spec!r} is no address of a server; write http:// before it")
    known = aliases()
    if known and not named_stage(Path(spec))[0].exists() and "/" not in spec:
        raise ConfigError(f"{spec!r} is no folder and no short name; {did_you_mean(spec, known)}")
    if "://" in spec:
        raise ConfigError(f"{spec!r} is no address of a server; expected http:// or https://, or a folder")

    path = Path(spec)
    if path.suffix.lower() == ".gguf" and path.is_file():
        from jielong.opening.models import import_if_needed

        path = import_if_needed(path)
    return find_model(path, stage)


def open_reward(spec: str) -> Scorer:
    """Open the reward model that `spec` names, a folder or a run with a stage `reward`, as a scorer."""
    from jielong.model.hf import load
    from jielong.model.transformer import ScalarModel
    from jielong.runs import find_model, is_run
    from jielong.train.rewards import RewardModelScorer

    folder = find_model(Path(spec), "reward" if is_run(Path(spec)) else None)
    model = load(folder)
    if not isinstance(model, ScalarModel):
        raise ConfigError(f"{spec} holds a model that writes; --reward takes a reward model, which gives scores")
    return RewardModelScorer(model)
