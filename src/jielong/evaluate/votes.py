"""Votes on two answers: comparisons in judgements, each voter's newest vote on the same answers, and contradictory ones.

The figures of judgements and learning from them both read votes here, so they count alike. Prompts are the same by their
speakers and texts, answers by their texts, and not by ids. Of votes at the same time the later one in the list is the newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jielong.records import AnswerSource, Judgement, Message, Preference, Ranking
from jielong.runs import digest

Texts = tuple[Message, ...]

Key = tuple[str, str, str]
"""A prompt by its digest, and two answers by their texts, which are sorted."""


@dataclass(frozen=True)
class Compared:
    """A comparison of two answers: `won` is 1 if the first is better, 0 if the second is, 0.5 for a tie.

    `group` is how many answers were ranked at once, 2 for a pair. `shown_first` is 1 if the first answer was shown
    first, 0 if the second was, -1 if nobody knows.
    """

    key: Key
    won: float
    by: str
    at: float
    prompt: Texts
    answers: tuple[Texts, Texts]
    sources: tuple[AnswerSource, AnswerSource]
    group: int = 2
    shown_first: int = -1
    is_blind: bool = False


@dataclass(frozen=True)
class Votes:
    """The votes that count, and what the others say of their voters."""

    newest: tuple[Compared, ...]
    """Each voter's newest vote on each two answers, in the order in which they were given."""
    num_repeated: int
    """Votes on two answers that their voter had compared before."""
    num_turned: int
    """Those of them that prefer the other answer than the voter's last decided vote."""
    num_contradicted: int
    """Pairs of answers of which one voter has preferred both."""


def prompt_key(prompt: Texts) -> str:
    """Return a digest of the speakers and texts of a prompt."""
    return digest([[m.role, m.text] for m in prompt])


def text_of(answer: Texts) -> str:
    """Return an answer's text, by which two answers are the same or not."""
    return "\n\n".join(m.text for m in answer).strip()


def comparisons(judgements: Iterable[Judgement]) -> list[Compared]:
    """List all comparisons of two different answers, in the order of the judgements."""
    found = []
    for one in judgements:
        if isinstance(one, Preference):
            found += _comparisons_in(one, (one.chosen, one.rejected), [(0, 1, one.label)])
        elif isinstance(one, Ranking):
            found += _comparisons_in(one, one.answers, one.comparisons())
    return found


def _comparisons_in(
    one: Preference | Ranking, answers: Sequence[Texts], pairs: Sequence[tuple[int, int, float]]
) -> list[Compared]:
    """List the comparisons in one judgement, the two answers in the order of their texts."""
    prompt, texts = prompt_key(one.prompt), [text_of(answer) for answer in answers]
    sources = [*one.vote.answers, *[AnswerSource()] * len(answers)]
    found = []
    for a, b, label in pairs:
        if texts[a] == texts[b]:
            continue
        won = 0.5 if label == 0.5 else float(label > 0.5)
        shown = one.vote.shown_first if isinstance(one, Preference) else -1
        if texts[b] < texts[a]:
            a, b, won, shown = b, a, 1 - won, 1 - shown if shown >= 0 else -1
        found.append(
            Compared(
                (prompt, texts[a], texts[b]),
                won,
                one.by,
                one.vote.at,
                one.prompt,
                (answers[a], answers[b]),
                (sources[a], sources[b]),
                len(answers),
                shown,
                one.vote.is_blind,
            )
        )
    return found


def votes_of(compared: Iterable[Compared]) -> Votes:
    """Sort comparisons into the votes that count, and count those that their voters have taken back or contradicted."""
    newest: dict[tuple[str, Key], Compared] = {}
    decided: dict[tuple[str, Key], float] = {}
    contradicted: set[tuple[str, Key]] = set()
    num_repeated = num_turned = 0
    for one in sorted(compared, key=lambda vote: vote.at):  # stable: equal times stay in their order
        name = (one.by, one.key)
        num_repeated += newest.pop(name, None) is not None
        newest[name] = one
        if one.won == 0.5:
            continue
        if decided.get(name, one.won) != one.won:
            num_turned += 1
            contradicted.add(name)
        decided[name] = one.won
    return Votes(tuple(newest.values()), num_repeated, num_turned, len(contradicted))
