"""Readers for the common JSON forms of chats and preferences, each converted to our records or refused by name.

A record is a parsed JSON object. An error in it raises DataError, which names the field, its value and what would be
right. Oddities are noted beside the record: unread fields, turns that are not trained, and why a whole record is
unusable. So a reader can count them, and nothing is dropped silently.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Generic, TypeVar

from jielong.data.turns import Notes, as_list, message_of, messages_of, number_of, text_of, tools_of, with_system, wrong
from jielong.errors import DataError
from jielong.records import Conversation, Demonstration, Message, Preference, Ranking, Rating

Record = TypeVar("Record", bound=Conversation | Preference | Rating | Ranking | Demonstration)

FEWEST = 20
"""Records with which anything can be learned."""

_ANSWERS = {
    "prompt": ("completion", "response", "answer", "output"),
    "query": ("response", "answer"),
    "question": ("answer", "response"),
}
"""Fields that ask, and those that may answer them."""


@dataclass(frozen=True)
class Formed(Generic[Record]):
    """A record and its original form; `useless` is the reason to leave it out, "" for none, and `odd` lists harmless
    oddities.
    """

    record: Record
    form: str
    useless: str = ""
    odd: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    """Fields with a value that nobody reads."""


# Chats -------------------------------------------------------------------------------------------------------------


def chat_of(data: Mapping[str, Any]) -> Formed[Conversation]:
    """Read a conversation from any of the common forms; DataError names what is wrong, or the forms where none fits."""
    notes = Notes()
    for name, read in _CHAT_FORMS:
        found = read(data, notes)
        if found is not None:
            messages, known = found
            return _make_conversation(messages, name, data, {*known, *_ALWAYS}, notes)
    if "chosen" in data and "rejected" in data:
        raise DataError(
            "this is a preference, with chosen and rejected; give the file to jielong run own, as --preferences"
        )
    if isinstance(data.get("text"), str):
        raise DataError(
            "this is a plain text; put the file into a folder and give that to jielong adapt or jielong run own, as --source"
        )
    raise DataError(f"the fields are {', '.join(map(str, data)) or 'none'}; expected {_EXPECTED_CHAT}")


def is_plain_text(data: Mapping[str, Any]) -> bool:
    """Whether a record is a bare text and has no form of a chat."""
    try:
        return isinstance(data.get("text"), str) and not any(read(data, Notes()) for _, read in _CHAT_FORMS)
    except DataError:
        return False


_ALWAYS = ("system", "tools", "label", "meta", "id")
_EXPECTED_CHAT = "messages, conversations, instruction and output, or prompt and completion"

_Found = tuple[tuple[Message, ...], Sequence[str]]


def _read_openai(data: Mapping[str, Any], notes: Notes) -> _Found | None:
    if data.get("messages") is None:
        return None
    return messages_of(data["messages"], "messages", notes), ("messages",)


def _read_sharegpt(data: Mapping[str, Any], notes: Notes) -> _Found | None:
    if data.get("conversations") is None:
        return None
    return messages_of(data["conversations"], "conversations", notes), ("conversations",)


def _read_alpaca(data: Mapping[str, Any], notes: Notes) -> _Found | None:
    """Read Alpaca's form: instruction, input, output, and history; None where the record is of another."""
    if data.get("instruction") is None or "output" not in data:
        return None
    before: list[Message] = []
    for number, pair in enumerate(as_list(data.get("history") or [], "'history'")):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(said, str) for said in pair):
            raise wrong(f"history[{number}]", pair, "a question and its answer")
        before += [Message("user", pair[0]), Message("assistant", pair[1])]
    asked = "\n\n".join(part for part in (text_of(data, "instruction"), text_of(data, "input")) if part.strip())
    known = ("instruction", "input", "output", "history")
    return (*before, Message("user", asked), Message("assistant", text_of(data, "output"))), known


