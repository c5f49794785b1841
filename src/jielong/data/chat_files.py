"""Chats and preferences from files, read to the last record, with a tally of used, odd and wrong records.

A file is JSON lines, a JSON list or Parquet, packed or not, in any encoding (`outside`). Its records are in any of the
forms in `forms`, or our own judgements (`judged`), of which one may hold several pairs. Each record is rendered while
it is read, so that an error is reported now, with its line. A malformed record refuses the whole file, since training
on the rest would hide the damage. A well-formed but unusable record is left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from jielong.data.forms import Formed, Record, chat_of, is_rating
from jielong.data.judged import answers_of, is_own, preferences_of, ratings_of
from jielong.data.problems import problem_of
from jielong.errors import DataError
from jielong.outside import FileRecord, list_problems, parse_record, parse_records, read_lines
from jielong.records import Conversation, Judgement, Message, Preference, Rating
from jielong.tokens.chat import texts

Other = TypeVar("Other")

SHOWN_LINES = 3
"""Line numbers that are told of one kind of oddity."""


@dataclass
class Occurrences:
    """A count of occurrences, and the first lines with one."""

    unit: str = "line"
    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        self.count += 1
        if len(self.lines) < SHOWN_LINES:
            self.lines.append(line)

    def __str__(self) -> str:
        more = " ..." if self.count > len(self.lines) else ""
        where = self.unit if self.count == 1 else f"{self.unit}s"
        return f"{where} {', '.join(map(str, self.lines))}{more}"


@dataclass
class Tally:
    """The tally of a file: records by form, records left out and why, oddities, and unread fields."""

    num_records: int = 0
    num_used: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    useless: dict[str, Occurrences] = field(default_factory=dict)
    odd: dict[str, Occurrences] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    num_problems: int = 0
    remarks: list[str] = field(default_factory=list)
    encoding: str = "utf-8"

    def note(self, line: FileRecord, formed: Formed[Any]) -> None:
        """Count a record under its form, and note what is useless, odd or unread in it."""
        self.forms[formed.form] += 1
        if formed.useless:
            self.useless.setdefault(formed.useless, Occurrences(line.unit)).add(line.number)
        else:
            self.num_used += 1
        for what in formed.odd:
            self.odd.setdefault(what, Occurrences(line.unit)).add(line.number)
        self.unread.update(formed.unread)

    def refuse(self, problem: str) -> None:
        self.num_problems += 1
        if len(self.problems) < 5:
            self.problems.append(problem)

    def sentences(self) -> list[str]:
        """Return the findings, a line each: forms, records left out, oddities, unread fields."""
        forms = ", ".join(f"{count:,} in {form}" for form, count in self.forms.most_common())
        told = [
            f"{self.num_used:,} of {self.num_records:,} records are used ({forms or 'none in a form that is known'})"
        ]
        if self.encoding != "utf-8":
            told.append(f"read as {self.encoding}, which the file seems to be in; if that is wrong, save it as UTF-8")
        told += [f"left out: {places.count:,}, {why} ({places})" for why, places in self.useless.items()]
        told += [f"kept, but odd: {places.count:,}, {what} ({places})" for what, places in self.odd.items()]
        told += self.remarks
        if self.unread:
            told.append("not read: " + ", ".join(f"{name} ({count:,})" for name, count in self.unread.most_common(8)))
        if self.num_problems:
            told.append(f"wrong: {self.num_problems:,}\n" + list_problems(self.problems, len(self.problems)))
        return told


@dataclass(frozen=True)
class TalliedRecords(Generic[Record]):
    """The usable records of a file, and the tally of everything in it."""

    records: list[Record]
    tally: Tally


Forms = Callable[[Mapping[str, Any]], Sequence[Formed[Record]]]
"""All records that one parsed object holds."""


def each_record(path: Path, formed: Forms[Record], tally: Tally) -> Iterator[tuple[int, Formed[Record]]]:
    """Yield line number and record of all usable records; count the others, malformed ones too, in the tally.

    An object with several records counts as one.
    """

    def rendered(data: Mapping[str, Any]) -> Sequence[Formed[Record]]:
        """Read the records of an object, checking that their messages can be encoded."""
        found = formed(data)
        for one in found:
            texts(_messages_of(one.record))
        return found

    for line in read_lines(path):
        tally.num_records += 1
        tally.encoding = line.encoding
        try:
            found = parse_record(line, rendered, path)
        except DataError as error:
            tally.refuse(str(error))
            continue
        tally.note(line, found[0])
        for one in found:
            if not one.useless:
                yield line.number, one


def _messages_of(record: Conversation | Judgement) -> tuple[Message, ...]:
    if isinstance(record, Conversation):
        return record.messages
    return (*record.prompt, *(message for answer in answers_of(record) for message in answer))


def as_sequence_reader(formed: Callable[[Mapping[str, Any]], Formed[Record]]) -> Forms[Record]:
    """Adapt a reader that gives one record for an object to one that gives a sequence of records."""
    return lambda data: [formed(data)]


def read_all(path: Path, formed: Forms[Record], what: str) -> TalliedRecords[Record]:
    """Read all records of a file; DataError lists the malformed ones, or says that none can be used."""
    tally = Tally()
    found = [formed.record for _, formed in each_record(path, formed, tally)]
    refuse_wrong(path, tally, found, what)
    return TalliedRecords(found, tally)


def refuse_wrong(path: Path, tally: Tally, found: Sequence[object], what: str) -> None:
    """Raise DataError that lists the malformed records of a file, or says why none was `found`."""
    if tally.num_problems:
        more = f"\n... and {tally.num_problems - len(tally.problems):,} more records" * (tally.num_problems > 5)
        raise DataError("\n".join(tally.problems) + more)
    if not found:
        why = "; ".join(tally.sentences()[1:]) if tally.num_records else "it is empty"
        raise DataError(f"{path}: holds no {what} that can be used ({why}); expected one JSON object a line")


def read_chats(path: str | Path) -> TalliedRecords[Conversation]:
    """Read the conversations of a file; DataError lists the records that are wrong, or says that none can be used."""
    return read_all(Path(path), as_sequence_reader(chat_of), "conversation")


def read_problems(path: str | Path, rules: Collection[str]) -> TalliedRecords[Conversation]:
    """Read the prompts of a file whose answers are known, to be compared by one of `rules`; DataError lists what is
    wrong, or says that none can be used.
    """
    return read_all(Path(path), as_sequence_reader(lambda data: problem_of(data, rules)), "prompt with a known answer")


def read_preferences(path: str | Path) -> TalliedRecords[Preference]:
    """Read the preferences of a file, those in rankings too; DataError lists what is wrong, or says that none can be
    used.
    """
    return read_all(Path(path), preferences_of, "preference")


def read_ratings(path: str | Path) -> TalliedRecords[Rating]:
    """Read the rated answers of a file, their scores scaled to 0 to 1 where any lies outside.

    DataError lists the records that are wrong, or says that none can be used.
    """
    found = read_all(Path(path), ratings_of, "rating")
    scores = [one.score for one in found.records]
    low, high = min(scores), max(scores)
    if low >= 0 and high <= 1:
        return found
    found.tally.remarks.append(f"scores from {low:g} to {high:g}, which are taken as marks from 0 to 1")
    return replace(found, records=[replace(r, score=(r.score - low) / ((high - low) or 1)) for r in found.records])


def judgement_kinds_in(path: Path) -> frozenset[str]:
    """Return {"pairs"}, {"ratings"} or both: the kinds in a file, by its first record, or for our own form by all of
    them.
    """
    found: set[str] = set()
    for line in read_lines(path):
        data = line.data if isinstance(line.data, dict) else {}  # whoever reads the whole file says what is wrong
        if not is_own(data):
            return frozenset(found or {"ratings" if is_rating(data) else "pairs"})
        found |= {"preference": {"pairs"}, "ranking": {"pairs"}, "rating": {"ratings"}}.get(str(data["kind"]), set())
    return frozenset(found)


def read_records(path: str | Path, parse: Callable[[Mapping[str, Any]], Other], what: str) -> list[Other]:
    """Return `parse` of all records of a file; DataError names the bad lines, or says that there is no record."""
    return parse_records(read_lines(Path(path)), parse, Path(path), what)
