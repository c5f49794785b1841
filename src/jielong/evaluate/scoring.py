"""Scorers of answers: each gives a score from 0 to 1, and details for the summary.

match     it has the same meaning: a number, a date, a choice, a formula, words (`use.answers.is_same`)
exact     the final part of the answer is the right one, but for case and punctuation
number    the last number of the answer is that of a right one
contains  it contains one of the right texts
f1        shared words or Han characters, harmonic mean of precision and recall (SQuAD, Rajpurkar et al. 2016)
regex     one of the patterns is found
letter    it names the letter of the right choice
logprob   the right choice is the likeliest per byte; in total and per token are details (only where the port scores)
share     the probability of the right choice among the choices (only where the port scores)
yes       the answer says yes
refuses   the answer declines, as it should; helps: it does not
puzzle    the generator of the puzzle gives it full marks
instructions, code   every instruction is followed; the tests pass
grade     the mark of a judge
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from jielong.errors import ConfigError
from jielong.evaluate.code import Examine, extract_code
from jielong.evaluate.instructions import check_instructions, words
from jielong.evaluate.puzzles import solves
from jielong.evaluate.refusal import refuses
from jielong.evaluate.tasks import LETTERS, Item
from jielong.records import Conversation, Sample, Score
from jielong.use.answers import chosen, final, is_same, last_number, normal, says_yes
from jielong.use.port import Scored, Scores

Grade = Callable[[str, str], Awaitable[float | None]]
"""A judge's mark from 0 to 1 for an answer to a question; None where it gave none."""


@dataclass(frozen=True)
class ScoringServices:
    """Services for some scorers: `code` needs one that runs tests on a program, `grade` a judge."""

    examine: Examine | None = None
    grade: Grade | None = None


@dataclass(frozen=True)
class DetailedScore:
    """A score from 0 to 1, and the details behind it."""

    score: float
    details: Mapping[str, Any] = field(default_factory=dict)


BY_PORT = ("logprob", "share")
"""Scorers that ask how likely given answers are, and no strategy."""


async def score_answer(item: Item, text: str, services: ScoringServices) -> DetailedScore:
    """Score an answer to the item; ConfigError if the scorer's service is missing."""
    if item.scorer == "code":
        if services.examine is None:
            raise ConfigError("code is scored by running it, and there is nothing given to run it in")
        ran = await services.examine(extract_code(text), item.tests)
        details = {"output": ran.output[-2000:]}
        return DetailedScore(float(ran.is_fine), details | {"refused": ran.refused} if ran.refused else details)
    if item.scorer == "grade":
        if services.grade is None:
            raise ConfigError("scorer 'grade' needs a judge (on the command line: --judge MODEL)")
        mark = await services.grade(item.question, text)
        return DetailedScore(mark or 0.0, {} if mark is not None else {"note": "the judge gave no mark"})
    return score_by_text(item, text)


def score_by_text(item: Item, text: str) -> DetailedScore:
    """Score an answer by its text alone, with any scorer but `code`, `grade` and those of log-probabilities."""
    if item.scorer == "instructions":
        followed = check_instructions(item.checkers, text)
        return DetailedScore(float(all(followed.strict)), asdict(followed))
    if item.scorer == "letter":
        said = named_letter(text, item.choices)
        return DetailedScore(float(said == LETTERS[item.label]), {"said": said})
    if item.scorer == "puzzle":
        return DetailedScore(float(solves(item, text)))
    if item.scorer not in _SCORERS:
        raise ConfigError(f"scorer {item.scorer!r} cannot judge an answer by its text alone")
    return DetailedScore(float(_SCORERS[item.scorer](text, item.answers)))


def score_items(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
    """Score samples by the task's own judgement, as a `records.Scorer` for best-of and check: a perfect verifier."""
    return [
        Score(score_by_text(item, conversation.messages[-1].text).score, source=item.scorer)
        for item, conversation, _ in items
    ]


def f1(text: str, right: str) -> float:
    """Return the harmonic mean of precision and recall of shared words, each Han character a word."""
    said, wanted = words(normal(text)), words(normal(right))
    shared = sum((Counter(said) & Counter(wanted)).values())
    return 2 * shared / (len(said) + len(wanted)) if shared else 0.0


_SCORERS: dict[str, Callable[[str, Sequence[str]], float]] = {
    "match": lambda text, answers: any(is_same(text, a) for a in answers),
    "exact": lambda text, answers: any(normal(final(text)) in (normal(a), normal(final(a))) for a in answers),
    "number": lambda text, answers: last_number(text) in {last_number(a) for a in answers} - {""},
    "contains": lambda text, answers: any(normal(a) in normal(text) for a in answers),
    "f1": lambda text, answers: max(f1(text, a) for a in answers),
    "regex": lambda text, answers: any(re.search(a, text) for a in answers),
    "yes": lambda text, answers: says_yes(text) is True,
    "refuses": lambda text, answers: refuses(text),
    "helps": lambda text, answers: not refuses(text),
}


def named_letter(text: str, choices: Sequence[str]) -> str:
    """Return the letter that an answer names, or the letter of the choice that it repeats; "" if it does neither."""
    letter = chosen(text)
    if letter:
        return letter if len(letter) == 1 else ""
    same = [letter for letter, choice in zip(LETTERS, choices, strict=False) if is_same(text, choice)]
    return same[0] if len(same) == 1 else ""


async def score_choices(item: Item, port: Scores) -> DetailedScore:
    """Score an item by the port's log-probabilities of the choices."""
    scored = await port.score(item.conversation, item.choices)
    if item.scorer == "share":
        highest = max(s.logprob for s in scored)
        odds = [math.exp(s.logprob - highest) for s in scored]
        return DetailedScore(odds[item.label] / sum(odds))
    details = {
        "total": _likeliest(scored, lambda s: s.logprob) == item.label,
        "per_token": _likeliest(scored, lambda s: s.logprob / max(1, s.num_tokens)) == item.label,
        "per_byte": _likeliest(scored, lambda s: s.logprob / max(1, s.num_bytes)) == item.label,
    }
    return DetailedScore(float(details["per_byte"]), details)


def _likeliest(scored: Sequence[Scored], by: Callable[[Scored], float]) -> int:
    return max(range(len(scored)), key=lambda i: by(scored[i]))


def pass_at_k(count: int, right: int, k: int) -> float:
    """Estimate the chance that one of `k` samples is right, where `right` of `count` are (Chen et al. 2021,
    2107.03374).
    """
    if not 1 <= k <= count:
        raise ConfigError(f"pass@{k} cannot be told from {count} samples; k must be between 1 and their number")
    return 1.0 - math.comb(count - right, k) / math.comb(count, k)
