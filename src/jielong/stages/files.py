"""The stage for chats, preferences or ratings in a user's file."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from jielong.data.chat_files import TalliedRecords, read_chats, read_preferences, read_ratings
from jielong.data.forms import FEWEST, Record
from jielong.data.splits import Split, hold_out
from jielong.errors import DataError
from jielong.records import Conversation
from jielong.runs import derive_seed
from jielong.stages.pages import content_digest
from jielong.stages.parts import write_jsonl, write_parts
from jielong.stages.recipe import Context, Stage, Summary


@dataclass(frozen=True)
class FileStage(Stage):
    """Chats, preferences or rated answers of one's own; `digest` stands for the file's content."""

    name: str
    path: str
    holds: Literal["chats", "preferences", "ratings"]
    digest: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    version: int = 3
    only_places: ClassVar[tuple[str, ...]] = ("path",)

    def run(self, context: Context) -> Summary:
        """Write the file's records in our form, checked; of chats also prompts.jsonl, the questions before each last
        answer.
        """
        directory = context.directory(self.name)
        order = random.Random(derive_seed(context.recipe.seed, self.name, "order"))
        if self.holds == "preferences":
            preferences = _report_findings(read_preferences(Path(self.path)), context)
            order.shuffle(preferences)
            return write_parts(directory, "preferences", _report_split(hold_out(preferences, 16), context))
        if self.holds == "ratings":
            ratings = _report_findings(read_ratings(Path(self.path)), context)
            order.shuffle(ratings)
            return write_parts(directory, "ratings", _report_split(hold_out(ratings, 16), context))
        chats = _report_findings(read_chats(Path(self.path)), context)
        order.shuffle(chats)
        parts = _report_split(hold_out(chats, 33), context)
        prompts = [asked for chat in parts.learned if (asked := asked_before_last_answer(chat)) is not None]
        if not prompts:
            raise DataError(f"{self.path} holds answers but nothing that was asked; expected user turns before them")
        counts = write_parts(directory, "chats", parts)
        return counts | {"prompts": write_jsonl(directory / "prompts.jsonl", prompts)}


def asked_before_last_answer(chat: Conversation) -> Conversation | None:
    """Return the conversation up to its last answer, or None if nobody has asked anything before it."""
    answers = [i for i, m in enumerate(chat.messages) if m.role == "assistant"]
    before = chat.messages[: answers[-1]] if answers else ()
    return replace(chat, messages=before) if any(m.role == "user" for m in before) else None


def _report_split(split: Split[Record], context: Context) -> Split[Record]:
    if split.note:
        context.display.message(split.note)
    return split


def _report_findings(reading: TalliedRecords[Record], context: Context) -> list[Record]:
    """Show the tally of a file to the user and return its records."""
    context.display.message("\n".join(reading.tally.sentences()))
    return reading.records


def file_stage(name: Literal["chats", "preferences", "ratings"], path: Path) -> FileStage:
    """Make the stage for a file, which is read once here, so that a bad line is reported before hours of work."""
    if name == "ratings":
        found: Sequence[object] = read_ratings(path).records
    else:
        found = (read_chats(path) if name == "chats" else read_preferences(path)).records
    if len(found) < FEWEST:
        raise DataError(f"{path} holds {len(found)} {name}; at least {FEWEST} are needed, and hundreds are better")
    return FileStage(name, str(path), name, content_digest([path], path.parent))
