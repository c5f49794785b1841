"""Figures of human judgements: their number, voters, agreement, and preferred models.

Comparisons are preferences, and all pairs of answers in a ranking. Only a voter's newest vote on the same two answers
counts. Voters without a name count as one person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jielong.evaluate.statistics import Interval, wilson
from jielong.evaluate.strengths import Duel, ModelStrengths, fit_strengths, groups_of
from jielong.evaluate.votes import Compared, Key, comparisons, votes_of
from jielong.records import AnswerSource, Judgement, Preference, kind_of


@dataclass(frozen=True)
class Feedback:
    """The figures of some judgements. `first` and `last` are times in seconds since the epoch, 0 if unknown."""

    kinds: Counter[str]
    voters: dict[str, Counter[str]]
    first: float
    last: float
    first_shown: Interval | None
    """Of decided pairs whose order is known, the share that the answer shown first (left) has won."""
    num_shown: int
    repeated: int
    """Comparisons that the same voter made again, of which the newest counts."""
    contradictions: int
    """Pairs of answers of which one voter has preferred both, at different times."""
    disagreements: int
    """Pairs of answers of which different voters prefer different ones."""
    without_model: int
    """Comparisons of which nobody knows whose answers they were."""
    within_model: int
    """Comparisons of two answers of one model, which say nothing of models."""
    groups: tuple[ModelStrengths, ...]
    """Models that were compared with each other, the largest group first."""


def feedback_of(judgements: Sequence[Judgement]) -> Feedback:
    """Compute all figures of these judgements."""
    votes = votes_of(comparisons(judgements))
    newest = votes.newest
    shown = [j for j in judgements if isinstance(j, Preference) and j.label != 0.5 and j.vote.shown_first >= 0]
    won = sum((j.label > 0.5) == (j.vote.shown_first == 1) for j in shown)
    voters: dict[str, Counter[str]] = {}
    for judgement in judgements:
        voters.setdefault(judgement.by, Counter())[kind_of(judgement)] += 1
    times = [j.vote.at for j in judgements if j.vote.at]
    known = [c for c in newest if all(source.model for source in c.sources)]
    duels = duels_of(known)
    groups = sorted(groups_of(duels), key=len, reverse=True)
    return Feedback(
        Counter(map(kind_of, judgements)),
        voters,
        min(times, default=0.0),
        max(times, default=0.0),
        wilson(won, len(shown)) if shown else None,
        len(shown),
        votes.num_repeated,
        votes.num_contradicted,
        disagreements(newest),
        len(newest) - len(known),
        len(known) - len(duels),
        tuple(map(fit_strengths, groups)),
    )


def disagreements(newest: Iterable[Compared]) -> int:
    """Count pairs of answers where different voters, by their newest votes, prefer different ones."""
    said: dict[Key, set[float]] = {}
    for one in newest:
        said.setdefault(one.key, set()).add(one.won)
    return sum({0.0, 1.0} <= won for won in said.values())


def duels_of(compared: Sequence[Compared]) -> list[Duel]:
    """Turn comparisons into duels between models, by name; models of one name are told apart by a part of their digest.

    Each of the n (n - 1) / 2 pairs of a ranking weighs 2 / n, so that n answers in order count as n - 1 comparisons:
    the other pairs follow from these.
    """
    digests: dict[str, set[str]] = {}
    for one in compared:
        for source in one.sources:
            digests.setdefault(source.model, set()).add(source.digest)

    def name(source: AnswerSource) -> str:
        return f"{source.model}@{source.digest[:8]}" if len(digests[source.model]) > 1 else source.model

    duels = [Duel(name(one.sources[0]), name(one.sources[1]), one.won, 2 / one.group) for one in compared]
    return [duel for duel in duels if duel.first != duel.second]


def as_json(found: Feedback) -> dict[str, object]:
    """Return the figures as JSON; infinite or unknown bounds and strengths are null."""

    def interval(given: Interval | None) -> dict[str, float | None] | None:
        """Return an interval as JSON, infinite bounds as null."""
        if given is None:
            return None
        values = {"mean": given.mean, "low": given.low, "high": given.high}
        return {key: value if abs(value) < float("inf") else None for key, value in values.items()}

    groups = [
        {
            "reference": group.reference,
            "models": [{**vars(s), "strength": interval(s.strength)} for s in group.models],
        }
        for group in found.groups
    ]
    plain = {**vars(found), "kinds": dict(found.kinds), "first_shown": interval(found.first_shown), "groups": groups}
    return {**plain, "voters": {by: dict(kinds) for by, kinds in found.voters.items()}}
