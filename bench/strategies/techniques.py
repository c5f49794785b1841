"""What techniques gain on a real model: `python -m bench.strategies.techniques --techniques debate,team --questions 60`.

Every technique answers the same questions: sums after six examples, and capitals out of the model's memory. Beside each
stand asking once and the vote of equal tokens (`gains`). A null result is a result.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench.strategies.command import main
from bench.strategies.gains import Task, Technique, gains
from bench.strategies.setting import Measure, Part, Result, Setting
from jielong.records import Conversation, Sample, Score
from jielong.runs import derive_seed
from jielong.use.answers import is_same
from jielong.use.examples import Example
from jielong.use.spells.methods import Chance, Opro, Reinforce
from jielong.use.strategies.prompts import spells


def verifier(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
    """A program that knows the right answer, which is the item."""
    return [Score(float(is_same(conversation.messages[-1].text, item))) for item, conversation, _ in items]


VERIFIED: Mapping[str, Any] = {"scorer": verifier}
ALONE: dict[str, Technique] = {
    "vote-3": Technique("vote:3"),
    "vote-9": Technique("vote:9"),
    "best-3-verifier": Technique("best-of:3", VERIFIED),
    "best-5-verifier": Technique("best-of:5", VERIFIED),
    "best-9-verifier": Technique("best-of:9", VERIFIED),
    "check-9-verifier": Technique("check:9", VERIFIED),
    "best-9-itself": Technique("best-of:9"),
    "check-3-itself": Technique("check:3"),
    "reflect": Technique("reflect"),
    "think": Technique("think"),
    "explain": Technique("explain"),
    "decompose": Technique("decompose"),
    "debate": Technique("debate"),
    "discuss": Technique("discuss"),
    "dera": Technique("dera"),
    "team": Technique("team"),
    **{f"spell-{name}": Technique(f"spell:{name}") for name in spells()},
}
"""What needs nothing but the model: measured where no --techniques are named."""

TECHNIQUES: dict[str, Technique] = {
    **ALONE,
    "tree": Technique("tree:steps=2,branches=3,beam=2"),
    "cascade": Technique("cascade:logprob", needs_large=True),
    "cascade-vote": Technique("cascade:vote", needs_large=True),
    # the control: as likely to ask the large model as not
    "cascade-random": Technique("cascade:random,threshold=0.5", needs_large=True),
    "search-opro": Technique(method=Opro),
    "search-rewarded": Technique(method=lambda train, language: Reinforce(language)),
    "search-random": Technique(method=lambda train, language: Chance(language)),
}


def sums(count: int, seed: int, num_train: int = 12) -> Task:
    """a + b <= 29 after six examples, which are not among the questions."""
    pairs = [(a, b) for a in range(30) for b in range(30 - a)]
    random.Random(derive_seed(seed, "sums")).shuffle(pairs)
    shots = tuple(Example(f"What is {a} + {b}?", f"{a} + {b} = {a + b}") for a, b in pairs[:6])
    asked = tuple(Example(f"What is {a} + {b}?", str(a + b)) for a, b in pairs[6:])
    return Task(asked[:count], "few-shot", {"examples": shots}, train=asked[count : count + num_train])


def capitals(count: int, seed: int, lang: str = "en", num_train: int = 12) -> Task:
    """The capitals of countries, out of the model's memory."""
    from jielong.worlds.atlas.facts import load_countries

    countries = list(load_countries())
    random.Random(derive_seed(seed, "capitals")).shuffle(countries)
    form = "{}的首都是哪里？" if lang == "zh" else "What is the capital of {}?"
    asked = tuple(Example(form.format(c.mention(lang)), c.capital[lang]) for c in countries)
    return Task(asked[:count], train=asked[count : count + num_train])


def chosen(at: Setting) -> dict[str, Technique]:
    return {name: TECHNIQUES[name] for name in at.techniques} or ALONE


async def measure_sums(at: Setting) -> Result:
    return at.result(await gains(at, sums(at.num(60, 6), at.seed), chosen(at)))


async def measure_capitals(at: Setting) -> Result:
    parts: list[Part] = []
    for lang in at.languages:
        parts += await gains(at, capitals(at.num(60, 6), at.seed, lang), chosen(at), f"{lang} ")
    return at.result(parts)


EXPERIMENTS: dict[str, Measure] = {"sums": measure_sums, "capitals": measure_capitals}

if __name__ == "__main__":
    sys.exit(main(EXPERIMENTS, techniques=TECHNIQUES))
