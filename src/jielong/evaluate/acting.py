"""How well somebody acts: of many episodes, what could be done, what was reached, what it took and why it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jielong.use.agents.acting import Episode


@dataclass(frozen=True)
class Figures:
    """Shares are of all episodes or of all steps; `steps` and `tokens` are means of an episode."""

    episodes: int
    success: float
    """The goal was reached when the episode was over."""
    reached: float
    """It was reached at some moment, noticed or not."""
    executable: float
    """Of the steps: what was done could be done."""
    written: float
    """Of the steps: it could be done as the policy wrote it."""
    steps: float
    tokens: float
    seconds: float
    stops: Mapping[str, int]

    def __str__(self) -> str:
        stops = ", ".join(f"{stop} {n}" for stop, n in sorted(self.stops.items()))
        return (
            f"success {self.success:.1%}, reached {self.reached:.1%}, executable {self.executable:.1%} "
            f"(as written {self.written:.1%}), {self.steps:.1f} steps, {self.tokens:.0f} tokens, "
            f"{self.seconds:.2f} s; {stops}"
        )


def figures(episodes: Sequence[Episode]) -> Figures:
    """The figures of at least one episode."""
    steps = [step for episode in episodes for step in episode.steps]

    def mean(values: Sequence[float]) -> float:
        return sum(values) / max(1, len(values))

    return Figures(
        len(episodes),
        mean([e.is_success for e in episodes]),
        mean([e.is_reached for e in episodes]),
        mean([s.is_executable for s in steps]),
        mean([s.is_written for s in steps]),
        len(steps) / len(episodes),
        mean([e.usage.tokens for e in episodes]),
        mean([e.seconds for e in episodes]),
        dict(Counter(e.stop for e in episodes)),
    )
