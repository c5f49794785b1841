"""Tasks: questions with right answers and scorers, built in or read from JSON lines.

An item is {"id", "question" or "messages", the right answer, "scorer", "meta"}. The right answer is one of "answer" or
"answers", "choices" with "label" (the place of the right one, from 0), "checkers" (see `instructions`), "tests" (Python
that fails where the answer's code is wrong), or nothing, if the scorer needs none. Without "scorer" it follows from
these: match, letter, instructions or code. `meta.group` splits the results in the table; two items with the same
`meta.pair`, one of `meta.side` "a" and one of "b", are compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jielong.errors import DataError, did_you_mean
from jielong.evaluate.instructions import read_checkers
from jielong.records import Conversation, Message, to_dict
from jielong.runs import derive_seed, digest
from jielong.use.examples import read_records
from jielong.use.prompting import fill, language_of

NEEDS = {
    "match": "answers",
    "exact": "answers",
    "number": "answers",
    "contains": "answers",
    "f1": "answers",
    "regex": "answers",
    "letter": "choices",
    "logprob": "choices",
    "share": "choices",
    "instructions": "checkers",
    "code": "tests",
    "refuses": "",
    "helps": "",
    "yes": "",
    "grade": "",
}
"""What each scorer needs of an item; `scoring` says what each does."""

_USUAL = {"answers": "match", "choices": "letter", "checkers": "instructions", "tests": "code"}
_FIELDS = ("id", "question", "messages", "answer", "answers", "choices", "label", "checkers", "tests", "scorer", "meta")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Item:
    """One question and its right answer."""

    id: str
    messages: tuple[Message, ...]
    scorer: str
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    label: int = 0
    checkers: tuple[Mapping[str, Any], ...] = ()
    tests: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return a digest of the whole item."""
        return digest(to_dict(self))[:12]

    @property
    def question(self) -> str:
        """The text of the last turn."""
        return self.messages[-1].text

    @property
    def conversation(self) -> Conversation:
        """Return the conversation for the model; choices that are answered with a letter stand below the question."""
        if self.scorer != "letter":
            return Conversation(self.messages)
        listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, self.choices, strict=False))
        text = fill("choices", language_of(self.question), question=self.question, choices=listed)
        return Conversation((*self.messages[:-1], replace(self.messages[-1], content=text)))

    @property
    def group(self) -> str:
        return str(self.meta.get("group", ""))


@dataclass(frozen=True)
class Task:
    """Items under a name."""

    name: str
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for item in self.items:
            if item.id in seen:
                raise DataError(f"task {self.name}: id {item.id!r} stands there twice; every item needs its own")
            seen.add(item.id)

    def drawn(self, count: int, seed: int = 0) -> Task:
        """Sample `count` items by the seed, in the task's order; 0 means all. A larger sample contains the smaller
        ones, and pairs stay whole.
        """
        if not count or count >= len(self.items):
            return self
        groups: dict[str, list[Item]] = {}
        for item in self.items:
            groups.setdefault(str(item.meta.get("pair", item.id)), []).append(item)
        kept: set[str] = set()
        for name in sorted(groups, key=lambda name: derive_seed(seed, "draw", name)):
            if len(kept) >= count:
                break
            kept |= {item.id for item in groups[name]}
        return replace(self, items=tuple(item for item in self.items if item.id in kept))


def read_task(path: Path, scorer: str = "") -> Task:
    """Read the task of a JSONL file; DataError lists the lines that hold no item. `scorer` is the default for lines
    without one.
    """
    numbers = iter(range(1, 1 << 30))
    return Task(path.stem, tuple(read_records(path, lambda data: _item(data, f"{next(numbers)}", scorer), "item")))


