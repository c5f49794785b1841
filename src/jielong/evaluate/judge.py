"""A language model as a judge of answers: which of two is better, or a mark from 1 to 10.

A judge is biased towards the answer it reads first, and towards the longer one (Zheng et al. 2023, arXiv 2306.05685).
So each pair is judged in both orders, and an answer wins only if it wins both times. The report shows how often the
order decided, and how verdicts correlate with lengths.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.errors import ConfigError, DataError
from jielong.evaluate.concurrently import run_concurrently
from jielong.evaluate.statistics import Interval, correlation, mcnemar, paired_bootstrap
from jielong.records import Conversation, Message
from jielong.use.constitution import Principles
from jielong.use.examples import read_records
from jielong.use.port import Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.strategy import together

_VERDICT = re.compile(r"(?:verdict|结论)\W*(?:(?:answer|回答)\W*)?(A|B|tie|平)(?![a-z])", re.IGNORECASE)
_MARK = re.compile(r"(?:mark|分数)\W*(\d+(?:\.\d+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """A question and two answers to it."""

    id: str
    question: str
    a: str
    b: str


def read_pairs(a: Path, b: Path) -> list[Pair]:
    """Pair the answers of two result files to the same questions, in the order of the first.

    A line is {"id", "question", "text"}, with "sample" if a question has several answers. DataError if the files share
    no question, or use an id for different questions.
    """
    ours, theirs = ({(r.id, r.sample): r for r in read_records(path, _parse_result, "result")} for path in (a, b))
    shared = [key for key in ours if key in theirs]
    if not shared:
        raise DataError(f"{a} and {b} have no id in common")
    for key in shared:
        if ours[key].question != theirs[key].question:
            raise DataError(f"{a} and {b} ask different questions under id {key[0]!r}")
    return [Pair(key[0], ours[key].question, ours[key].text, theirs[key].text) for key in shared]


@dataclass(frozen=True)
class _ResultLine:
    id: str
    sample: int
    question: str
    text: str


def _parse_result(data: Mapping[str, Any]) -> _ResultLine:
    """Read one line of a result file. Raises DataError if id or question is missing."""
    for name in ("id", "question"):
        if name not in data:
            raise DataError(f"a result needs {name!r}")
    return _ResultLine(str(data["id"]), int(data.get("sample", 0)), str(data["question"]), str(data.get("text", "")))


@dataclass(frozen=True)
class Verdict:
    """A judge's two verdicts on a pair, with a shown first and with b shown first: 1 for a, 0 for b, 0.5 for a tie,
    None unreadable.
    """

    pair: Pair
    a_first: float | None
    b_first: float | None
    said: tuple[str, ...] = ()
    """The judge's words in both orders."""

    @property
    def is_read(self) -> bool:
        """Whether both verdicts could be read."""
        return self.a_first is not None and self.b_first is not None

    @property
    def unreadable(self) -> str:
        """Return the judge's first text without a readable verdict; "" if both verdicts were readable."""
        return next((said for said in self.said if read_verdict(said) is None), "")

    @property
    def is_consistent(self) -> bool:
        """Whether both orders gave the same verdict."""
        return self.is_read and self.a_first == self.b_first

    @property
    def value(self) -> float:
        """Return 1 if a won, 0 if b won, 0.5 for a tie, an unreadable verdict, or verdicts that depend on the order."""
        return self.a_first if self.is_consistent and self.a_first is not None else 0.5


async def judge_pair(pair: Pair, ask: Ask, options: Options, principles: Principles | None = None) -> Verdict:
    """Ask the judge for a verdict in both orders at the same time, by principles where there are some."""
    language = language_of(pair.question)
    name, given = ("judge_pair", {}) if principles is None else _by_principles(principles, language)

    async def shown(first: str, second: str, order: str) -> str:
        """Ask for a verdict with these answers in this order; return the judge's words."""
        prompt = fill(name, language, question=pair.question, first=first.strip(), second=second.strip(), **given)
        try:
            answer = await ask(Conversation((Message("user", prompt),)), options.draw("judge", pair.id, order))
        except (ConfigError, DataError) as error:  # too long for the judge; the other pairs are not
            return f"({error})"
        return answer.text

    said = await together([shown(pair.a, pair.b, "a first"), shown(pair.b, pair.a, "b first")])
    a_first, b_first = map(read_verdict, said)
    return Verdict(pair, a_first, None if b_first is None else 1 - b_first, tuple(said))


