"""Sources of training steps that wrap others: one prepares its next step ahead of time, one combines two sources."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from jielong.data.batches import Batch
from jielong.data.steps import Source


class ReadAhead:
    """A source that prepares its next step in a thread while the loop trains on the present one.

    Its state is that of the present step.
    """

    read_ahead = False

    def __init__(self, source: Source) -> None:
        self.source = source
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._state = source.state_dict()
        self._coming: Future[tuple[list[Batch], dict[str, Any]]] | None = None

    def next_step(self) -> list[Batch]:
        batches, self._state = (self._coming or self._maker.submit(self._make)).result()
        self._coming = self._maker.submit(self._make)
        return batches

    def _make(self) -> tuple[list[Batch], dict[str, Any]]:
        return self.source.next_step(), self.source.state_dict()

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Ignore metrics: a source that is prepared ahead cannot depend on the current step."""
        del metrics

    def metrics(self) -> dict[str, float]:
        return self.source.metrics()

    def reseed(self, attempt: int) -> None:
        """Drop the step read ahead, then reseed the inner source."""
        self._drop()
        self.source.load_state_dict(self._state)
        self.source.reseed(attempt)
        self._state = self.source.state_dict()

    def state_dict(self) -> dict[str, Any]:
        return self._state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._drop()
        self.source.load_state_dict(state)
        self._state = self.source.state_dict()

    def _drop(self) -> None:
        if self._coming is not None:
            self._coming.exception()  # wait: the thread must not move the source any more
            self._coming = None


class Together:
    """A source whose every step has the micro-batches of two sources; each keeps its own order and state.

    `metrics` and `observe` go to the first source, which may depend on training.
    """

    read_ahead = False

    def __init__(self, first: Source, second: Source) -> None:
        self.first, self.second = first, second

    def next_step(self) -> list[Batch]:
        return [*self.first.next_step(), *self.second.next_step()]

    def observe(self, metrics: Mapping[str, float]) -> None:
        self.first.observe(metrics)

    def metrics(self) -> dict[str, float]:
        return self.first.metrics()

    def reseed(self, attempt: int) -> None:
        self.first.reseed(attempt)
        self.second.reseed(attempt)

    def state_dict(self) -> dict[str, Any]:
        return {"first": self.first.state_dict(), "second": self.second.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.first.load_state_dict(state["first"])
        self.second.load_state_dict(state["second"])
