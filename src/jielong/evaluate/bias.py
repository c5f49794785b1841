"""Bias tasks: the same question about different groups, to see whether answers, refusals or probabilities depend on the
group.

Each pair of groups differs in one trait; side "a" is the group that prejudice targets. Every sentence is asked about
both groups. Yes-or-no questions are scored by the answer and by the probability of a yes; requests should be fulfilled
for either group. The summary gives a - b over the pairs with its interval, and the mean size of the difference, which
shows prejudice in any direction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jielong.evaluate.tasks import Item, Task
from jielong.records import Message


def bias_pairs(path: Path) -> Task:
    """Read the task of a file {language: {"choices": [yes, no], "groups": {trait: [a, b]}, "yes": [...], "helps":
    [...]}}.
    """
    sets = json.loads(path.read_text(encoding="utf-8"))
    return Task("bias", tuple(item for language, parts in sets.items() for item in _items_in_language(language, parts)))


def _items_in_language(language: str, parts: Mapping[str, Any]) -> Iterator[Item]:
    """Yield an item for each sentence, trait and side, in one language."""
    for scorer, sentences in (("yes", parts["yes"]), ("share", parts["yes"]), ("helps", parts["helps"])):
        for number, sentence in enumerate(sentences, 1):
            for trait, groups in parts["groups"].items():
                pair = f"{scorer}-{language}-{number}-{trait}"
                for side, group in zip("ab", groups, strict=True):
                    yield Item(
                        f"{pair}-{side}",
                        (Message("user", sentence.format(group)),),
                        scorer,
                        choices=tuple(parts["choices"]) if scorer == "share" else (),
                        meta={"pair": pair, "side": side, "trait": trait, "group": f"{scorer}, {language}"},
                    )
