"""Tasks by what a user writes: a file of one's own, a name of the package's, or a generator of puzzles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jielong.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from jielong.evaluate.tasks import Item, Task

MADE = ("capitals", "capitals-zh", "sums")
"""Tasks made of embedded facts, or by a rule."""

PUZZLES = "reasoning-gym:"

TASK_HELP = (
    "a FILE.jsonl of one's own, or bias, capitals, capitals-zh, code, instructions, safety, sums, reasoning-gym:GENERATOR, "
    "or lm-eval:NAME or lm-eval:FILE.yaml"
)


def find_task(name: str, *, limit: int = 0, scorer: str = "", seed: int = 0) -> Task:
    """Find a task by name and draw at most `limit` items (0: all; 100 puzzles) by the seed. Raises ConfigError for an
    unknown name.
    """
    from jielong.evaluate.built_in import BUILT_IN, built_in
    from jielong.evaluate.puzzles import make_puzzles
    from jielong.evaluate.tasks import read_task

    if name.startswith(PUZZLES):
        return make_puzzles(name.removeprefix(PUZZLES), limit or 100, seed)
    if name in MADE:
        return _generate_task(name).drawn(limit, seed)
    if name in BUILT_IN:
        return built_in(name).drawn(limit, seed)
    if not name.endswith(".jsonl"):
        raise ConfigError(f"there is no task {name!r}; {did_you_mean(name, [*MADE, *BUILT_IN])} or name a FILE.jsonl")
    return read_task(Path(name), scorer).drawn(limit, seed)


def _generate_task(name: str) -> Task:
    """Make one of the generated tasks by its name: sums, or capitals in one language."""
    from jielong.evaluate.tasks import Task

    return Task(name, tuple(_sum_items() if name == "sums" else _capital_items("zh" if name.endswith("-zh") else "en")))


def _matched_item(id: str, question: str, answers: Sequence[str], group: str) -> Item:
    """Make an item that is scored by `match`."""
    from jielong.evaluate.tasks import Item
    from jielong.records import Message

    return Item(id, (Message("user", question),), "match", tuple(answers), meta={"group": group})


def _sum_items() -> Iterator[Item]:
    """Make sums a + b up to 29 in both languages, small enough for a small model to get some right."""
    forms = {"en": "What is {} + {}?", "zh": "{} 加 {} 等于多少？"}
    pairs = [(a, b) for a in range(30) for b in range(30 - a)]
    for a, b in pairs:
        yield from (
            _matched_item(f"{a}+{b}-{lang}", form.format(a, b), [str(a + b)], lang) for lang, form in forms.items()
        )


def _capital_items(lang: str) -> Iterator[Item]:
    """Ask for the capital of every country of the atlas."""
    from jielong.worlds.atlas.facts import load_countries

    form = "{}的首都是哪里？" if lang == "zh" else "What is the capital of {}?"
    for c in load_countries():
        yield _matched_item(c.code, form.format(c.mention(lang)), c.accepted("capital", lang), c.continent[lang])
