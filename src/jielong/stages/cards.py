"""Selection of the exam questions that the report shows as cards.

First come questions whose verdict changed between two stages, beginning with the parts of the exam that changed most; then a
few that all stages answer alike. A card picked because it looks good would mislead, so a rule chooses, in both directions,
and the page states the rule and how many changed in all.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jielong.runs import derive_seed
from jielong.worlds.atlas.gold import WRONG, contains_value, gold_score
from jielong.worlds.atlas.lessons import Item

Parts = Mapping[str, Sequence[Item]]
Answers = Mapping[str, Mapping[str, Sequence[str]]]
"""Model -> part of the exam -> its answers, in the order of the items."""
Place = tuple[str, int]
"""A question: its part of the exam, and its number in it."""

NOT_COMPARED = ("random_init",)
"""Models whose answers a card shows, and that are no stage."""


@dataclass(frozen=True)
class Change:
    """A question whose verdict after a stage differs from the one before it."""

    old: str
    new: str
    kind: str
    """"better", "worse" or "same"."""


def choose_cards(parts: Parts, answers: Answers, seed: int, count: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Choose at most `count` cards; return them and how they were chosen, as `ReportData.samples` and `.chosen` have
    them.
    """
    scores = {role: scores_of(parts, said, is_bare=role == "base") for role, said in answers.items()}
    stages = [role for role in answers if role not in NOT_COMPARED]
    pairs = list(itertools.pairwise(stages))
    places = _shuffled(parts, seed)
    changes = {pair: _changes(places, scores, *pair) for pair in pairs}
    agreeing = _agreeing_questions(places, scores, stages)
    kept_for_these = min(3, count // 4, len(agreeing))
    chosen: dict[Place, Change] = {}
    # the last stage first: what an earlier one changed is seen beside it
    for place, change in _in_turns([_ordered(parts, changes[pair]) for pair in reversed(pairs)]):
        if len(chosen) < count - kept_for_these:
            chosen.setdefault(place, change)
    for place in agreeing[:kept_for_these]:
        chosen[place] = Change("", "", "same")
    about = {
        "questions": sum(len(items) for items in parts.values()),
        "agree": sum(change.kind == "same" for change in chosen.values()),
        "pairs": [
            {
                "old": old,
                "new": new,
                **{kind: sum(c.kind == kind for c in found.values()) for kind in ("better", "worse")},
            }
            for (old, new), found in changes.items()
        ],
    }
    return [_card(parts, answers, scores, place, change) for place, change in chosen.items()], about


def scores_of(parts: Parts, said: Mapping[str, Sequence[str]], *, is_bare: bool) -> dict[str, list[float]]:
    """Score every answer, by part: the gold score, but for two cases in which a card would mislead.

    A base model that names the value asked for anywhere in its text is right, as in the table; and "I don't know" is
    right of a country that does not exist, where nothing can score higher.
    """

    def score(part: str, item: Item, text: str) -> float:
        """Score one answer for a card."""
        if is_bare and part.startswith("questions_") and contains_value(item, text):
            return 1.0
        gold = gold_score(item, text).value
        return 1.0 + gold if item.kind == "made_up" and gold > WRONG else gold

    return {
        part: [score(part, item, text) for item, text in zip(items, said[part], strict=True)]
        for part, items in parts.items()
    }


def _verdict(score: float) -> int:
    """Return a card's verdict: 1 right, 0 neither, -1 wrong."""
    return (score > 0) - (score < 0)


def _shuffled(parts: Parts, seed: int) -> list[Place]:
    places = [(part, index) for part, items in parts.items() for index in range(len(items))]
    random.Random(derive_seed(seed, "samples")).shuffle(places)
    return places


def _changes(
    places: Sequence[Place], scores: Mapping[str, Mapping[str, Sequence[float]]], old: str, new: str
) -> dict[Place, Change]:
    """Return the questions whose verdict differs between two stages, in the order of `places`."""
    found = {}
    for part, index in places:
        before, after = (_verdict(scores[role][part][index]) for role in (old, new))
        if before != after:
            found[part, index] = Change(old, new, "better" if after > before else "worse")
    return found


def _ordered(parts: Parts, changes: Mapping[Place, Change]) -> Iterator[tuple[Place, Change]]:
    """Order changes for cards.

    First one of each part, the part that changed most first, in its more frequent direction; then one of each in the
    other direction, then a second one, and so on.
    """
    net: dict[str, float] = {}
    for (part, _), change in changes.items():
        net[part] = net.get(part, 0) + (1 if change.kind == "better" else -1) / len(parts[part])
    order = sorted(net, key=lambda part: -abs(net[part]))
    directions = ("better", "worse")
    queues = {
        (part, kind): [(p, c) for p, c in changes.items() if p[0] == part and c.kind == kind]
        for part in order
        for kind in directions
    }
    for rank in range(len(changes)):
        for is_main in (True, False):
            for part in order:
                main = directions[net[part] < 0]
                queue = queues[part, main if is_main else directions[net[part] >= 0]]
                yield from queue[rank : rank + 1]


def _in_turns(queues: Sequence[Iterator[tuple[Place, Change]]]) -> Iterator[tuple[Place, Change]]:
    """Take one of each queue in turn, until all are empty."""
    for row in itertools.zip_longest(*queues):
        yield from (one for one in row if one is not None)


def _agreeing_questions(
    places: Sequence[Place], scores: Mapping[str, Mapping[str, Sequence[float]]], stages: Sequence[str]
) -> list[Place]:
    """Return the questions with the same verdict after all stages, of different parts first."""
    same = [(p, i) for p, i in places if len({_verdict(scores[role][p][i]) for role in stages}) == 1]
    ranks: dict[str, int] = {}
    order = []
    for part, index in same:
        ranks[part] = ranks.get(part, 0) + 1
        order.append((ranks[part], part, index))
    return [(part, index) for _, part, index in sorted(order, key=lambda one: one[0])]


def _card(
    parts: Parts,
    answers: Answers,
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    place: Place,
    change: Change,
) -> dict[str, Any]:
    """Build one card: the question, its reference, and each stage's answer and score."""
    part, index = place
    item = parts[part][index]
    return {
        "kind": part,
        "change": change.kind,
        "old": change.old,
        "new": change.new,
        "question": "\n".join(m.text for m in item.messages),
        "reference": item.answers[0] if item.answers else "",
        "answers": {
            role: {"text": said[part][index], "score": scores[role][part][index]} for role, said in answers.items()
        },
    }
