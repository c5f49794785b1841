"""The ASGI app: all routes behind one guard, and the resources that are opened and closed with the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI

from jielong.errors import ConfigError
from jielong.opening.tools import Equipment, Person, open_equipment
from jielong.serve.access import Access, Gate, Guard
from jielong.serve.answering import ServerResources
from jielong.serve.chats import Chats
from jielong.serve.error_handlers import add_handlers
from jielong.serve.learning import Learning
from jielong.serve.limits import Limits
from jielong.serve.markdown import render
from jielong.serve.metrics import Metrics
from jielong.serve.models import Memory, Models
from jielong.serve.routes import chats, judging, learn, lens, library, openai, runs, state
from jielong.serve.services import Services
from jielong.serve.store import open_store
from jielong.serve.watching import Watcher

WAITING_A_SLOT = 8
"""Requests that may wait for each slot of a model."""
UNJUDGED_S = 7 * 24 * 3600.0
"""Answers that were drawn to be judged and never were are kept so long."""


@dataclass(frozen=True)
class Settings:
    """The settings of a server."""

    models: tuple[str, ...]
    access: Access = field(default_factory=Access)
    memory: Memory = field(default_factory=Memory)
    means: Equipment = field(default_factory=Equipment)
    store: str | Path = Path("conversations.db")
    runs: Path = Path("runs")
    language: str = "en"
    reads_first: bool = False
    """Whether the first model is read at once, and not when it is asked."""
    watched: Path | None = None
    """A run that is being trained: its newest checkpoint is offered, and asked the same prompts."""

    def __post_init__(self) -> None:
        if not self.models and self.watched is None:
            raise ConfigError("there is no model to serve; name a run, a model's folder or a server's address")


@asynccontextmanager
async def open_app(settings: Settings, tell: Callable[[str], None]) -> AsyncIterator[Guard]:
    """Open the ASGI app of a server, and close its resources at the end; `tell` is called with notes for a person.

    Models are looked up now and loaded on request. Raises ConfigError and DataError for models, tools, a library or a
    store that cannot be opened.
    """
    metrics = Metrics()
    models = Models(settings.models, settings.memory, metrics.record_first_token)
    async with AsyncExitStack() as stack:
        store = await asyncio.to_thread(open_store, settings.store)
        stack.callback(store.close)
        await asyncio.to_thread(store.interrupted)
        await asyncio.to_thread(store.judgements.delete_sealed, time.time() - UNJUDGED_S)
        served = Chats(store, models)
        given = await stack.enter_async_context(open_equipment(settings.means, Person(served.approve, tell)))
        resources = served.resources = ServerResources(given)
        limits = Limits(max_running=settings.memory.slots, max_waiting=WAITING_A_SLOT * settings.memory.slots)
        learning = Learning(models, store, settings.runs)
        services = Services(
            models, store, served, resources, limits, metrics, learning, settings.runs, settings.language
        )
        following = asyncio.create_task(learning.run())
        stack.callback(following.cancel)
        stack.push_async_callback(models.close)
        if settings.watched is not None:
            watching = asyncio.create_task(Watcher(settings.watched, models).run())
            stack.callback(watching.cancel)
        warming = asyncio.create_task(asyncio.to_thread(render, "warm"))  # its process takes a second to start
        stack.callback(warming.cancel)
        if settings.reads_first:
            reading = asyncio.create_task(models.load_default(tell))
            stack.callback(reading.cancel)
        stack.push_async_callback(served.close)
        yield _build_app(services, Gate(settings.access))


def _build_app(services: Services, gate: Gate) -> Guard:
    """Build the app with all routes, behind the guard."""
    app = FastAPI(
        title="jielong",
        version=version("jielong"),
        summary="Chat with models of this machine, and look into every token.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.services, app.state.gate = services, gate
    add_handlers(app)
    for module in (openai, chats, judging, learn, lens, library, runs, state):
        app.include_router(module.router)
    return Guard(app, gate)
