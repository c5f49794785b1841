"""Sorting of judgements: each voter's latest opinion, as pairs, thumbs and demonstrations, and signs of bad votes.

A voter's newer vote on the same answers to the same prompt replaces the older one (`evaluate.votes`). Replaced votes still
count as evidence: a pair that is judged both ways is a contradiction, and so is a circle of pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jielong.evaluate.votes import Compared, Texts, comparisons, prompt_key, text_of, votes_of
from jielong.records import Demonstration, Judgement, Rating, kind_of, to_dict
from jielong.runs import digest

LIKED, DISLIKED = 0.75, 0.25
"""Scores from which an answer is liked, and up to which it is disliked: four and two stars of five. Three say neither."""


@dataclass(frozen=True)
class Pair:
    """The better and the worse of two answers. `by` is the voter; `shown_first` is 1 if the better one was shown first,
    in a blind vote.
    """

    prompt: Texts
    better: Texts
    worse: Texts
    by: str = ""
    shown_first: int = -1


@dataclass(frozen=True)
class Thumb:
    """One answer that somebody likes or dislikes."""

    prompt: Texts
    answer: Texts
    is_liked: bool
    by: str = ""


@dataclass(frozen=True)
class Written:
    """An answer that a person wrote."""

    prompt: Texts
    answer: Texts
    by: str = ""


One = Pair | Thumb | Written


@dataclass
class Judged:
    """The sorted judgements: the training data, and counts that show its quality."""

    pairs: list[Pair] = field(default_factory=list)
    thumbs: list[Thumb] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    num_ties: int = 0
    num_neither: int = 0
    """Ratings in the middle."""
    num_repeated: int = 0
    """Pairs that a voter judged again, and pairs among which a circle could be."""
    num_contradicted: int = 0
    """Those of them that were judged the other way, or are in a circle."""
    num_left: int = 0
    num_sides: int = 0
    """Decided blind pairs, and how many the left answer won."""

    @property
    def all(self) -> list[One]:
        return [*self.pairs, *self.thumbs, *self.written]

    @property
    def voters(self) -> set[str]:
        return {one.by for one in self.all}

    @property
    def prompts(self) -> dict[str, Texts]:
        """Return all prompts by their digest, in the order in which they were judged first."""
        return {prompt_key(one.prompt): one.prompt for one in self.all}

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind, for a person."""
        return {
            "pairs": len(self.pairs),
            "ties": self.num_ties,
            "liked": sum(t.is_liked for t in self.thumbs),
            "disliked": sum(not t.is_liked for t in self.thumbs),
            "demonstrations": len(self.written),
            "prompts": len(self.prompts),
            "voters": len(self.voters),
        }


def sort_judgements(judgements: Iterable[Judgement]) -> Judged:
    """Sort judgements: each voter's latest ones for training, and tallies of the rest."""
    ordered = sorted(judgements, key=lambda one: one.vote.at)  # stable: equal times stay in their order
    found = Judged()
    votes = votes_of(comparisons(ordered))
    found.num_repeated, found.num_contradicted = votes.num_repeated, votes.num_turned
    found.pairs = [_pair(one) for one in votes.newest if one.won != 0.5]
    found.num_ties = len(votes.newest) - len(found.pairs)
    _count_sides(found)
    _count_circles(found)
    ratings = _last_ratings(ordered)
    _add_ratings(ratings, found)
    written = {(one.by, prompt_key(one.prompt), text_of(one.answer)): one for one in _written(ordered)}
    found.written = [Written(one.prompt, one.answer, one.by) for one in written.values()]
    found.pairs += [Pair(one.prompt, one.answer, one.rejected, one.by) for one in written.values() if _differs(one)]
    found.pairs = _without_repeats(found.pairs)
    return found


