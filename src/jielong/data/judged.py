"""Judgements in our own form, one a line with its `kind`, and the pairs and marks that trainers make of them.

A comparison is a pair, and so are each two answers of a ranking. Marks are for KTO and for reward models. A trainer on
pairs skips marks and counts them, and vice versa.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from jielong.data.forms import Formed, preference_of, rating_of
from jielong.errors import DataError
from jielong.records import (
    Demonstration,
    Judgement,
    Message,
    Preference,
    Ranking,
    Rating,
    judgement_from,
    kind_of,
    to_dict,
)
from jielong.runs import canonical_json

OWN = "our own judgements"
"""The name of the form."""

MIDDLE = 0.5
"""The mark that says neither good nor bad: three stars of five."""

NAMES = {
    "preference": "a comparison, which makes no mark",
    "rating": "a mark, which makes no pair",
    "ranking": "an order, which makes no mark",
    "demonstration": "a written answer, which is for instruction tuning (jielong feedback export --format sft)",
}
"""Why a kind of judgement is left out where another one is asked for."""


def is_own(data: Mapping[str, Any]) -> bool:
    """Whether a record is one of our own judgements."""
    return "kind" in data


def judgement_of(data: Mapping[str, Any]) -> Formed[Judgement]:
    """Read one of our own judgements. Raises DataError, which names what is wrong."""
    one = judgement_from(data)
    answers = answers_of(one)
    if not one.prompt or any(not answer or answer[-1].role != "assistant" for answer in answers):
        raise DataError(f"a {kind_of(one)} needs a prompt, and answers that end with a turn of the assistant")
    useless = ""
    if any(not any(m.text.strip() or m.tool_calls for m in answer) for answer in answers):
        useless = "an answer is empty"
    elif len(set(answers)) < len(answers):
        useless = "two answers are the same"
    return Formed(one, OWN, useless)


def answers_of(one: Judgement) -> tuple[tuple[Message, ...], ...]:
    """Return the judged answers, without the answer that a demonstration replaces."""
    if isinstance(one, Preference):
        return (one.chosen, one.rejected)
    return one.answers if isinstance(one, Ranking) else (one.answer,)


def pairs_in(one: Preference | Ranking) -> list[Preference]:
    """Return the comparisons in a judgement: itself, or each two answers of a ranking, the better one as `chosen`."""
    if isinstance(one, Preference):
        return [one]
    return [
        Preference(one.prompt, one.answers[a], one.answers[b], label=label, by=one.by)
        for a, b, label in one.comparisons()
    ]


def pairs_of_ratings(ratings: Sequence[Rating]) -> list[Preference]:
    """Pair every two rated answers to one prompt, the higher mark as `chosen`, the gap as margin; equal marks tie.

    An answer that was marked several times has the mean of its marks.
    """
    marks: dict[tuple[Message, ...], dict[tuple[Message, ...], list[float]]] = {}
    for one in ratings:
        marks.setdefault(one.prompt, {}).setdefault(one.answer, []).append(one.score)
    found = []
    for prompt, answers in marks.items():
        means = [(answer, sum(given) / len(given)) for answer, given in answers.items()]
        for (a, high), (b, low) in combinations(means, 2):
            if high < low:
                a, b, high, low = b, a, low, high
            found.append(Preference(prompt, a, b, margin=high - low, label=0.5 if high == low else 1.0))
    return found


def preferences_of(data: Mapping[str, Any]) -> Sequence[Formed[Preference]]:
    """Read the pairs in a record of any form, our own or another's."""
    if not is_own(data):
        return [preference_of(data)]
    formed = judgement_of(data)
    if isinstance(formed.record, Preference | Ranking):
        return [Formed(pair, OWN, formed.useless) for pair in pairs_in(formed.record)]
    return [_left_out(formed.record)]


def ratings_of(data: Mapping[str, Any]) -> Sequence[Formed[Rating]]:
    """Read the mark in a record of KTO's form or of our own; a mark in the middle is unusable."""
    if not is_own(data):
        return [rating_of(data)]
    formed = judgement_of(data)
    if not isinstance(formed.record, Rating):
        return [_left_out(formed.record)]
    useless = formed.useless or ("the mark is in the middle" if formed.record.score == MIDDLE else "")
    return [Formed(formed.record, OWN, useless)]


def _left_out(one: Judgement) -> Formed[Any]:
    return Formed(one, OWN, NAMES[kind_of(one)])


def digest_of(one: Judgement) -> str:
    """Return the hex blake2b of a judgement's content: prompt, answers, verdict, voter and reason, as stored.

    The time and the answers' sources are not hashed, so a judgement is recognised after export and import.
    """
    system = "\n\n".join(m.text for m in one.prompt if m.role == "system")
    spoken = [[m.role, m.text] for m in one.prompt if m.role != "system"]
    texts = ["\n\n".join(m.text for m in answer if m.role == "assistant") for answer in answers_of(one)]
    verdict: Any
    if isinstance(one, Preference):
        verdict = sorted(texts) if one.label == 0.5 else texts if one.label > 0.5 else texts[::-1]
        verdict = [one.label == 0.5, *verdict]
    elif isinstance(one, Ranking):
        verdict = sorted(zip(one.places, texts, strict=True))
    elif isinstance(one, Demonstration):
        verdict = [texts, "\n\n".join(m.text for m in one.rejected if m.role == "assistant")]
    else:
        verdict = [texts, float(one.score), one.reason]
    whole = canonical_json(to_dict([kind_of(one), system, spoken, verdict, one.by]))
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
