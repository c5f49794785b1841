"""Judgements from Label Studio's JSON export: a task holds a prompt and answers, its annotations people's judgements of
them.

Results of type pairwise, choices, rating, ranker and textarea are read. The export does not hold the labelling page, so
the answer that a result is about is the field of the task's data with the name that the result gives, or the one that
ends in the same number or letter (`txt-1` and `answer1`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from jielong.data.turns import Notes, messages_of, with_system
from jielong.errors import DataError
from jielong.outside import Fields, shorten_value
from jielong.records import Demonstration, Judgement, Message, Preference, Ranking, Rating, Vote

FORM = "Label Studio's tasks"

MOST_STARS = 5
"""Of its ratings, where the labelling page does not say otherwise; the export says nothing of it."""

_PROMPTS = ("prompt", "question", "instruction", "query", "input", "messages", "conversation", "dialogue", "context")
_ANSWER = re.compile(r"(answer|response|completion|output|reply|candidate|summary|generated|chosen|rejected)", re.I)
_BESIDE = ("id", "system", "source", "category", "language", "reference", "model")
_TAIL = re.compile(r"(\d+|[a-z])$", re.I)
_COMMENT = re.compile(r"comment|reason|feedback|expla|why|note|justif|rationale|备注|理由|原因", re.I)
_MOST_BY = 64
"""Letters of a voter's name."""

_EMPTY_WORDS = set(
    "answer response option model text output completion is are the better best prefer preferred".split()
)
_LEFT, _RIGHT = ({"left", "a", "1", "first", "左", "左边"}, {"right", "b", "2", "second", "右", "右边"})
_TIE = {"tie", "equal", "equally", "same", "draw", "similar", "平", "平手", "一样", "都好"}
_BOTH_BAD = {"neither", "none", "都不好", "都差"}
_GOOD = {"good", "yes", "like", "up", "correct", "acceptable", "helpful", "👍", "好", "赞", "是"}
_BAD = {
    "bad",
    "no",
    "dislike",
    "down",
    "incorrect",
    "unacceptable",
    "unhelpful",
    "wrong",
    "👎",
    "不好",
    "差",
    "踩",
    "否",
}


@dataclass
class Judged:
    """The judgements in a task, and reasons why others in it are left out."""

    judgements: list[Judgement] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def is_task(data: Mapping[str, Any]) -> bool:
    """Whether a record is a task of Label Studio with its annotations."""
    return isinstance(data.get("data"), dict) and "annotations" in data


def judged_in_task(data: Mapping[str, Any]) -> Judged:
    """Read all judgements in a task. Raises DataError, which names the field that is wrong. Predictions, which are
    models', are not read.
    """
    task = Fields(data, "a task")
    annotations = task.inners("annotations")
    if not annotations:
        return Judged(left_out=["nobody has annotated the task"])
    found = Judged()
    answered = _Task(task.inner("data"))
    for annotation in annotations:
        if annotation.flag("was_cancelled", False):
            found.left_out.append("the annotation was skipped")
        else:
            _read_annotation(annotation, answered, found)
    return found


class _Task:
    """The prompt and the answers in a task's data."""

    def __init__(self, data: Fields) -> None:
        self.data = data.data
        self.prompt_name = next((name for name in _PROMPTS if data.data.get(name)), "")
        if not self.prompt_name:
            raise DataError(
                f"the task's data has the fields {', '.join(data.data) or 'none'}; expected a prompt in {', '.join(_PROMPTS)}"
            )
        asked = data.data[self.prompt_name]
        if isinstance(asked, list):
            turns = [_turn(one) for one in asked]
            self.prompt = messages_of(turns, self.prompt_name, Notes())
        else:
            self.prompt = (Message("user", data.text(self.prompt_name)),)
        self.prompt = with_system(self.prompt, data.text("system", None) or "")
        texts = [n for n, v in self.data.items() if isinstance(v, str) and n not in (self.prompt_name, *_BESIDE)]
        self.answers = [name for name in texts if _ANSWER.match(name)] or texts

    def answer_field(self, name: str) -> str | None:
        """Return the data field of the answer that a result names, or None if it is ambiguous."""
        if name in self.answers:
            return name
        tail = _TAIL.search(name)
        if tail is None:
            return None
        like = [one for one in self.answers if (end := _TAIL.search(one)) and end[0].lower() == tail[0].lower()]
        return like[0] if len(like) == 1 else None

    def only_answer(self, name: str) -> str | None:
        """Return the field of the answer that a mark is for: the named one, or the only one."""
        return self.answer_field(name) or (self.answers[0] if len(self.answers) == 1 else None)

    def answer_turns(self, name: str) -> tuple[Message, ...]:
        return (Message("assistant", self.data[name]),)

    def items(self, name: str) -> dict[str, str]:
        """Return the answers of a list to be ranked, by their ids."""
        lists = [self.data.get(name), *self.data.values()]
        listed = next((v for v in lists if isinstance(v, list) and v and all(map(_is_item, v))), None)
        if listed is None:
            return {one: self.data[one] for one in self.answers}
        return {str(one["id"]): next(one[key] for key in _TEXTS if isinstance(one.get(key), str)) for one in listed}