def _read_question_answer(data: Mapping[str, Any], notes: Notes) -> _Found | None:
    """Read a form with one field for the question and one for the answer; None where the record is of another."""
    there = [(asks, answer) for asks in _ANSWERS if asks in data for answer in _ANSWERS[asks] if answer in data]
    if not there or "chosen" in data:
        return None
    # of tables that were joined, rows have all fields, and null in most
    asks, answer = next((pair for pair in there if all(data[name] is not None for name in pair)), there[0])
    asked = read_side(data[asks], asks, "user", notes)
    return (*asked, *read_side(data[answer], answer, "assistant", notes)), (asks, answer)


def read_side(value: Any, where: str, role: str, notes: Notes) -> tuple[Message, ...]:
    """Read turns from a string (also one that holds a dialogue, as HH has it), one turn, or a list of turns."""
    if isinstance(value, str):
        if not _HH.match(value):
            return (Message(role, value),)
        said = _dialogue(value, where)
        begins_answer = role == "user" and said[-1] == Message("assistant", "")
        return said[:-1] if begins_answer else said
    if isinstance(value, dict):
        return (message_of(value, where, notes),)
    if isinstance(value, list) and value:
        return messages_of(value, where, notes)
    raise wrong(f"{where!r}", value, "a string, a turn or a list of turns")


_CHAT_FORMS = (
    ("OpenAI's messages", _read_openai),
    ("ShareGPT's conversations", _read_sharegpt),
    ("Alpaca's instruction and output", _read_alpaca),
    ("a prompt and its completion", _read_question_answer),
)


def _make_conversation(
    messages: tuple[Message, ...], form: str, data: Mapping[str, Any], known: set[str], notes: Notes
) -> Formed[Conversation]:
    """Build the conversation with its system message and tools, and note its oddities."""
    if not messages:
        raise DataError("the conversation has no turns")
    messages = with_system(messages, text_of(data, "system"))
    meta = dict(data["meta"]) if isinstance(data.get("meta"), dict) else {}
    tools = tools_of(data.get("tools"))
    if "tools" in meta:  # ours, or somebody's field of the same name
        try:
            tools = tools or tools_of(meta.pop("tools"))
        except DataError:
            notes.unread.append("meta.tools")
    if tools:
        meta["tools"] = list(tools)
    label = data.get("label")
    if label is not None and not isinstance(label, bool):
        raise wrong("'label'", label, "true or false, as KTO has it")
    spoken = [m for m in messages if m.role != "system"]
    if spoken and spoken[0].role == "assistant":
        notes.odd.append("begins with the assistant")
    if spoken and spoken[-1].role == "user":
        notes.odd.append("ends with the user")
    if any(a.role == b.role != "tool" for a, b in pairwise(spoken)):
        notes.odd.append("two turns of one role in a row")
    quiet = [m.role == "assistant" and not m.text.strip() and not m.tool_calls for m in messages]
    if any(quiet):
        notes.odd.append("an empty turn of the assistant, which is not trained")
        messages = tuple(replace(m, is_trained=False) if q else m for m, q in zip(messages, quiet, strict=True))
    useless = ""
    if label is False:
        useless = "labelled as a bad answer"
    elif not any(m.role == "assistant" and m.is_trained for m in messages):
        useless = "no turn of the assistant to learn from"
    unread = [key for key, value in data.items() if key not in known and value not in (None, "", [], {})]
    conversation = Conversation(messages, meta)
    return Formed(conversation, form, useless, notes.all_odd(), tuple(dict.fromkeys([*unread, *notes.unread])))


# Preferences -------------------------------------------------------------------------------------------------------

_HH_TURN = re.compile(r"\n\n(Human|Assistant):")
_HH = re.compile(r"\s*Human:.*\n\nAssistant:", re.S)
_SCORES = ("score_chosen", "score_rejected", "chosen_score", "rejected_score")


