"""Opening a strategy by name, with the resources that a command line cannot write: other models, a judge, tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jielong.errors import ConfigError
from jielong.opening.ports import is_address, open_port, open_reward
from jielong.opening.tools import Equipment, Person, open_equipment

if TYPE_CHECKING:
    from jielong.use.port import Ask


@dataclass(frozen=True)
class Partners:
    """Other models that take part, by name: a larger one to ask if the first is unsure, debaters, a reward model."""

    large: str | None = None
    others: tuple[str, ...] = ()
    reward: str | None = None


def strategy_of(spec: str, equipment: Equipment) -> str:
    """Return the strategy `spec`, or if that is "" the strategy that the equipment calls for.

    Raises ConfigError if there are tools and no strategy that calls them.
    """
    if not spec:
        return "tools" if equipment.has_tools else "library" if equipment.library else "direct"
    names = {part.strip().partition(":")[0] for part in spec.split("+")}
    if equipment.has_tools and "tools" not in names:
        raise ConfigError(f"no strategy of {spec!r} calls the tools; write --strategy {spec}+tools")
    if equipment.library and not names & {"library", "tools"}:
        return f"library+{spec}" if names != {"direct"} else "library"
    return spec


@asynccontextmanager
async def open_resources(
    model: str, equipment: Equipment, partners: Partners, person: Person
) -> AsyncIterator[dict[str, Any]]:
    """Open everything that strategies for `model` need beside it: library, tools, and other models."""
    given: dict[str, Any] = {}
    if partners.reward:
        if is_address(model):
            raise ConfigError(
                "a reward model reads token ids, which a server does not tell; --reward needs a folder's model"
            )
        given["scorer"] = open_reward(partners.reward)
    async with AsyncExitStack() as stack:

        def ask_of(name: str) -> Ask:
            port = open_port(name)
            stack.push_async_callback(port.close)
            return port.ask

        if partners.large:
            given["large"] = ask_of(partners.large)
        if partners.others:
            given["others"] = tuple(map(ask_of, partners.others))
        yield given | await stack.enter_async_context(open_equipment(equipment, person))