_TEXTS = ("body", "text", "html", "content", "answer", "title")


def _is_item(value: Any) -> bool:
    return isinstance(value, dict) and "id" in value and any(isinstance(value.get(key), str) for key in _TEXTS)


def _turn(value: Any) -> Any:
    """Convert a paragraph of a dialogue to a turn."""
    if isinstance(value, dict) and "author" in value and "role" not in value:
        return {"role": value["author"], "content": value.get("text")}
    return value


# Annotations -------------------------------------------------------------------------------------------------------


def _read_annotation(annotation: Fields, task: _Task, found: Judged) -> None:
    """Add the judgements of one annotation to `found`, with voter, time and reasons."""
    by, at = _voter(annotation), _time(annotation)
    results = annotation.inners("result")
    if not results:
        found.left_out.append("the annotation is empty")
    reasons = list(_comments(results))
    for result in results:
        kind = result.text("type")
        if kind not in _READERS:
            found.left_out.append(f"a result of type {kind!r:.40}, which judges no answer")
            continue
        made = _READERS[kind](result, task)
        if isinstance(made, str):
            found.left_out.append(made)
            continue
        for one in made:
            if isinstance(one, Rating):
                one = replace(one, reason="\n".join(reasons))
            found.judgements.append(replace(one, by=by, vote=replace(one.vote, at=at)))


def _voter(annotation: Fields) -> str:
    """Return the annotator's email, name or number, or "" if the export does not say."""
    said = annotation.take("completed_by", None)
    if isinstance(said, dict):
        names = [str(said[key]) for key in ("email", "username", "id") if said.get(key)]
        said = names[0] if names else None
    if said is None:
        return ""
    if isinstance(said, bool) or not isinstance(said, int | str):
        annotation.wrong("completed_by", "a number, a name or an object with an email")
    return (f"annotator {said}" if isinstance(said, int) else said)[:_MOST_BY]


def _time(annotation: Fields) -> float:
    """Return the annotation's time in seconds since the epoch, or 0 if the export does not say."""
    said = annotation.text("created_at", None)
    if not said:
        return 0.0
    try:
        when = datetime.fromisoformat(said)
    except ValueError:
        annotation.wrong("created_at", "a time such as 2026-01-31T12:00:00Z")
    return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())


def _names_in(result: Fields) -> list[str]:
    """Return the names of the fields that a result is about: joined by commas, or a list."""
    said = result.take("to_name", "")
    if isinstance(said, str):
        return [name.strip() for name in said.split(",")]
    return list(result.texts("to_name")) or [""]


def _comments(results: Sequence[Fields]) -> Iterator[str]:
    for result in results:
        if result.text("type") == "textarea" and _COMMENT.search(result.text("from_name", "")):
            yield from _texts_of(result.inner("value"))


def _texts_of(value: Fields) -> list[str]:
    said = value.take("text")
    return [said] if isinstance(said, str) else list(value.texts("text"))


_Made = list[Judgement] | str
"""The judgements in a result, or why there are none."""


def _read_pairwise(result: Fields, task: _Task) -> _Made:
    """Read a comparison of two answers as judgements, or return the reason to leave it out."""
    names = _names_in(result)
    sides = [side for name in names if (side := task.answer_field(name))]
    if len(sides) != 2 or sides[0] == sides[1]:
        raise DataError(
            f"the result {result.text('from_name', '')!r} compares {shorten_value(names)}, and the task's data has the answers "
            f"{', '.join(task.answers) or 'none'}; expected the names of two of them"
        )
    selected = result.inner("value").take("selected", None)
    if selected not in ("left", "right"):
        return "no side of a pair was chosen"
    return _make_preference(task, sides, 0 if selected == "left" else 1)


