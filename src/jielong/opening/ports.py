"""Opening a port from what a user writes: a run's or model's folder, or the address of a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from jielong.errors import ConfigError

if TYPE_CHECKING:
    from jielong.records import Scorer
    from jielong.use.endpoint import Endpoint
    from jielong.use.port import LocalPort

MODEL_HELP = "a run's or model's folder, or a server's address with the model's name: http://localhost:8080/v1#NAME"


def newest_run(root: Path) -> Path:
    """The run under `root` that was written to last; ConfigError where there is none."""
    runs = sorted((p.parent for p in root.glob("*/run.json")), key=lambda p: (p / "run.json").stat().st_mtime)
    if not runs:
        raise ConfigError(f"no run under {root}; make one with: jielong quickstart")
    return runs[-1]


def is_address(spec: str) -> bool:
    """Whether it names a model on a server."""
    return spec.startswith(("http://", "https://"))


def open_endpoint(spec: str) -> Endpoint:
    """The server at an address; its key is read from JIELONG_API_KEY or OPENAI_API_KEY."""
    from jielong.use.endpoint import Endpoint

    url, _, model = spec.partition("#")
    return Endpoint(url, model, key=os.environ.get("JIELONG_API_KEY") or os.environ.get("OPENAI_API_KEY") or "")


def open_port(
    spec: str, *, stage: str | None = None, weights: str | None = None, slots: int = 16, length: int = 0
) -> LocalPort | Endpoint:
    """A port to the model that `spec` names."""
    if is_address(spec):
        return open_endpoint(spec)
    if "://" in spec:
        raise ConfigError(f"{spec!r} is no address of a server; expected http:// or https://, or a folder")
    from jielong.opening.models import open_engine
    from jielong.runs import find_model
    from jielong.use.port import LocalPort

    folder = find_model(Path(spec), stage)
    engine, tokenizer = open_engine(folder, weights, slots=slots, length=length)
    return LocalPort(engine, tokenizer, str(folder))


def open_reward(spec: str) -> Scorer:
    """The reward model that `spec` names, a folder or a run with a stage `reward`, as a scorer."""
    from jielong.model.hf import load
    from jielong.model.transformer import ScalarModel
    from jielong.runs import find_model
    from jielong.train.rewards import RewardModelScorer

    is_run = (Path(spec) / "run.json").exists()
    folder = find_model(Path(spec), "reward" if is_run else None)
    model = load(folder)
    if not isinstance(model, ScalarModel):
        raise ConfigError(f"{spec} holds a model that writes; --reward takes a reward model, which gives scores")
    return RewardModelScorer(model)
