"""The stage for chats or preferences of one's own, brought as a file."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jielong.data.forms import Record
from jielong.data.talks import Reading, read_chats, read_preferences
from jielong.errors import DataError
from jielong.records import Conversation
from jielong.runs import derive_seed
from jielong.stages.pages import content_digest
from jielong.stages.parts import hold_out, write_jsonl, write_parts
from jielong.stages.recipe import Context, Stage, Summary

FEWEST = 20
"""Chats or preferences with which anything can be learned."""


@dataclass(frozen=True)
class FileStage(Stage):
    """Chats or preferences of one's own; `digest` stands for the file's content."""

    name: str
    path: str
    holds: Literal["chats", "preferences"]
    digest: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    version: int = 2

    def run(self, context: Context) -> Summary:
        """A file of one's own, checked and in our form."""
        directory = context.directory(self.name)
        if self.holds == "chats":
            chats = _told(read_chats(Path(self.path)), context)
            random.Random(derive_seed(context.recipe.seed, self.name, "order")).shuffle(chats)
            parts = hold_out(chats, 33)
            asked = (c.messages[: max(i for i, m in enumerate(c.messages) if m.role == "assistant")] for c in parts[0])
            prompts = [Conversation(m) for m in asked if m]
            if not prompts:
                raise DataError(
                    f"{self.path} holds answers but nothing that was asked; expected user turns before them"
                )
            return write_parts(directory, "chats", parts) | {
                "prompts": write_jsonl(directory / "prompts.jsonl", prompts)
            }
        preferences = _told(read_preferences(Path(self.path)), context)
        random.Random(derive_seed(context.recipe.seed, self.name, "order")).shuffle(preferences)
        return write_parts(directory, "preferences", hold_out(preferences, 16))


def _told(reading: Reading[Record], context: Context) -> list[Record]:
    """The records, after whoever watches was told what else was found."""
    context.display.message("\n".join(reading.tally.sentences()))
    return reading.records


def file_stage(name: Literal["chats", "preferences"], path: Path) -> FileStage:
    """The stage for a file, which is read once here, so that a bad line is told before hours of work."""
    found = (read_chats(path) if name == "chats" else read_preferences(path)).records
    if len(found) < FEWEST:
        raise DataError(f"{path} holds {len(found)} {name}; at least {FEWEST} are needed, and hundreds are better")
    return FileStage(name, str(path), name, content_digest([path], path.parent))