def preference_of(data: Mapping[str, Any]) -> Formed[Preference]:
    """Read a preference from any of the common forms; DataError names what is wrong."""
    for key in ("chosen", "rejected"):
        if data.get(key) is None:
            raise _refused_as_preference(data, key)
    if tools_of(data.get("tools")):
        raise DataError("'tools' beside a preference reach no prompt; describe them in a system message")
    notes = Notes()
    form, asked, known = _read_prompt(data, notes)
    sides = []
    for key in ("chosen", "rejected"):
        value = data[key]
        if isinstance(value, str) and not asked and _HH_TURN.search(value):
            sides.append(_dialogue(value, key))
        else:
            sides.append(read_side(value, key, "assistant", notes))
        if not all(m.is_trained for m in sides[-1]):
            notes.odd.append("turns that are not to be trained, which preferences do not know")
    if not asked:
        asked = _common_prefix(*sides)
        sides = [side[len(asked) :] for side in sides]
        form = "whole dialogues with a common beginning" if asked else form
    else:
        before = next((side[0].text for side in sides if side and side[0].role == "system"), "")
        sides = [_drop_repeated_prompt(asked, side) for side in sides]
        asked = with_system(asked, before)
        if any(side and side[0].role not in ("assistant", "tool") for side in sides):
            notes.odd.append("an answer that begins with a turn that is not in its prompt")
    prompt = with_system(asked, text_of(data, "system"))
    if not any(m.role != "system" for m in prompt):
        raise DataError("there is no prompt: neither a field for it nor a common beginning of chosen and rejected")
    for key, side in zip(("chosen", "rejected"), sides, strict=True):
        if not side or side[-1].role != "assistant":
            raise DataError(f"{key!r} does not end with a turn of the assistant")
    margin, label = number_of(data, "margin", 0.0), number_of(data, "label", 1.0)
    if not 0.0 <= label <= 1.0:
        raise wrong("'label'", label, "a number from 0 to 1")
    by = data.get("by")
    if by is not None and not isinstance(by, str | int | float):
        raise wrong("'by'", by, "a name")
    known = {*known, "chosen", "rejected", "margin", "label", "by", "system", "tools", "id", *_SCORES}
    chosen, rejected = sides
    preference = Preference(prompt, chosen, rejected, margin, label, "" if by is None else str(by))
    unread = [key for key, value in data.items() if key not in known and value not in (None, "", [], {})]
    useless = _reason_to_leave_out(preference, data)
    return Formed(preference, form, useless, notes.all_odd(), tuple(dict.fromkeys([*unread, *notes.unread])))


def _refused_as_preference(data: Mapping[str, Any], key: str) -> DataError:
    """Build the error for a record that lacks an answer, with a hint at the form that it may have."""
    if key in data:
        return wrong(f"{key!r}", None, "an answer")
    if isinstance(data.get("label"), bool):
        return DataError(
            "this is KTO's form, one answer with a label; preferences need two, chosen and rejected (jielong adapt --method kto takes it)"
        )
    if any(name in data for name in ("messages", "conversations", "instruction")):
        return DataError(
            "this is a chat; give the file to jielong adapt or jielong run own, as --chat, or add chosen and rejected"
        )
    return DataError(f"a preference needs 'chosen' and 'rejected'; {key!r} is missing")


def _read_prompt(data: Mapping[str, Any], notes: Notes) -> tuple[str, tuple[Message, ...], set[str]]:
    """Read the turns before the answers (none where they stand in the answers); returns form, turns and the fields
    read.
    """
    if data.get("conversations") is not None:
        return "ShareGPT's conversations", messages_of(data["conversations"], "conversations", notes), {"conversations"}
    for key in ("prompt", "question", "query", "messages"):
        if data.get(key) not in (None, "", []):
            return f"a {key} and two answers", read_side(data[key], key, "user", notes), {key}
    if data.get("instruction") is not None:
        asked = "\n\n".join(part for part in (text_of(data, "instruction"), text_of(data, "input")) if part.strip())
        return "Alpaca's instruction and two answers", (Message("user", asked),), {"instruction", "input"}
    return "two dialogues", (), set()


