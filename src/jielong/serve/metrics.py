"""Metrics of the server for Prometheus: requests, tokens, seconds, and the queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily

if TYPE_CHECKING:
    from jielong.generate.slots import TokenCounts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "jielong_requests",
            "Requests for answers, by how they ended.",
            ["model", "outcome"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "jielong_answer_seconds", "From the request to the end of its answer.", ["model"],
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._waits = Histogram(
            "jielong_first_token_seconds", "From the request to the first token of its answer.", ["model"],
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._under_way = Gauge(
            "jielong_answers_under_way", "Answers written or waiting.", ["model"], registry=self._registry
        )

    @contextmanager
    def asking(self, model: str) -> Iterator[None]:
        """Count a request, its time, and whether it succeeded."""
        start_s = time.monotonic()
        self._under_way.labels(model).inc()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        except (GeneratorExit, asyncio.CancelledError):
            outcome = "hung up"
            raise
        finally:
            self._under_way.labels(model).dec()
            self._requests.labels(model, outcome).inc()
            self._seconds.labels(model).observe(time.monotonic() - start_s)

    def record_first_token(self, model: str, after_s: float) -> None:
        """Record the time to an answer's first token."""
        self._waits.labels(model).observe(after_s)

    def text(self, engines: Mapping[str, TokenCounts]) -> bytes:
        """Format all metrics for Prometheus; `engines` are the token counts of the models in memory, by name."""
        tokens = CounterMetricFamily("jielong_tokens", "Tokens read and written.", labels=["model", "kind"])
        for model, counts in engines.items():
            for kind in ("read", "reused", "written"):
                tokens.add_metric([model, kind], getattr(counts, kind))
        return generate_latest(self._registry) + generate_latest(_Once(tokens))


class _Once:
    """A Prometheus collector of one metric family, for a single collection."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return [self._family]
