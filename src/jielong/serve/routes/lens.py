"""/api/turns/ID/tokens and the like: the draw of every token of an answer."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field

from jielong.serve import lens
from jielong.serve.beside import compute_in_thread
from jielong.serve.chats import MOST_TEXT_CHARS
from jielong.serve.models import Model
from jielong.serve.refused import Refused
from jielong.serve.routes.chats import refuse_sealed
from jielong.serve.services import Services, services_of
from jielong.serve.store import Trace, Turn
from jielong.serve.tokens import call_token_id, cut_into_tokens, token_json
from jielong.use.port import LocalPort

router = APIRouter(prefix="/api", tags=["the lens"], dependencies=[Depends(refuse_sealed)])


class Cut(BaseModel):
    """A text to be cut into tokens."""

    model: Annotated[str, Field(max_length=512)] = ""
    text: Annotated[str, Field(max_length=MOST_TEXT_CHARS)]


BRIEF = ("n", "id", "text", "is_special", "by_model", "p", "entropy")
"""The fields of a token that its colour takes."""


@router.get("/turns/{id}/tokens")
async def tokens(request: Request, id: str, is_brief: bool = False) -> dict[str, Any]:
    """Return the exact prompt, and each token of the answer with its draw; if `is_brief`, only tokens and their
    colours.
    """
    services = services_of(request)
    turn, trace = await _traced(services, id)
    async with services.models.using(turn.model) as model:
        told = await asyncio.to_thread(_tokens_json, turn, trace, model)
    if not is_brief:
        return told
    return {"tokens": [{name: token[name] for name in BRIEF if name in token} for token in told["tokens"]]}


def _tokens_json(turn: Turn, trace: Trace, model: Model) -> dict[str, Any]:
    """Return the prompt's and answer's tokens with their draws."""
    tokenizer = model.tokenizer
    rows = zip(trace.ids, trace.draws, trace.by_model, strict=True)
    return {
        "model": turn.model,
        "weights": trace.weights,
        "vocab_size": len(tokenizer.byte_lengths),
        "is_same_model": turn.digest == model.digest,
        "stop": turn.stop,
        "prompt": cut_into_tokens(tokenizer, trace.prompt_ids),
        "tokens": [token_json(tokenizer, n, i, draw, by_model=own) for n, (i, draw, own) in enumerate(rows)],
    }


@router.get("/turns/{id}/layers")
async def layers(request: Request, id: str, n: Annotated[int, Query(ge=0)]) -> dict[str, Any]:
    """Return each layer's likeliest tokens at the position of token `n`."""
    services = services_of(request)
    turn, trace = await _traced(services, id)
    if n >= len(trace.ids):
        raise Refused(400, f"n is {n}; this answer has tokens 0 to {len(trace.ids) - 1}", param="n")
    async with services.models.using(turn.model) as model:
        assert model.folder is not None
        said = await compute_in_thread(
            partial(
                lens.likeliest_by_layer,
                model.folder,
                (*trace.prompt_ids, *trace.ids[:n]),
                trace.ids[n],
                model.tokenizer,
            )
        )
        return {"layers": said}


@router.get("/turns/{id}/redraw")
async def redraw(request: Request, id: str) -> dict[str, Any]:
    """Sample the answer again, alone, in float32, with the same random numbers; return whether it is equal, or where it
    first differs.
    """
    services = services_of(request)
    turn, trace = await _traced(services, id)
    async with services.models.using(turn.model) as model:
        if turn.digest and turn.digest != model.digest:
            raise Refused(409, f"the model {turn.model!r} has other weights now than when it wrote this answer")
        assert model.folder is not None
        kept = turn.chosen["n"] + (turn.chosen.get("id") is not None) if turn.chosen else 0
        ids = await compute_in_thread(partial(lens.redraw, model.folder, trace, kept))
        pairs = enumerate(zip(ids, trace.ids, strict=False))
        first = next((n for n, (one, other) in pairs if one != other), None)
        if first is None and len(ids) != len(trace.ids) and turn.status == "done":
            first = min(len(ids), len(trace.ids))
        return {"is_equal": first is None, "first_difference": first, "ids": ids, "weights": trace.weights}


@router.get("/turns/{id}/calls")
async def calls(request: Request, id: str) -> dict[str, Any]:
    """Return the probability that the answer begins with a tool call, for models with a token for it."""
    services = services_of(request)
    turn, trace = await _traced(services, id)
    async with services.models.using(turn.model) as model:
        mark = call_token_id(model.tokenizer)
        port = model.port
        if mark is None or not isinstance(port, LocalPort):
            return {"p_call": None, "p_answer": None}
        prompt = trace.prompt_ids
        p_call = await port.writer.call(lambda engine: float(engine.distributions(prompt, [mark])[0, mark].exp()))
        return {"p_call": p_call, "p_answer": 1 - p_call}


@router.post("/tokens")
async def cut(request: Request, body: Cut) -> dict[str, Any]:
    """Cut a text into tokens."""
    services = services_of(request)
    name = body.model or services.models.default.name
    if not services.models.get(name).is_local:
        raise Refused(400, f"{name} is another server's model; its tokens are not known here", param="model")
    async with services.models.using(name) as model:
        tokenizer = model.tokenizer
        return {"tokens": await asyncio.to_thread(lambda: cut_into_tokens(tokenizer, tokenizer.encode(body.text)))}


async def _traced(services: Services, id: str) -> tuple[Turn, Trace]:
    """Return an answer and its trace. Raises Refused if no trace was stored or the model is not served."""
    turn = await asyncio.to_thread(services.store.turn, id)
    trace = await asyncio.to_thread(services.store.trace, id)
    if trace is None:
        raise Refused(404, "of this answer no tokens were kept", code="not_found")
    if not services.models.offers(turn.model):
        raise Refused(409, f"the model {turn.model!r} of this answer is not served now; start the server with it")
    return turn, trace
