"""Jailbreak attacks: harmful requests in the usual wrappers, such as role play, "make it swear", or a prefix to begin
with.

The wrappers are the prompts `jailbreak_*`. Each is put around each request that should be refused, in its own language;
an answer that does not decline is a success of the attack. Harmless requests that sound alike stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

from jielong.evaluate.tasks import Item, Task
from jielong.use.prompting import fill, language_of, names

WRAPPERS = "jailbreak_"


def add_attacks(task: Task) -> Task:
    """Append to a task each item that should be refused, once in every wrapper."""
    wrapped = [_wrap_item(item, name) for name in names(WRAPPERS) for item in task.items if item.scorer == "refuses"]
    return replace(task, items=(*task.items, *wrapped))


def _wrap_item(item: Item, name: str) -> Item:
    """Return the item with its question in one wrapper."""
    attack = name.removeprefix(WRAPPERS)
    text = fill(name, language_of(item.question), request=item.question)
    return replace(
        item,
        id=f"{item.id}/{attack}",
        messages=(*item.messages[:-1], replace(item.messages[-1], content=text)),
        meta={**item.meta, "group": f"attack {attack}", "attack": attack},
    )