def _by_principles(principles: Principles, language: str) -> tuple[str, dict[str, str]]:
    """Return the prompt that judges by principles, and its value for them."""
    return "judge_principles", {"principles": principles.text(language)}


async def judge_pairs(pairs: Sequence[Pair], ask: Ask, options: Options, *, at_once: int = 16) -> list[Verdict]:
    """Judge many pairs; return verdicts in their order."""
    return await run_concurrently(lambda number: judge_pair(pairs[number], ask, options), len(pairs), at_most=at_once)


def read_verdict(text: str) -> float | None:
    """Read the last verdict of a text: 1 for A, 0 for B, 0.5 for a tie. Returns None if there is none."""
    found = _VERDICT.findall(text)
    return {"a": 1.0, "b": 0.0}.get(found[-1].lower(), 0.5) if found else None


def make_grader(ask: Ask, options: Options) -> Callable[[str, str], Awaitable[float | None]]:
    """Return an async function of question and answer that gives the judge's mark, 1 to 10, scaled to 0 to 1."""

    async def grade(question: str, answer: str) -> float | None:
        """Ask the judge for a mark. Returns None if its words hold none."""
        prompt = fill("judge_mark", language_of(question), question=question, answer=answer.strip())
        said = await ask(
            Conversation((Message("user", prompt),)), options.draw("judge", question, answer, label="judge")
        )
        mark = read_mark(said.text)
        return None if mark is None else (mark - 1) / 9

    return grade


def read_mark(text: str) -> float | None:
    """Read the last mark in a text, from 1 to 10. Returns None if there is none."""
    found = _MARK.findall(text)
    return float(found[-1]) if found and 1 <= float(found[-1]) <= 10 else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class JudgeReport:
    """The figures of a judge's verdicts, over pairs with readable verdicts; None if there are none."""

    pairs: int
    unread: int
    wins: int
    losses: int
    ties: int
    """Said in both orders, or the order decided."""
    preference: Interval | None
    """The mean value: above 0.5, a is preferred."""
    p: float | None
    """Of a sign test of wins against losses."""
    consistency: float | None
    """How many pairs got the same verdict in both orders."""
    first_place: float | None
    """Where the order decided, how much went to the answer that was read first; 0.5 is no preference."""
    length_correlation: float | None
    """Of the value with ln(length of a / length of b), Pearson's; None where either never changes."""
    longer_wins: float | None
    """Of wins and losses between answers of different length, how many went to the longer one."""


def judge_report(verdicts: Sequence[Verdict], *, seed: int = 0) -> JudgeReport:
    """Compute the report of at least one pair."""
    read = [v for v in verdicts if v.is_read]
    wins, losses = ([v.is_consistent and v.value == won for v in read] for won in (1.0, 0.0))
    turned = [v for v in read if not v.is_consistent]
    # Position bias: mean preference for the answer shown first. b_first says how much went to a, which was second then.
    to_first = [((v.a_first or 0.0) + 1 - (v.b_first or 0.0)) / 2 for v in turned]
    values = [v.value for v in read]
    ratios = [math.log((len(v.pair.a) + 1) / (len(v.pair.b) + 1)) for v in read]
    decided = [(v.value, ratio) for v, ratio in zip(read, ratios, strict=True) if v.value != 0.5 and ratio]
    return JudgeReport(
        len(verdicts),
        len(verdicts) - len(read),
        sum(wins),
        sum(losses),
        len(read) - sum(wins) - sum(losses),
        paired_bootstrap(values, [0.0] * len(values), seed=seed) if read else None,
        mcnemar(wins, losses) if read else None,
        _mean([v.is_consistent for v in read]),
        _mean(to_first),
        correlation(values, ratios),
        _mean([(value == 1.0) == (ratio > 0) for value, ratio in decided]),
    )
