"""Token generation: the engine, sampling, and conversion of tokens to text."""

from __future__ import annotations

from jielong.generate.config import EngineConfig
from jielong.generate.engine import Engine
from jielong.generate.text import generate_text
from jielong.records import Event

__all__ = ["Engine", "EngineConfig", "Event", "generate_text"]
