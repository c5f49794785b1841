"""Are questions found that lean on the turns before, and are greetings let through?"""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.first_hour.material import SETS, Material, library_of, material
from bench.rows import Row
from jielong.records import Conversation, Message
from jielong.use.ledger import Happening
from jielong.use.port import Answer, Options
from jielong.use.retrieval.library import Library
from jielong.use.retrieval.queries import is_talk
from jielong.use.strategies.library import FromLibrary, Reading
from jielong.use.strategy import run


def rows(folder: Path, models: tuple[str, ...]) -> list[Row]:
    found = []
    for name in SETS:
        of = material(name)
        with library_of(of, folder / name) as library:
            for passages in (1, 5):
                num = asyncio.run(_num_found(of, library, passages))
                measure = f"{name}: last turns of talks whose document is among {passages}"
                found.append(Row(measure, "at least 0.9", num / len(of.talks), num >= 0.9 * len(of.talks)))
        through = [t for t in of.let_through if is_talk(t)]
        held = [t for t in of.not_let_through if not is_talk(t)]
        for what, some, whole in (
            ("greetings and requests about the talk that are let through", through, of.let_through),
            ("questions that are searched for though they look like them", held, of.not_let_through),
        ):
            share = len(some) / len(whole)
            found.append(Row(f"{name}: {what}", "at least 0.9", share, share >= 0.9))
    return found


async def _num_found(of: Material, library: Library, passages: int) -> int:
    """In how many talks a passage of the right document is put before the model at the last turn."""
    strategy = FromLibrary(library, reading=Reading(passages=passages, rewrites=False))
    num = 0
    for talk in of.talks:
        notes: list[str] = []
        messages: list[Message] = []
        for turn in talk.turns:
            messages += [Message("user", turn), Message("assistant", "I see.")]

        def remember(happening: Happening, notes: list[str] = notes) -> None:
            notes.append(happening.text)

        conversation = Conversation(tuple(messages[:-1]))
        await run(strategy, conversation, _silent, Options(), on_happening=remember)
        num += any(n.startswith("[") and talk.file in n.partition("(")[0] for n in notes)
    return num


async def _silent(conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
    """A model that says nothing of its own: what is measured is what it is given."""
    return Answer(Message("assistant", "I see."))
