"""/api/conversations and /api/turns: the page's operations on conversations and answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from jielong.outside import parse_json
from jielong.serve.chats import MOST_TEXT_CHARS, talk_json, turn_json
from jielong.serve.refused import Refused
from jielong.serve.services import services_of
from jielong.serve.streams import EventStream, event


async def refuse_sealed(request: Request) -> None:
    """Refuse a request that would reveal which model wrote an answer that awaits a blind judgement."""
    id = request.path_params.get("id")
    if id is not None:
        await services_of(request).judging.refuse_sealed(id)


router = APIRouter(prefix="/api", tags=["the page"], dependencies=[Depends(refuse_sealed)])
_HEARTBEAT_S = 15.0

Id = Annotated[str, Field(max_length=64)]


class Sent(BaseModel):
    """A request's body, in which no field is unknown."""

    model_config = ConfigDict(extra="forbid")


class SamplingFields(Sent):
    """Sampling options; omitted ones stay unchanged."""

    temperature: Annotated[float, Field(ge=0, le=10)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    min_p: Annotated[float, Field(ge=0, lt=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=100)] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**20)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**53)] | None = None


class Asking(Sent):
    """The model and options of a new answer."""

    model: Annotated[str, Field(max_length=512)] | None = None
    strategy: Annotated[str, Field(max_length=512)] | None = None
    sampling: SamplingFields | None = None

    def fields(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class TalkFields(Asking):
    """A conversation's settings."""

    title: Annotated[str, Field(max_length=200)] | None = None
    system: Annotated[str, Field(max_length=65_536)] | None = None
    leaf: Id | None = None


class NewTalk(Asking):
    title: Annotated[str, Field(max_length=200)] | None = None
    system: Annotated[str, Field(max_length=65_536)] | None = None


class Said(Sent):
    text: Annotated[str, Field(max_length=MOST_TEXT_CHARS)]
    parent: Id = ""


class Edited(Sent):
    text: Annotated[str, Field(max_length=MOST_TEXT_CHARS)]


class Choice(Sent):
    """A token to put in the place of another."""

    n: Annotated[int, Field(ge=0, lt=2**31)]
    id: Annotated[int, Field(ge=0, lt=2**31)]


class Decision(Sent):
    allow: bool


class Nothing(Sent):
    pass


@router.get("/conversations")
async def list_talks(
    request: Request,
    search: Annotated[str, Query(max_length=200)] = "",
    before: Annotated[float | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """List conversations, the last changed first."""
    store = services_of(request).store
    found = await asyncio.to_thread(store.talks, search, before, limit + 1)
    return {"conversations": [talk_json(talk) for talk in found[:limit]], "has_more": len(found) > limit}


@router.post("/conversations")
async def begin_talk(request: Request, body: NewTalk) -> dict[str, Any]:
    return talk_json(await services_of(request).chats.begin(body.fields()))


@router.post("/conversations/import")
async def import_talk(request: Request) -> dict[str, Any]:
    """Import a conversation from an exported file."""
    data = parse_json((await request.body()).decode("utf-8", "replace"))
    return talk_json(await asyncio.to_thread(services_of(request).store.import_, data))


@router.get("/conversations/{id}")
async def open_talk(request: Request, id: str) -> dict[str, Any]:
    """Open a conversation: its whole tree, and the judgements of its answers."""
    services = services_of(request)
    return {**await services.chats.conversation_json(id), "judgements": await services.judging.of_talk(id)}


@router.patch("/conversations/{id}")
async def change_talk(request: Request, id: str, body: TalkFields) -> dict[str, Any]:
    return talk_json(await services_of(request).chats.change(id, body.fields()))


@router.delete("/conversations/{id}")
async def delete_talk(request: Request, id: str) -> dict[str, Any]:
    await services_of(request).chats.delete(id)
    return {}


@router.get("/conversations/{id}/export")
async def export_talk(request: Request, id: str) -> Response:
    """Export the whole conversation as a file, with the draw of each token."""
    data = await asyncio.to_thread(services_of(request).store.export, id)
    text = json.dumps(data, ensure_ascii=False, indent=1)
    headers = {"Content-Disposition": f'attachment; filename="conversation-{id[:16]}.json"'}
    return Response(text, media_type="application/json", headers=headers)


@router.post("/conversations/{id}/turns")
async def say(request: Request, id: str, body: Said) -> dict[str, Any]:
    """Add a question; its answer begins."""
    return await services_of(request).chats.ask(id, body.parent, body.text)


@router.post("/turns/{id}/answers")
async def answer_again(request: Request, id: str, body: Asking) -> dict[str, Any]:
    turn = await services_of(request).chats.answer_again(id, body.fields())
    return {"answer": turn_json(turn, "")}


@router.post("/turns/{id}/continue")
async def go_on(request: Request, id: str, body: Nothing | None = None) -> dict[str, Any]:
    del body
    return {"answer": turn_json(await services_of(request).chats.continue_answer(id), "")}


@router.post("/turns/{id}/branch")
async def branch(request: Request, id: str, body: Choice) -> dict[str, Any]:
    """Replace one token of an answer by another, and generate a new answer from there."""
    return {"answer": turn_json(await services_of(request).chats.branch(id, body.n, body.id), "")}


@router.post("/turns/{id}/stop")
async def stop(request: Request, id: str, body: Nothing | None = None) -> dict[str, Any]:
    del body
    turn = await services_of(request).chats.stop(id)
    return {"answer": await asyncio.to_thread(turn_json, turn, turn.content)}


@router.patch("/turns/{id}")
async def edit(request: Request, id: str, body: Edited) -> dict[str, Any]:
    """Add a person's version of an answer."""
    turn = await services_of(request).chats.edit(id, body.text)
    return {"answer": await asyncio.to_thread(turn_json, turn, turn.content)}


@router.get("/turns/{id}/events")
async def events(
    request: Request, id: str, last_event_id: Annotated[str | None, Header(max_length=20)] = None
) -> Response:
    """Stream the events of an answer from its beginning."""
    services = services_of(request)
    after = int(last_event_id) if last_event_id and last_event_id.isdecimal() else -1
    await asyncio.to_thread(services.store.turn, id)  # refused before the stream begins

    async def told() -> AsyncIterator[bytes]:
        """Yield the events with heartbeats between them."""
        following = services.chats.follow(id, after).__aiter__()
        pending = asyncio.ensure_future(anext(following, None))
        try:
            while True:
                done, _ = await asyncio.wait({pending}, timeout=_HEARTBEAT_S)
                if not done:
                    yield b": still here\n\n"
                    continue
                one = pending.result()
                if one is None:
                    return
                number, name, data = one
                yield event(data, name, number)
                pending = asyncio.ensure_future(anext(following, None))
        finally:
            pending.cancel()

    return EventStream(told())


@router.post("/approvals/{id}")
async def decide(request: Request, id: str, body: Decision) -> dict[str, Any]:
    """Allow or refuse a tool call."""
    services_of(request).chats.decide(id, is_allowed=body.allow)
    return {}


@router.get("/turns/{id}/passages/{n}")
async def passage(request: Request, id: str, n: int) -> dict[str, Any]:
    """Return a passage that an answer cites."""
    turn = await asyncio.to_thread(services_of(request).store.turn, id)
    found = [p for item in turn.trail if item.get("kind") == "passages" for p in item.get("passages", ())]
    those = [p for p in found if p.get("n") == n]
    if not those:
        raise Refused(404, f"the answer has no passage {n}", code="not_found")
    last = those[-1]
    return {"title": last["title"], "place": last["place"], "text": last["text"], "before": "", "after": "", "url": ""}
