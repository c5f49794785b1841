"""Preferences that a language model gives in place of people: which of two answers is better by a constitution.

The second half of constitutional AI (Bai et al. 2022, arXiv 2212.08073, section 4; RLAIF, Lee et al. 2023, arXiv 2309.00267).
A judge is asked about each pair in both orders. It decides where both verdicts are the same; where it contradicts itself the
pair is a tie. Where the pairs carry labels already, the report says how often the judge agrees with them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jielong.errors import ConfigError, DataError
from jielong.evaluate.judge import JudgeReport, Pair, Verdict, judge_pair, judge_report
from jielong.evaluate.statistics import Interval, wilson
from jielong.records import Conversation, Message, Preference, to_dict
from jielong.runs import canonical_json
from jielong.use.constitution import Principles
from jielong.use.port import Ask, Options, Scores
from jielong.use.prompting import fill, language_of

DRAWS = 4
"""How often two different answers to a prompt are tried for."""

_ROLES = {"en": ("User", "Assistant"), "zh": ("用户", "助手")}


@dataclass(frozen=True)
class Candidates:
    """Two answers to a prompt; `gold` is how likely the first is the better one by earlier labels, None without any."""

    prompt: tuple[Message, ...]
    first: tuple[Message, ...]
    second: tuple[Message, ...]
    gold: float | None = None

    @property
    def id(self) -> str:
        """Return the digest of the prompt and both answers."""
        return digest_of(self.prompt, self.first, self.second)

    @property
    def pair(self) -> Pair:
        """Return the pair as a judge is shown it."""
        return Pair(self.id, question_of(self.prompt), *(_text(side) for side in (self.first, self.second)))


@dataclass(frozen=True)
class Label:
    """A judge's verdict on two answers; `odds` are the log odds of the first one with it and with the other shown first,
    where they were read.
    """

    candidates: Candidates
    verdict: Verdict
    odds: tuple[float, float] | None = None

    @property
    def averaged(self) -> float | None:
        """Return the mean log odds of the first answer: a liking for a place cancels out. None if they are not known."""
        return None if self.odds is None else sum(self.odds) / 2

    def preference(self, by: str) -> Preference | None:
        """Return the label as a preference of `by`, a tie where the judge contradicts itself; None for no verdict."""
        if not self.verdict.is_read:
            return None
        one, value = self.candidates, self.verdict.value
        sides = (one.second, one.first) if value == 0 else (one.first, one.second)
        return Preference(one.prompt, *sides, label=0.5 if value == 0.5 else 1.0, by=by)


def digest_of(*parts: Sequence[Message]) -> str:
    """Return the hex digest of messages."""
    whole = canonical_json([to_dict(part) for part in parts])
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def question_of(prompt: Sequence[Message]) -> str:
    """Return a prompt as one text: the question, or of several turns all of them, each with its speaker."""
    if len(prompt) == 1:
        return prompt[0].text.strip()
    user, assistant = _ROLES[language_of(" ".join(m.text for m in prompt))]
    names = {"user": user, "assistant": assistant}
    return "\n".join(f"{names.get(m.role, m.role)}: {m.text.strip()}" for m in prompt)


def _text(side: Sequence[Message]) -> str:
    return "\n".join(m.text for m in side if m.role == "assistant").strip()


async def draw_two(prompt: Sequence[Message], ask: Ask, options: Options) -> list[str]:
    """Draw answers until two are different, at most `DRAWS` times; a list of one where all are the same."""
    found: list[str] = []
    for number in range(DRAWS):
        answer = await ask(Conversation(tuple(prompt)), options.draw("answer", number))
        text = answer.text.strip()
        if text and text not in found:
            found.append(text)
        if len(found) == 2:
            break
    return found


async def label_in_words(one: Candidates, ask: Ask, options: Options, principles: Principles) -> Label:
    """Ask for a reason and a verdict in words, in both orders."""
    return Label(one, await judge_pair(one.pair, ask, options, principles))


async def label_by_letter(one: Candidates, port: Scores, principles: Principles) -> Label:
    """Read the log odds of the letters A and B as the next token, in both orders: two short readings and no writing."""
    pair = one.pair
    language = language_of(pair.question)

    async def odds(first: str, second: str) -> float:
        values = {"question": pair.question, "first": first, "second": second, "principles": principles.text(language)}
        prompt = Conversation((Message("user", fill("judge_letter", language, **values)),))
        a, b = await port.score(prompt, ["A", "B"])
        return a.logprob - b.logprob

    try:
        shown_first, shown_second = await odds(pair.a, pair.b), -(await odds(pair.b, pair.a))
    except (ConfigError, DataError) as error:  # too long for the judge; the other pairs are not
        return Label(one, Verdict(pair, None, None, (f"({error})",) * 2))
    return Label(one, Verdict(pair, _decided(shown_first), _decided(shown_second)), (shown_first, shown_second))


def _decided(odds: float) -> float:
    return 0.5 if odds == 0 else float(odds > 0)


def label_to(label: Label) -> dict[str, Any]:
    """Convert a label to plain JSON without the pair's earlier label."""
    one, verdict = label.candidates, label.verdict
    said = {"a_first": verdict.a_first, "b_first": verdict.b_first, "said": list(verdict.said), "odds": label.odds}
    return {"prompt": to_dict(one.prompt), "first": to_dict(one.first), "second": to_dict(one.second), **said}


def label_from(data: Mapping[str, Any], one: Candidates) -> Label:
    """Read the label of these candidates from plain JSON. Raises DataError if it is damaged."""
    try:
        odds = data["odds"] and (float(data["odds"][0]), float(data["odds"][1]))
        verdicts = [None if data[name] is None else float(data[name]) for name in ("a_first", "b_first")]
        return Label(one, Verdict(one.pair, verdicts[0], verdicts[1], tuple(map(str, data["said"]))), odds or None)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"a verdict is damaged ({error!r}); delete its line to ask again") from error


@dataclass(frozen=True)
class LabelReport:
    """The figures of a judge's labels. Agreement is of the pairs that have an earlier label which is no tie."""

    judge: JudgeReport
    ties: int
    """Labels that are a tie, most of them because the judge contradicts itself."""
    compared: int
    """Pairs with an earlier label that the judge has decided."""
    agreement: Interval | None
    """How many of these it decides as that label does."""
    undecided: int
    """Pairs with an earlier label on which the judge says a tie or contradicts itself."""
    agreement_averaged: Interval | None
    """Of all pairs with an earlier label, by the mean of both orders' odds, where they were read."""
    place: float | None
    """The mean log odds that go to the answer that is shown first, for its place; 0 is no preference."""


def label_report(labels: Sequence[Label]) -> LabelReport:
    """Compute the report of at least one label."""
    read = [label for label in labels if label.verdict.is_read]
    known = [(label, label.candidates.gold) for label in read]
    against = [(label, gold > 0.5) for label, gold in known if gold is not None and gold != 0.5]
    decided = [(label.verdict.value == 1.0) == is_first for label, is_first in against if label.verdict.value != 0.5]
    averaged = [(mean > 0) == is_first for label, is_first in against if (mean := label.averaged) is not None]
    places = [(label.odds[0] - label.odds[1]) / 2 for label in read if label.odds]
    return LabelReport(
        judge_report([label.verdict for label in labels]),
        sum(label.verdict.value == 0.5 for label in read),
        len(decided),
        wilson(sum(decided), len(decided)) if decided else None,
        len(against) - len(decided),
        wilson(sum(averaged), len(averaged)) if averaged else None,
        math.fsum(places) / len(places) if places else None,
    )
