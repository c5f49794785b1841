"""Problems: prompts whose right answer is known, read from the forms that others give them.

A problem is a conversation that ends with the user's turn. Its `meta` holds the right answers in "answer", of which one is
enough, and in "rule" the name of the rule that compares, where the record names one. A rule may need no answers; a puzzle's
generator judges them itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from jielong.data.forms import Formed, read_side
from jielong.data.turns import Notes, text_of, with_system, wrong
from jielong.errors import DataError, did_you_mean
from jielong.records import Conversation, Message

ASKS = ("prompt", "question", "problem", "query", "messages", "instruction")
"""Fields that ask, the first that is there counts."""

ANSWERS = ("answer", "answers", "ground_truth", "target", "solution")
"""Fields that hold what is right, the first that is there counts."""

NAMES_RULE = ("rule", "verifier", "scorer")
"""Fields that name the rule; a task of `jielong evaluate` has a scorer."""

_KNOWN = ("system", "input", "meta", "id")
_MARK = "####"
"""It stands before the result in GSM8K's answers, after the way that leads there."""


def problem_of(data: Mapping[str, Any], rules: Collection[str]) -> Formed[Conversation]:
    """Read a problem from any of the common forms. Raises DataError for a damaged one, and for a rule that is none of `rules`."""
    notes = Notes()
    asks = next((name for name in ASKS if data.get(name) not in (None, "", [])), None)
    if asks is None:
        raise DataError(
            f"there is no prompt; the fields are {', '.join(data) or 'none'}, expected one of {', '.join(ASKS)}"
        )
    prompt = _without_answer(with_system(_asked(data, asks, notes), text_of(data, "system")), notes)
    known = {asks, *_KNOWN, *NAMES_RULE}
    form, answers = "a prompt and its answer", _answers_in(data, known)
    if isinstance(data.get("reward_model"), dict) and not answers:
        known.add("reward_model")
        form, answers = (
            "verl's reward_model",
            _texts(data["reward_model"].get("ground_truth"), "reward_model.ground_truth"),
        )
    rule = next((text for name in NAMES_RULE if (text := text_of(data, name))), "")
    if rule and rule not in rules:
        raise DataError(f"unknown rule {rule!r:.80}; {did_you_mean(rule, rules)}")
    if rule == "regex":
        _check_patterns(answers)
    meta = {"answer": list(answers), **({"rule": rule} if rule else {})}
    useless = "" if answers else "its answer is not known"
    unread = [key for key, value in data.items() if key not in known and value not in (None, "", [], {})]
    found = Conversation(prompt, meta)
    return Formed(found, form, useless, notes.all_odd(), tuple(dict.fromkeys([*unread, *notes.unread])))


def _asked(data: Mapping[str, Any], asks: str, notes: Notes) -> tuple[Message, ...]:
    """Read the turns of the field that asks; Alpaca's input goes below its instruction."""
    if asks == "instruction":
        parts = (text_of(data, "instruction"), text_of(data, "input"))
        return (Message("user", "\n\n".join(part for part in parts if part.strip())),)
    return read_side(data[asks], asks, "user", notes)


def _without_answer(prompt: tuple[Message, ...], notes: Notes) -> tuple[Message, ...]:
    """Return a prompt up to the last turn that asks. Raises DataError if nobody asks anything."""
    asked = [number for number, message in enumerate(prompt) if message.role in ("user", "tool")]
    if not asked or not prompt[asked[-1]].text.strip():
        raise DataError("nothing is asked: the prompt has no turn of the user with a text")
    if asked[-1] + 1 < len(prompt):
        notes.odd.append("turns after the last question, which are left out")
    return prompt[: asked[-1] + 1]


def _answers_in(data: Mapping[str, Any], known: set[str]) -> tuple[str, ...]:
    """Read the right answers from the first field that holds any, and note the field as `known`."""
    known.update(name for name in ANSWERS if name in data)
    there = [name for name in ANSWERS if data.get(name) not in (None, "", [])]
    return _texts(data[there[0]], there[0]) if there else ()


def _texts(value: Any, where: str) -> tuple[str, ...]:
    """Read one text or number, or a list of them, each reduced to its result where that is marked."""
    if value is None:
        return ()
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in values):
        raise wrong(f"{where!r}", value, "a text or a number, or a list of them")
    texts = (str(one).rpartition(_MARK)[2].strip() for one in values)
    return tuple(text for text in texts if text)


def _check_patterns(patterns: Collection[str]) -> None:
    """Raise DataError for an invalid regular expression."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise DataError(f"{pattern!r:.80} is no regular expression: {error}") from None