def _item(data: Mapping[str, Any], number: str, usual_scorer: str) -> Item:
    """Read an item from its object; DataError says what is missing or wrong."""
    for key in data:
        if key not in _FIELDS:
            raise DataError(f"unknown field {key!r} in an item; {did_you_mean(key, _FIELDS)}")
    given: dict[str, Any] = {
        "answers": _answers(data),
        "choices": _texts(data, "choices"),
        "checkers": (),
        "tests": _tests(data),
    }
    if "checkers" in data:
        given["checkers"] = read_checkers(data["checkers"])
    there = [name for name in given if given[name]]
    scorer = data.get("scorer") or usual_scorer or (_USUAL[there[0]] if len(there) == 1 else "")
    if not scorer:
        raise DataError(
            f"an item needs one of answer, choices, checkers and tests, or a 'scorer'; found {', '.join(there) or 'none'}"
        )
    if not isinstance(scorer, str) or scorer not in NEEDS:
        raise DataError(f"unknown scorer {scorer!r:.80}; {did_you_mean(str(scorer), NEEDS)}")
    if NEEDS[scorer] and not given[NEEDS[scorer]]:
        raise DataError(f"scorer {scorer!r} needs {NEEDS[scorer]!r}, which are missing")
    if scorer == "regex":
        _check_patterns(given["answers"])
    meta = data.get("meta", {})
    if not isinstance(meta, Mapping):
        raise DataError(f"'meta' is {meta!r}; expected an object")
    return Item(str(data.get("id", number)), _messages(data), scorer, **given, label=_label(data), meta=meta)


def _tests(data: Mapping[str, Any]) -> str:
    """Read the tests of an item, Python in a string."""
    tests = data.get("tests", "")
    if not isinstance(tests, str):
        raise DataError(f"'tests' are {tests!r:.80}; expected Python in a string")
    return tests


def _messages(data: Mapping[str, Any]) -> tuple[Message, ...]:
    """Read the question or the messages of an item."""
    if ("question" in data) == ("messages" in data):
        raise DataError("an item needs either 'question' or 'messages'")
    if "question" in data:
        if not isinstance(data["question"], str) or not data["question"].strip():
            raise DataError(f"'question' is {data['question']!r}; expected some text")
        return (Message("user", data["question"]),)
    if not isinstance(data["messages"], list):
        raise DataError(f"'messages' are {data['messages']!r:.80}; expected a list of messages")
    messages = tuple(Message.from_dict(m) for m in data["messages"])
    if not messages or messages[-1].role != "user":
        raise DataError("the last of the messages must be a user's turn")
    return messages


def _answers(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Read `answer` or `answers`; numbers are taken as they are written."""
    if "answer" in data and "answers" in data:
        raise DataError("an item has either 'answer' or 'answers'")
    found = [data["answer"]] if "answer" in data else data.get("answers", [])
    if not isinstance(found, list) or not all(isinstance(a, (str, int, float)) and str(a).strip() for a in found):
        raise DataError(f"'answers' are {found!r}; expected some texts or numbers")
    return tuple(map(str, found))


def _texts(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Read a list of texts."""
    found = data.get(key, [])
    if not isinstance(found, list) or not all(isinstance(t, str) and t for t in found):
        raise DataError(f"{key!r} is {found!r}; expected a list of texts")
    return tuple(found)


def _label(data: Mapping[str, Any]) -> int:
    """Read the place of the right choice, from 0."""
    label, count = data.get("label", 0), len(_texts(data, "choices"))
    if "choices" in data and "label" not in data:
        raise DataError("'choices' need a 'label', the place of the right one, from 0")
    if not isinstance(label, int) or isinstance(label, bool) or ("label" in data and not 0 <= label < count):
        raise DataError(f"'label' is {label!r}; expected the place of one of the {count} choices, from 0")
    if not count <= len(LETTERS):
        raise DataError(f"an item has {count} choices; {len(LETTERS)} are the most")
    return label


def _check_patterns(patterns: Sequence[str]) -> None:
    """Raise DataError for an invalid regular expression."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise DataError(f"{pattern!r} is no regular expression: {error}") from None
