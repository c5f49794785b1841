"""Texts and conversations: `Document`, and `Conversation` of `Message`s."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jielong.errors import DataError, did_you_mean
from jielong.outside import Fields

ROLES = ("system", "user", "assistant", "tool")

Content = str | tuple[Mapping[str, Any], ...]
"""A string, or parts such as {"type": "text", "text": ...} and {"type": "image", ...}."""


def to_dict(record: Any) -> Any:
    """Convert a record to plain dicts, lists and scalars, leaving out fields that hold their default."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        out = {}
        for f in dataclasses.fields(record):
            value = getattr(record, f.name)
            has_default = f.default is not dataclasses.MISSING and value == f.default
            if not has_default and not (value == {} and f.default_factory is dict):
                out[f.name] = to_dict(value)
        return out
    if isinstance(record, Mapping):
        return {str(k): to_dict(v) for k, v in record.items()}
    if isinstance(record, (tuple, list)):
        return [to_dict(v) for v in record]
    return record


def known_fields(cls: type, data: Any) -> Fields:
    """Wrap plain data as the Fields of a record class. Raises DataError, with the nearest name, for an unknown
    field.
    """
    fields = Fields(data, f"a {cls.__name__}")
    names = [f.name for f in dataclasses.fields(cls)]
    for key in fields.data:
        if key not in names:
            raise DataError(f"unknown field {key!r} in a {cls.__name__}; {did_you_mean(key, names)}")
    return fields


def messages_of(fields: Fields, name: str) -> tuple[Message, ...]:
    """Read the messages in a field."""
    return tuple(Message.from_dict(each.data) for each in fields.inners(name))


@dataclass(frozen=True)
class Document:
    """One text and its source. `meta` holds notes that later steps add (language, scores)."""

    text: str
    id: str = ""
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Document:
        known = known_fields(cls, data)
        return cls(known.text("text"), known.text("id", ""), known.text("source", ""), known.inner("meta", {}).data)


_PART = '{"type": "text", "text": "..."}'


@dataclass(frozen=True)
class Message:
    """One turn: its role and content. A tool's answer names the call it belongs to."""

    role: str
    content: Content
    name: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str | None = None
    is_trained: bool = True
    """Whether the assistant learns to say it, where it is trained on."""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise DataError(f"message has role {self.role!r:.80}; expected one of {', '.join(ROLES)}")
        is_text = isinstance(self.content, str)
        if not is_text and not (isinstance(self.content, tuple) and all(isinstance(p, Mapping) for p in self.content)):
            raise DataError(f"message has content {self.content!r:.80}; expected a string, or parts such as {_PART}")

    @property
    def text(self) -> str:
        """Return the textual content; of several parts, the text parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(part.get("text", "")) for part in self.content if part.get("type") == "text")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Message:
        """Read a message from plain data. Raises DataError, which says what is missing or wrong."""
        known = known_fields(cls, data)
        if "role" not in known.data or "content" not in known.data:
            raise DataError(f"a message needs 'role' and 'content'; this one has {', '.join(known.data) or 'nothing'}")
        content = known.take("content")
        return cls(
            known.take("role"),
            tuple(content) if isinstance(content, list) else content,
            known.text("name", None),
            tuple(call.data for call in known.inners("tool_calls", None)),
            known.text("tool_call_id", None),
            known.flag("is_trained", True),
        )


@dataclass(frozen=True)
class Conversation:
    """Messages in order."""

    messages: tuple[Message, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Conversation:
        known = known_fields(cls, data)
        return cls(messages_of(known, "messages"), known.inner("meta", {}).data)
