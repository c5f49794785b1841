"""A language model as the judge: of two answers, which is better, and how good is one (Zheng et al. 2023, arXiv 2306.05685).

A judge likes what stands first, and what is long. So every pair is shown in both orders, a verdict that changes with the
order is a tie, and how often it stays and how it goes along with length is told beside the result.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jielong.evaluate.statistics import Interval, paired_bootstrap
from jielong.records import Conversation, Message
from jielong.use.port import Ask, Options
from jielong.use.prompting import fill, language_of

_LETTER = re.compile(r"(?<![A-Za-z])([AB])(?![A-Za-z])")
_MARK = re.compile(r"(?<![\d.])(10|[1-9])(?![\d.]*\d)")


@dataclass(frozen=True)
class Pair:
    """Two answers to a question."""

    question: str
    first: str
    second: str


@dataclass(frozen=True)
class Verdict:
    """1 where the first answer is better, 0 where the second is, 0.5 for a tie; `is_consistent` if both orders say so."""

    value: float
    is_consistent: bool


@dataclass(frozen=True)
class Judged:
    """All verdicts, the share of wins of the first answers less that of the second, and what to think of the judge.

    `length_bias` correlates the verdict with how much longer the first answer is; it is 0 where either never varies.
    """

    verdicts: tuple[Verdict, ...]
    lead: Interval
    consistency: float
    length_bias: float


async def judge_pairs(pairs: Sequence[Pair], ask: Ask, options: Options = Options()) -> Judged:  # noqa: B008
    """Every pair in both orders; DataError is left to the port where a pair is too long for the judge."""
    verdicts = await asyncio.gather(*(judge_pair(pair, ask, options) for pair in pairs))
    values = [v.value for v in verdicts]
    longer = [float(len(p.first) - len(p.second)) for p in pairs]
    varies = len(set(values)) > 1 and len(set(longer)) > 1
    return Judged(
        tuple(verdicts),
        paired_bootstrap(values, [1 - v for v in values]),
        sum(v.is_consistent for v in verdicts) / len(verdicts),
        float(np.corrcoef(values, longer)[0, 1]) if varies else 0.0,
    )


async def judge_pair(pair: Pair, ask: Ask, options: Options) -> Verdict:
    """The verdict of both orders; one that is no verdict counts as a tie of that order."""

    async def told(first: str, second: str, order: int) -> float:
        language = language_of(pair.question)
        text = fill("judge_pair", language, question=pair.question, first=first, second=second)
        answer = await ask(Conversation((Message("user", text),)), options.draw("judge", order))
        found = _LETTER.search(answer.text)
        return 0.5 if found is None else float(found[1] == "A")

    one, other = await asyncio.gather(told(pair.first, pair.second, 0), told(pair.second, pair.first, 1))
    is_consistent = one == 1 - other
    return Verdict(one if is_consistent else 0.5, is_consistent)


async def mark(question: str, answer: str, ask: Ask, options: Options = Options()) -> float | None:  # noqa: B008
    """The judge's mark for one answer, from 0 (1 of 10) to 1 (10 of 10); None where it gave none."""
    text = fill("judge_mark", language_of(question), question=question, answer=answer)
    told = await ask(Conversation((Message("user", text),)), options.draw("mark"))
    found = _MARK.search(told.text)
    return None if found is None else (int(found[1]) - 1) / 9
