"""Split off held-out records by whole prompts, so that no prompt is on both sides, for about the requested share of the
text. If one prompt has nearly all the records, the split is by records and is noted.

Every n-th prompt is the usual choice. If a few prompts or documents hold most of the text, that choice may take nearly
all of it or nearly nothing; then groups are taken one after the other as long as they fit into the share.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic

from jielong.data.forms import Record
from jielong.data.judged import answers_of
from jielong.records import Conversation, Message, to_dict
from jielong.runs import canonical_json

TOLERANCE = 0.01
"""Of the whole text: so far may the share that is held out be from what was asked for."""


@dataclass(frozen=True)
class Split(Generic[Record]):
    """Training records and held-out records; `note` explains an unusual split."""

    learned: list[Record]
    held_out: list[Record]
    note: str = ""


def choose_held_out(sizes: Sequence[float], usual: Collection[int], share: float) -> set[int]:
    """Choose the groups to hold out, by number: the `usual` ones if they are about `share` of all, else groups that
    fit.

    Returns an empty set if every group is much larger than the share. At least one group is always left for training.
    """
    total = sum(sizes) or 1.0
    held = set(usual)
    if held and len(held) < len(sizes) and abs(sum(sizes[g] for g in held) / total - share) <= TOLERANCE:
        return held
    held, taken, room = set(), 0.0, (share + TOLERANCE / 2) * total
    for group in [*sorted(usual), *(g for g in range(len(sizes)) if g not in usual)]:
        if taken + sizes[group] <= room and len(held) < len(sizes) - 1:
            held.add(group)
            taken += sizes[group]
        if taken >= (share - TOLERANCE / 2) * total:
            break
    return held


def hold_out(records: Sequence[Record], every: int) -> Split[Record]:
    """Hold out about one part in `every`, by prompts; if one prompt has nearly all records, split by records and note
    it.
    """
    numbers: dict[str, int] = {}
    of_record = [numbers.setdefault(_prompt_of(record), len(numbers)) for record in records]
    sizes = [0.0] * len(numbers)
    for record, group in zip(records, of_record, strict=True):
        sizes[group] += _size_of(record)
    held = choose_held_out(sizes, range(0, len(numbers), every), 1 / every)
    note = ""
    if not held and len(records) > 1:
        of_record, each = list(range(len(records))), [_size_of(record) for record in records]
        held = choose_held_out(each, range(0, len(records), every), 1 / every) or {
            min(of_record, key=lambda i: each[i])
        }
        note = f"{len(numbers)} prompts have all {len(records)} records, so held-out ones share theirs with what is learned"
    parts: tuple[list[Record], list[Record]] = ([], [])
    for record, group in zip(records, of_record, strict=True):
        parts[group in held].append(record)
    return Split(*parts, note)


def _prompt_of(record: Record) -> str:
    """Return a record's prompt: everything up to the first answer, including a greeting before the first question."""
    if not isinstance(record, Conversation):
        prompt: tuple[Message, ...] = record.prompt
    else:
        messages = record.messages
        asked = next((i for i, m in enumerate(messages) if m.role != "assistant" and m.role != "system"), 0)
        answer = next((i for i, m in enumerate(messages) if m.role == "assistant" and i > asked), None)
        first = next((i for i, m in enumerate(messages) if m.role == "assistant"), None)
        prompt = messages[: first if answer is None else answer]
    return canonical_json(to_dict(prompt))


def _size_of(record: Record) -> float:
    """Return the size of a record: the letters of its messages and calls."""
    if isinstance(record, Conversation):
        messages = record.messages
    else:
        messages = (*record.prompt, *(message for answer in answers_of(record) for message in answer))
    return float(sum(len(m.text) + len(canonical_json(to_dict(m.tool_calls))) for m in messages))
