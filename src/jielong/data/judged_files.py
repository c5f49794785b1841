"""Files of judgements: read in common forms and in our own, and exported for other trainers.

The forms read are our own, pairs and marks as TRL and many others have them (`forms`), and Label Studio's export. A
malformed record refuses the file; an unusable one is left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.data import label_studio
from jielong.data.chat_files import Occurrences, Tally, refuse_wrong
from jielong.data.forms import Formed, preference_of, rating_of
from jielong.data.judged import MIDDLE, NAMES, answers_of, is_own, judgement_of, pairs_in
from jielong.data.label_studio import Judged
from jielong.errors import DataError
from jielong.outside import parse_record, read_lines
from jielong.records import (
    Demonstration,
    Judgement,
    Message,
    Preference,
    Ranking,
    Rating,
    judgement_to,
    kind_of,
)
from jielong.runs import canonical_json

_EXPECTED = (
    "expected our own judgements (kind), pairs (prompt, chosen, rejected), marks (prompt, completion, label) or tasks of "
    "Label Studio's JSON export (data, annotations)"
)


@dataclass(frozen=True)
class JudgedFile:
    """The judgements of a file, and the tally of its other records."""

    judgements: list[Judgement]
    tally: Tally


def read_judgements(path: str | Path) -> JudgedFile:
    """Read all judgements of a file. Raises DataError, which lists the records that are wrong, or says that none can be
    used.
    """
    path, tally = Path(path), Tally()
    judgements: list[Judgement] = []
    for line in read_lines(path):
        tally.num_records += 1
        tally.encoding = line.encoding
        try:
            form, found = parse_record(line, _judgements_in, path)
        except DataError as error:
            tally.refuse(str(error))
            continue
        tally.forms[form] += 1
        tally.num_used += bool(found.judgements)
        judgements += found.judgements
        for why in found.left_out:
            tally.useless.setdefault(why, Occurrences(line.unit)).add(line.number)
    refuse_wrong(path, tally, judgements, "judgement")
    return JudgedFile(judgements, tally)


def _judgements_in(data: Mapping[str, Any]) -> tuple[str, Judged]:
    """Return the form of a record, and its judgements."""
    if is_own(data):
        return _of_one(judgement_of(data))
    if label_studio.is_task(data):
        return label_studio.FORM, label_studio.judged_in_task(data)
    if "chosen" in data or "rejected" in data:
        return _of_one(preference_of(data))
    if isinstance(data.get("label"), bool):
        return _of_one(rating_of(data))
    raise DataError(f"the fields are {', '.join(map(str, data)) or 'none'}; {_EXPECTED}")


def _of_one(formed: Formed[Any]) -> tuple[str, Judged]:
    return formed.form, Judged([], [formed.useless]) if formed.useless else Judged([formed.record])


# Written -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Export:
    """An exported file: its text, its number of records, and the number of left-out judgements by reason."""

    text: str
    num_records: int
    left_out: Counter[str]


def export_judgements(judgements: Sequence[Judgement], form: str) -> Export:
    """Format judgements as JSON lines in one of the `FORMS`."""
    lines: list[str] = []
    left_out: Counter[str] = Counter()
    for one in judgements:
        told = FORMS[form](one)
        if isinstance(told, str):
            left_out[told] += 1
        else:
            lines += [canonical_json(record) + "\n" for record in told]
    return Export("".join(lines), len(lines), left_out)


_Exported = Sequence[Mapping[str, Any]] | str
"""The records that a judgement becomes, or why it becomes none."""


def _to_own(one: Judgement) -> _Exported:
    return [judgement_to(one)]


def _to_trl(one: Judgement) -> _Exported:
    """Convert a judgement to TRL's pairs with their prompt, as conversations."""
    if not isinstance(one, Preference | Ranking):
        return NAMES[kind_of(one)]
    decided = [pair for pair in pairs_in(one) if pair.label != 0.5]
    if not decided:
        return "a tie"
    sides = [(p.chosen, p.rejected) if p.label > 0.5 else (p.rejected, p.chosen) for p in decided]
    return [{"prompt": _turns_json(one.prompt), "chosen": _turns_json(c), "rejected": _turns_json(r)} for c, r in sides]


def _to_kto(one: Judgement) -> _Exported:
    """Convert a rating to a KTO record: prompt, completion, and whether the score is above the middle. Returns the
    reason as text if the score is in the middle or the judgement is not a rating.
    """
    if not isinstance(one, Rating):
        return NAMES[kind_of(one)]
    if one.score == MIDDLE:
        return "a mark in the middle, such as three stars"
    return [{"prompt": _turns_json(one.prompt), "completion": _turns_json(one.answer), "label": one.score > MIDDLE}]


def _to_sft(one: Judgement) -> _Exported:
    """Convert a demonstration to a conversation for fine-tuning."""
    if not isinstance(one, Demonstration):
        return f"a {kind_of(one)}, which holds no answer written to be learned"
    return [{"messages": _turns_json((*one.prompt, *answers_of(one)[0]))}]


def _turns_json(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.text} for m in messages]


FORMS: Mapping[str, Callable[[Judgement], _Exported]] = {"own": _to_own, "trl": _to_trl, "kto": _to_kto, "sft": _to_sft}
"""How judgements can be written: our own form with everything, TRL's pairs, KTO's marks, and chats."""
