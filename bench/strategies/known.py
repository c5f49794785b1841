"""What strategies must give where the model's error is known: worked out exactly, and measured.

`python -m bench.strategies.known` shows both. A strategy that gains nothing on a small real model is then known not to
be broken.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from bench.strategies.calibrated import Calibrated, Known
from bench.strategies.command import main
from bench.strategies.line import Line, Wanted, shares
from bench.strategies.setting import Result, Setting
from jielong.records import Conversation, Message, Sample, Sampling, Score
from jielong.use.port import Options
from jielong.use.strategies import named
from jielong.use.strategy import Outcome, run

GREEDY = Options(Sampling(max_tokens=32, temperature=0.0))


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


def claim(name: str, expected: float, seen: Iterable[bool]) -> Line:
    """A share that must come, and what was seen on every question."""
    return Line(name, shares(seen), Wanted("about", expected))


def rights(made: Sequence[Outcome], known: Sequence[Known]) -> list[bool]:
    return [o.answer.text == k.right for o, k in zip(made, known, strict=True)]


def votes(count: int) -> Iterator[Line]:
    """Nine votes at p = .6 give .73 where all errors are the same, and more where they differ."""
    for num_wrong in (1, 3):
        known = questions(count, num_wrong)
        made = outcomes("vote:9", Calibrated(known, 0.6), known)
        name = f"9 votes at p = .6, {num_wrong} wrong answer{'s' * (num_wrong > 1)}"
        yield claim(name, vote_wins(0.6, 9, num_wrong), rights(made, known))


def verified(count: int) -> Iterator[Line]:
    """The best of n with a perfect verifier is right unless all are wrong: 1 - .4^n, however the tries are made."""
    known = questions(count)
    for spec, n in (("best-of:2", 2), ("best-of:4", 4), ("check:4", 4)):
        made = outcomes(spec, Calibrated(known, 0.6), known, {"scorer": verifier})
        yield claim(f"{spec}, perfect verifier, p = .6", 1 - 0.4**n, rights(made, known))


def debates(count: int) -> Iterator[Line]:
    """Copies of one model that argue know no more than one of them, and those that vote in the end no more than a vote."""
    known = questions(count)
    model = Calibrated(known, 0.6)
    yield claim(
        "debate before a copy as the judge, p = .6", 0.6, rights(outcomes("debate:rounds=1", model, known), known)
    )
    made = outcomes("discuss:copies=3,rounds=2", model, known)
    yield claim("discussion of 3 copies, p = .6", vote_wins(0.6, 3, 1), rights(made, known))


def reflections(count: int) -> Iterator[Line]:
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
    last = rights(made, known)
    yield claim("reflection, blind critic, p = .6", 0.6, last)
    changes = list(zip(first, last, strict=True))
    yield claim("reflection, right -> wrong", 0.6 * 0.4, (a and not b for a, b in changes))
    yield claim("reflection, wrong -> right", 0.4 * 0.6, (b and not a for a, b in changes))
    made = outcomes("reflect", Calibrated(known, 0.6, react=knowing), known)
    yield claim("reflection, critic that knows", 0.6 + 0.4 * 0.6, rights(made, known))


def cascades(count: int) -> Iterator[Line]:
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
        yield claim(spec, expected, rights(made, known))
        yield claim(f"{spec}, asked the large model", 0.5, (o.calls[-1].label == "large" for o in made))


CLAIMS = (votes, verified, debates, reflections, cascades)


async def measure(at: Setting) -> Result:
    async def lines(claims: Callable[[int], Iterator[Line]]) -> list[Line]:
        # in a thread: each outcome has an event loop of its own
        return await asyncio.to_thread(lambda: list(claims(at.num(2000, 200))))

    return at.result([await at.part(claims.__name__, partial(lines, claims)) for claims in CLAIMS])


if __name__ == "__main__":
    sys.exit(main({"known": measure}))
