"""Prompts out of files of any form: questions alone, chats up to their last answer, and the prompts of judged answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jielong.data.chat_files import read_records
from jielong.data.forms import chat_of, preference_of
from jielong.data.judged import is_own, judgement_of
from jielong.data.turns import text_of, with_system
from jielong.errors import DataError
from jielong.records import Message, to_dict
from jielong.runs import canonical_json

_ASKING = ("prompt", "question", "query", "instruction")


def read_prompts(path: Path) -> list[tuple[Message, ...]]:
    """Read the prompts of a file, each once. Raises DataError, which names the lines, if some hold none."""
    found = read_records(path, prompt_of, "prompt")
    return list({canonical_json(to_dict(prompt)): prompt for prompt in found}.values())


def prompt_of(data: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return the turns before the last answer of a record. Raises DataError if nobody asks anything in it."""
    if is_own(data):
        return judgement_of(data).record.prompt
    if "chosen" in data and "rejected" in data:
        return preference_of(data).record.prompt
    asking = next((name for name in _ASKING if isinstance(data.get(name), str) and data[name].strip()), None)
    if asking is not None:
        more = text_of(data, "input") if asking == "instruction" else ""
        return with_system((Message("user", f"{data[asking]}\n\n{more}".strip()),), text_of(data, "system"))
    messages = chat_of(data).record.messages
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    if last < 0:
        raise DataError("nobody asks anything in it; expected a prompt, a question or a turn of the user")
    return messages[: last + 1]
