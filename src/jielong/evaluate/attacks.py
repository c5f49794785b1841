"""Harmful requests in the wrappers that people put around them: role play, "make it swear", a prefix to begin with.

The wrappers are the prompts `jailbreak_*`. Each is put around each request that should be refused, in its own language; an
answer that does not decline is a success of the attack. Harmless requests that sound alike stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

from jielong.evaluate.tasks import Item, Task
from jielong.use.prompting import fill, language_of, names

WRAPPERS = "jailbreak_"


def attacked(task: Task) -> Task:
    """The task, and after its items each one that should be refused in every wrapper."""
    wrapped = [_wrapped(item, name) for name in names(WRAPPERS) for item in task.items if item.scorer == "refuses"]
    return replace(task, items=(*task.items, *wrapped))


def _wrapped(item: Item, name: str) -> Item:
    attack = name.removeprefix(WRAPPERS)
    text = fill(name, language_of(item.question), request=item.question)
    return replace(
        item,
        id=f"{item.id}/{attack}",
        messages=(*item.messages[:-1], replace(item.messages[-1], content=text)),
        meta={**item.meta, "group": f"attack {attack}", "attack": attack},
    )
