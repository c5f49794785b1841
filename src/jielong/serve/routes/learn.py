"""/api/learn: the button that makes a model of judgements, its progress, the blind pairs, and undoing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from jielong.learning import asking, pressing, standing, status
from jielong.records import PairOutcome
from jielong.serve.learning import Learning
from jielong.serve.markdown import render
from jielong.serve.routes.chats import Sent
from jielong.serve.services import services_of
from jielong.serve.streams import EventStream, event

router = APIRouter(prefix="/api/learn", tags=["learning"])
_TICK_S = 1.0
_QUIET_TICKS = 15

Name = Annotated[str, Field(max_length=512)]


class Press(Sent):
    """The model that is to learn, the default if none is named, and the method."""

    base: Name | None = None
    method: Literal["auto", "sft", "dpo", "kto", "reward+ppo"] = "auto"


class Base(Sent):
    base: Name | None = None


class Outcome(Sent):
    outcome: PairOutcome


def _learning(request: Request) -> Learning:
    return services_of(request).learning


@router.get("")
async def state(request: Request, base: Name | None = None) -> dict[str, Any]:
    """Return the judgements to learn from, the model in use, and the progress of the newest attempt."""
    learning = _learning(request)
    return await asyncio.to_thread(learning.state_json, learning.base(base))


@router.post("")
async def press(request: Request, body: Press | None = None) -> dict[str, Any]:
    """Begin an attempt; refused if judgements are not enough or contradict each other."""
    learning, body = _learning(request), body or Press()
    return {"attempt": await asyncio.to_thread(learning.press, learning.base(body.base), body.method)}


@router.get("/events")
async def events(request: Request, base: Name | None = None) -> Response:
    """Stream the state whenever it changes."""
    learning = _learning(request)
    model = learning.base(base)

    async def told() -> AsyncIterator[bytes]:
        """Yield the state whenever it changes, with heartbeats."""
        before, quiet = "", 0
        while True:
            found = await asyncio.to_thread(learning.state_json, model, is_fresh=not before)
            text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
            quiet = quiet + 1 if text == before else 0
            if text != before:
                yield event(text, "learn")
            elif quiet % _QUIET_TICKS == 0:
                yield b": still here\n\n"
            before = text
            await asyncio.sleep(_TICK_S)

    return EventStream(told())


@router.post("/undo")
async def undo(request: Request, body: Base | None = None) -> dict[str, Any]:
    """Undo the last promotion: the model before it is offered again."""
    learning = _learning(request)
    base = learning.base(body.base if body else None)
    await asyncio.to_thread(standing.undo, learning.home(base))
    learning.look()
    return await asyncio.to_thread(learning.state_json, base)


@router.get("/{id}/pair")
async def pair(request: Request, id: str) -> dict[str, Any]:
    """Return the next blind pair of an attempt; none when it is over or all are judged."""
    folder = await asyncio.to_thread(_learning(request).folder, id)
    found = await asyncio.to_thread(asking.next_pair, folder)
    if found is None:
        return {"n": None, "attempt": await asyncio.to_thread(status.attempt_json, folder)}
    n, asked = found
    html = [await asyncio.to_thread(render, text) for text in (asked.left, asked.right)]
    return {
        "n": n,
        "prompt": asked.prompt[-1].text,
        "messages": [{"role": m.role, "text": m.text} for m in asked.prompt],
        "left": {"text": asked.left, "html": html[0]},
        "right": {"text": asked.right, "html": html[1]},
    }


@router.post("/{id}/pairs/{n}")
async def vote(request: Request, id: str, n: int, body: Outcome) -> dict[str, Any]:
    """Keep a vote; the last one that is needed decides."""
    learning = _learning(request)
    folder = await asyncio.to_thread(learning.folder, id)
    attempt = await asyncio.to_thread(learning.vote, folder, n, body.outcome)
    learning.look()
    return {"attempt": attempt}


@router.post("/{id}/{act}")
async def steer(request: Request, id: str, act: Literal["pause", "resume", "cancel"]) -> dict[str, Any]:
    """Pause an attempt, resume it, or give it up."""
    folder = await asyncio.to_thread(_learning(request).folder, id)
    do = {"pause": pressing.pause, "resume": pressing.resume, "cancel": pressing.cancel}[act]
    await asyncio.to_thread(do, folder)
    return {"attempt": await asyncio.to_thread(status.attempt_json, folder)}