def _dialogue(text: str, where: str) -> tuple[Message, ...]:
    """Split a text with "Human:" and "Assistant:" into turns, as Anthropic's HH has them."""
    pieces = _HH_TURN.split(f"\n\n{text.lstrip()}")
    if pieces[0].strip():
        raise wrong(f"{where!r}", text, "a dialogue that begins with 'Human:'")
    roles = {"Human": "user", "Assistant": "assistant"}
    return tuple(Message(roles[who], said.strip()) for who, said in zip(pieces[1::2], pieces[2::2], strict=True))


def _common_prefix(chosen: Sequence[Message], rejected: Sequence[Message]) -> tuple[Message, ...]:
    """Return the turns that both sides begin with, up to the last that is not the assistant's."""
    same = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        same += 1
    while same and (chosen[same - 1].role == "assistant" or same in (len(chosen), len(rejected))):
        same -= 1
    return tuple(chosen[:same])


def _drop_repeated_prompt(asked: tuple[Message, ...], side: tuple[Message, ...]) -> tuple[Message, ...]:
    """Remove the prompt from an answer that repeats it; system messages belong to the prompt."""

    def spoken(messages: Sequence[Message]) -> list[Message]:
        return [replace(m, content=m.text.strip()) for m in messages if m.role != "system"]

    said = tuple(m for m in side if m.role != "system")
    before = spoken(asked)
    if len(said) > len(before) and spoken(said[: len(before)]) == before:
        return said[len(before) :]
    return said if side and side[0].role == "system" else side


def _reason_to_leave_out(preference: Preference, data: Mapping[str, Any]) -> str:
    """Return why a preference is unusable (an empty answer, equal answers, contrary scores); "" if it is usable."""
    chosen, rejected = ("".join(m.text for m in side).strip() for side in (preference.chosen, preference.rejected))
    has_calls = any(m.tool_calls for m in (*preference.chosen, *preference.rejected))
    if not has_calls and not (chosen and rejected):
        return "an answer is empty"
    if preference.chosen == preference.rejected:
        return "both answers are the same"
    scores = {key: number_of(data, key, math.nan) for key in _SCORES}
    better, worse = ([scores[key] for key in _SCORES if side in key] for side in ("chosen", "rejected"))
    if any(one < other for one in better for other in worse):
        return "the scores prefer the rejected answer"
    if preference.margin < 0:
        return "the margin prefers the rejected answer"
    return ""


# Ratings -----------------------------------------------------------------------------------------------------------


def is_rating(data: Mapping[str, Any]) -> bool:
    """Whether a record is one answer with a label or a score, and no pair."""
    score = data.get("score")
    is_scored = isinstance(score, int | float) and not isinstance(data.get("label"), bool)
    return "chosen" not in data and (isinstance(data.get("label"), bool) or is_scored)


def rating_of(data: Mapping[str, Any]) -> Formed[Rating]:
    """Read a rating from a prompt and its answer with a score of any scale, or from KTO's form with a label: 1 for
    true, 0 for false.
    """
    label = data.get("label")
    is_scored = label is None and data.get("score") is not None
    if not is_scored and not isinstance(label, bool):
        raise wrong("'label'", label, "true or false, as KTO has it, or a number as 'score'")
    notes = Notes()
    found = _read_question_answer(data, notes) or _read_openai(data, notes)
    if found is None:
        raise DataError(f"the fields are {', '.join(map(str, data))}; expected prompt, completion and label")
    messages, known = found
    start = max((i + 1 for i, m in enumerate(messages) if m.role not in ("assistant", "tool")), default=0)
    prompt = with_system(messages[:start], text_of(data, "system"))
    if not start or not messages[start:] or messages[-1].role != "assistant":
        raise DataError("a rating needs a prompt, and an answer of the assistant after it")
    useless = "" if any(m.text.strip() or m.tool_calls for m in messages[start:]) else "the answer is empty"
    unread = [
        k
        for k, v in data.items()
        if k not in {*known, "label", "score", "system", "id"} and v not in (None, "", [], {})
    ]
    rating = Rating(prompt, messages[start:], number_of(data, "score", 0.0) if is_scored else float(bool(label)))
    form = "answers with a score" if is_scored else "KTO's answers with a label"
    return Formed(rating, form, useless, notes.all_odd(), tuple(unread))
