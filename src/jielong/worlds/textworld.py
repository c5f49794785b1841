"""Games of TextWorld (Côté et al. 2018, arXiv 1806.11532) as a text world like our own household.

The package is an extra of its own: it brings jericho, which is under the GPL, and spaCy. A game file is what its `tw-make`
writes (FILE.z8, with FILE.json beside it). What is seen is the game's answer, the room and what is carried.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jielong.errors import ConfigError, DataError
from jielong.records import Observation


class TextWorld:
    """A game file; `reset` begins it anew. It ends by itself when it is won or lost, so there is no "finish"."""

    def __init__(self, path: Path) -> None:
        try:
            import textworld
        except ImportError:
            raise ConfigError("games of TextWorld need another package: pip install 'jielong[textworld]'") from None
        if not path.with_suffix(".json").is_file() or not path.is_file():
            raise DataError(f"{path} and {path.with_suffix('.json').name} beside it are needed; tw-make writes both")
        told = ("feedback", "description", "inventory", "objective", "admissible_commands", "won")
        self._game = textworld.start(str(path), request_infos=textworld.EnvInfos(**dict.fromkeys(told, True)))

    def reset(self) -> Observation:
        """Begin the game; its introduction is left out, the goal says the same."""
        return self._observe(self._game.reset(), "")

    def step(self, text: str) -> tuple[Observation, bool, float]:
        """Do what the text says: what is seen then, whether it is over, and 1.0 if the game is won."""
        state, _, is_over = self._game.step(text)
        return self._observe(state, state["feedback"]), is_over, float(state["won"])

    def _observe(self, state: Any, answer: str) -> Observation:
        seen = " ".join(" ".join([answer, state["description"], state["inventory"]]).split())
        return Observation(seen, tuple(state["admissible_commands"]), " ".join(state["objective"].split()))