def _make_preference(task: _Task, sides: Sequence[str], outcome: int | str) -> _Made:
    """Make the preference for one of two answers or for neither ("tie"), or two bad marks ("bad")."""
    left, right = (task.answer_turns(side) for side in sides)
    if not all(m.text.strip() for m in (*left, *right)):
        return "an answer is empty"
    if left == right:
        return "two answers are the same"
    if outcome == "bad":
        return [Rating(task.prompt, side, 0.0) for side in (left, right)]
    if outcome == "tie":
        return [Preference(task.prompt, left, right, label=0.5, vote=Vote(shown_first=1))]
    better, worse = (left, right) if outcome == 0 else (right, left)
    return [Preference(task.prompt, better, worse, vote=Vote(shown_first=1 - int(outcome)))]


def _read_choices(result: Fields, task: _Task) -> _Made:
    """Read a single choice: a side of a pair, or a good or bad mark; or return why it is left out."""
    chosen = result.inner("value").texts("choices")
    names = _names_in(result)
    if len(chosen) != 1:
        return "several choices at once"
    if (len(task.answers) == 2 and task.answer_field(names[0]) is None) or len(names) == 2:
        outcome = _preferred_side(chosen[0], task.answers)
        if outcome is not None:
            return _make_preference(task, task.answers, outcome)
    words = _words(chosen[0])
    mark = 1.0 if words & _GOOD and not words & (_BAD | {"not"}) else 0.0 if words & _BAD else None
    if mark is None:
        return f"a choice that says nothing of answers, such as {chosen[0]!r:.40}"
    return _make_rating(names[0], task, mark)


def _words(choice: str) -> set[str]:
    return {word for word in re.findall(r"\w+|👍|👎", choice.casefold()) if word not in _EMPTY_WORDS}


def _preferred_side(choice: str, sides: Sequence[str]) -> int | str | None:
    """Return the index of the preferred answer of two, "tie", or "bad", or None if the choice says none of these."""
    if choice in sides:
        return sides.index(choice)
    words = _words(choice)
    if words & _BOTH_BAD or ("both" in words and words & _BAD):
        return "bad"
    if words & _TIE or "both" in words:
        return "tie"
    is_left, is_right = bool(words & _LEFT), bool(words & _RIGHT)
    return None if is_left == is_right else int(is_right)


def _read_rating(result: Fields, task: _Task) -> _Made:
    """Read stars as a mark from 0 to 1, or return why they are left out."""
    stars = result.inner("value").number("rating", low=0, high=MOST_STARS)
    if stars < 1:
        return "a rating of no star, which is one that was taken back"
    return _make_rating(_names_in(result)[0], task, (stars - 1) / (MOST_STARS - 1))


def _make_rating(name: str, task: _Task, score: float) -> _Made:
    """Make a rating of the named answer, or return why it is left out."""
    side = task.only_answer(name)
    if side is None:
        return "a mark that does not say which answer it is for"
    answer = task.answer_turns(side)
    return [Rating(task.prompt, answer, score)] if answer[0].text.strip() else "an answer is empty"


def _read_ranker(result: Fields, task: _Task) -> _Made:
    """Read an order of answers as a ranking, or return why it is left out."""
    ordered = result.inner("value").take("ranker")
    if isinstance(ordered, dict):
        filled = [ids for ids in ordered.values() if ids]
        if len(filled) != 1:
            return "answers in several buckets, whose order the export does not say"
        ordered = filled[0]
    if not isinstance(ordered, list):
        result.wrong("value", "ids in their order, as ranker")
    items = task.items(_names_in(result)[0])
    unknown = next((str(one) for one in ordered if str(one) not in items), None)
    if unknown is not None:
        raise DataError(f"a ranking names {unknown!r:.80}, and the task has {', '.join(items) or 'no answers'}")
    answers = tuple((Message("assistant", items[str(one)]),) for one in ordered)
    if len(answers) < 2 or len(set(answers)) < len(answers):
        return "an order of fewer than two different answers"
    return [Ranking(task.prompt, answers, tuple(range(len(answers))))]


def _read_textarea(result: Fields, task: _Task) -> _Made:
    """Read a written answer as a demonstration, or return why it is left out."""
    texts = [text for text in _texts_of(result.inner("value")) if text.strip()]
    if _COMMENT.search(result.text("from_name", "")):
        return "a comment, which is kept with the marks beside it"
    if not texts:
        return "an answer is empty"
    side = task.only_answer(_names_in(result)[0])
    replaced = task.answer_turns(side) if side else ()
    written = (Message("assistant", "\n".join(texts)),)
    return (
        "an answer that was left as it was" if written == replaced else [Demonstration(task.prompt, written, replaced)]
    )


_READERS = {
    "pairwise": _read_pairwise,
    "choices": _read_choices,
    "rating": _read_rating,
    "ranker": _read_ranker,
    "textarea": _read_textarea,
}