def lineage_of(judgements: Sequence[Judgement]) -> dict[str, object]:
    """Return which judgements a model was made from: ids, voters, and the time span."""
    times = [one.vote.at for one in judgements if one.vote.at]
    return {
        "count": len(judgements),
        "kinds": dict(sorted(Counter(map(kind_of, judgements)).items())),
        "by": dict(sorted(Counter(one.by for one in judgements).items())),
        "first_at": min(times, default=0.0),
        "last_at": max(times, default=0.0),
        "ids": [one.vote.id for one in judgements if one.vote.id],
        "digest": digest([to_dict(one) for one in judgements]),
    }


# Pairs -----------------------------------------------------------------------------------------------------------------


def _pair(one: Compared) -> Pair:
    """Turn a decided vote into a pair; only a blind vote says on which side the better answer was."""
    first, second = one.answers
    shown = one.shown_first if one.is_blind else -1
    if one.won:
        return Pair(one.prompt, first, second, one.by, shown)
    return Pair(one.prompt, second, first, one.by, 1 - shown if shown >= 0 else -1)


def _count_sides(found: Judged) -> None:
    sides = [pair.shown_first for pair in found.pairs if pair.shown_first >= 0]
    found.num_sides, found.num_left = len(sides), sum(sides)


def _count_circles(found: Judged) -> None:
    """Count pairs of one voter and prompt that lie on a circle: a above b, b above c, c above a."""
    by_prompt: dict[tuple[str, str], dict[str, set[str]]] = {}
    for pair in found.pairs:
        above = by_prompt.setdefault((pair.by, prompt_key(pair.prompt)), {})
        above.setdefault(text_of(pair.better), set()).add(text_of(pair.worse))
        above.setdefault(text_of(pair.worse), set())
    for above in by_prompt.values():
        num_pairs = sum(map(len, above.values()))
        if num_pairs < max(3, len(above)):  # a tree has no circles
            continue
        reached = {name: _reached(above, name) for name in above}
        found.num_repeated += num_pairs
        found.num_contradicted += sum(a in reached[b] for a, worse in above.items() for b in worse)


def _reached(above: dict[str, set[str]], start: str) -> set[str]:
    """Return all answers below a start, over any number of pairs."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = above[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def _without_repeats(pairs: Iterable[Pair]) -> list[Pair]:
    """Drop repeated pairs of one voter: a person may rate two answers and compare them too."""
    kept = {(p.by, prompt_key(p.prompt), text_of(p.better), text_of(p.worse)): p for p in pairs}
    return list(kept.values())


# Ratings and demonstrations --------------------------------------------------------------------------------------------


def _last_ratings(ordered: Iterable[Judgement]) -> list[Rating]:
    """Return each voter's last rating of each answer."""
    last: dict[tuple[str, str, str], Rating] = {}
    for one in ordered:
        if isinstance(one, Rating):
            key = (one.by, prompt_key(one.prompt), text_of(one.answer))
            last.pop(key, None)
            last[key] = one
    return list(last.values())


def _add_ratings(ratings: Sequence[Rating], found: Judged) -> None:
    """Add thumbs, and pairs of a liked and a disliked answer that one voter gave to the same prompt."""
    siblings: dict[tuple[str, str], list[Thumb]] = {}
    for one in ratings:
        if DISLIKED < one.score < LIKED:
            found.num_neither += 1
            continue
        thumb = Thumb(one.prompt, one.answer, one.score >= LIKED, one.by)
        found.thumbs.append(thumb)
        siblings.setdefault((one.by, prompt_key(one.prompt)), []).append(thumb)
    for thumbs in siblings.values():
        liked, disliked = ([t for t in thumbs if t.is_liked == side] for side in (True, False))
        found.pairs += [Pair(a.prompt, a.answer, b.answer, a.by) for a in liked for b in disliked]


def _written(ordered: Iterable[Judgement]) -> list[Demonstration]:
    return [one for one in ordered if isinstance(one, Demonstration) and text_of(one.answer)]


def _differs(one: Demonstration) -> bool:
    return bool(one.rejected) and text_of(one.answer) != text_of(one.rejected)
