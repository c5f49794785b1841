"""What strategies must give where the model's error is known: worked out exactly, and measured.

`python -m bench.strategies.known` prints both. A strategy that gains nothing on a small real model is then known not to
be broken.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.strategies.calibrated import Calibrated, Known
from jielong.records import Conversation, Message, Sample, Sampling, Score
from jielong.use.port import Options
from jielong.use.strategies import named
from jielong.use.strategy import Outcome, run

GREEDY = Options(Sampling(max_tokens=32, temperature=0.0))


@dataclass(frozen=True)
class Claim:
    """A share of questions that was measured on `count` of them, beside the one that must come."""

    name: str
    expected: float
    measured: float
    count: int

    @property
    def deviation(self) -> float:
        """How many standard deviations of the measure lie between the two."""
        width = math.sqrt(self.expected * (1 - self.expected) / self.count)
        return abs(self.measured - self.expected) / max(width, 1 / self.count)


def vote_wins(p: float, n: int, num_wrong: int) -> float:
    """The probability that the right answer wins a vote of `n`, each right with `p`, else one of `num_wrong` evenly.

    The sum over the multinomial counts; of a tie between t answers the right one came first in 1/t of the orders.
    """
    total = 0.0
    for right in range(1, n + 1):
        for wrong in _counts(n - right, num_wrong):
            if max(wrong, default=0) > right:
                continue
            orders = math.factorial(n) / math.prod(map(math.factorial, (right, *wrong)))
            odds = p**right * ((1 - p) / num_wrong) ** (n - right)
            total += orders * odds / (1 + wrong.count(right))
    return total


def _counts(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write `total` as a sum of `parts` counts, in order."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _counts(total - first, parts - 1):
            yield (first, *rest)


def questions(count: int, num_wrong: int = 1) -> list[Known]:
    return [
        Known(f"What is {n} + {n + 1}?", str(2 * n + 1), tuple(f"{-w - 1}" for w in range(num_wrong)))
        for n in range(count)
    ]


def verifier(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
    """A program that knows the right answer, which is the item."""
    return [Score(float(conversation.messages[-1].text == item)) for item, conversation, _ in items]


def outcomes(
    spec: str, model: Calibrated, known: Sequence[Known], given: Mapping[str, Any] | None = None
) -> list[Outcome]:
    """What the strategy gives for every question."""
    strategy = named(spec, given)

    async def all_of_them() -> list[Outcome]:
        return [
            await run(strategy, Conversation((Message("user", k.question),), {"item": k.right}), model.ask, GREEDY)
            for k in known
        ]

    return asyncio.run(all_of_them())


def share_right(made: Sequence[Outcome], known: Sequence[Known]) -> float:
    return sum(o.answer.text == k.right for o, k in zip(made, known, strict=True)) / len(known)


def votes(count: int) -> Iterator[Claim]:
    """Nine votes at p = .6 give .73 where all errors are the same, and more where they differ."""
    for num_wrong in (1, 3):
        known = questions(count, num_wrong)
        made = outcomes("vote:9", Calibrated(known, 0.6), known)
        name = f"9 votes at p = .6, {num_wrong} wrong answer{'s' * (num_wrong > 1)}"
        yield Claim(name, vote_wins(0.6, 9, num_wrong), share_right(made, known), count)


def verified(count: int) -> Iterator[Claim]:
    """The best of n with a perfect verifier is right unless all are wrong: 1 - .4^n, however the tries are made."""
    known = questions(count)
    for spec, n in (("best-of:2", 2), ("best-of:4", 4), ("check:4", 4)):
        made = outcomes(spec, Calibrated(known, 0.6), known, {"scorer": verifier})
        yield Claim(f"{spec}, perfect verifier, p = .6", 1 - 0.4**n, share_right(made, known), count)


def reflections(count: int) -> Iterator[Claim]:
    """A critic that knows nothing turns as many answers wrong as right; one that knows makes a second try of the wrong ones."""
    known = questions(count)

    def blind(conversation: Conversation, known: Known | None, dice: random.Random) -> str | None:
        return "No." if "Look at your answer" in conversation.messages[-1].text else None

    def knowing(conversation: Conversation, known: Known | None, dice: random.Random) -> str | None:
        if "Look at your answer" not in conversation.messages[-1].text:
            return None
        return "Yes." if known and conversation.messages[-2].text == known.right else "No."

    made = outcomes("reflect", Calibrated(known, 0.6, react=blind), known)
    first = [o.calls[0].answer.text == k.right for o, k in zip(made, known, strict=True)]
    last = [o.answer.text == k.right for o, k in zip(made, known, strict=True)]
    spoilt = sum(a and not b for a, b in zip(first, last, strict=True)) / count
    mended = sum(b and not a for a, b in zip(first, last, strict=True)) / count
    yield Claim("reflection, blind critic, p = .6", 0.6, share_right(made, known), count)
    yield Claim("  of them right -> wrong", 0.6 * 0.4, spoilt, count)
    yield Claim("  of them wrong -> right", 0.4 * 0.6, mended, count)
    made = outcomes("reflect", Calibrated(known, 0.6, react=knowing), known)
    yield Claim("reflection, critic that knows", 0.6 + 0.4 * 0.6, share_right(made, known), count)


def cascades(count: int) -> Iterator[Claim]:
    """Half the questions easy (.9) and half hard (.3), a large model of .95: confidence is worth what chance is not."""
    known = questions(count)
    easy = {k.question for k in known[::2]}
    small = Calibrated(known, lambda k, conversation: 0.9 if k.question in easy else 0.3)
    for spec, expected in (
        # the hard half goes to the large model
        ("cascade:logprob,threshold=0.7", (0.9 + 0.95) / 2),
        # any half does
        ("cascade:random,threshold=0.5", ((0.9 + 0.3) / 2 + 0.95) / 2),
    ):
        made = outcomes(spec, small, known, {"large": Calibrated(known, 0.95).ask})
        yield Claim(spec, expected, share_right(made, known), count)
        routed = sum(o.calls[-1].label == "large" for o in made) / count
        yield Claim("  asked the large model", 0.5, routed, count)


CLAIMS = (votes, verified, reflections, cascades)


def main() -> None:
    print(f"{'':<36} expected  measured")
    for claims in CLAIMS:
        for claim in claims(2000):
            print(f"{claim.name:<36} {claim.expected:8.4f}  {claim.measured:8.4f}")


if __name__ == "__main__":
    main()
