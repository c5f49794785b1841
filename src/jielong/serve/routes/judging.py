"""/api/judgements and /api/judging: answers sampled for blind comparison, and people's judgements."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field

from jielong.records import PairOutcome
from jielong.serve.chats import MOST_TEXT_CHARS
from jielong.serve.routes.chats import Id, SamplingFields, Sent
from jielong.serve.services import services_of
from jielong.serve.store.nouns import MAX_RANKED, MAX_VOTER

router = APIRouter(prefix="/api", tags=["judging"])

By = Annotated[str, Field(max_length=MAX_VOTER)]
Text = Annotated[str, Field(max_length=MOST_TEXT_CHARS)]
System = Annotated[str, Field(max_length=65_536)]


class RatingValue(Sent):
    score: Annotated[float, Field(ge=0, le=1)]
    reason: Annotated[str, Field(max_length=4000)] = ""
    scale: Literal["thumbs", "stars"] = "thumbs"


class PairValue(Sent):
    """The outcome of a pair. `is_blind` is false if the voter knew the answers' models; answers whose models were
    already revealed are never blind.
    """

    outcome: PairOutcome
    is_blind: bool = True


class RankingValue(Sent):
    places: Annotated[list[Annotated[int, Field(ge=0, lt=MAX_RANKED)]], Field(max_length=MAX_RANKED)]
    is_blind: bool = True


class DemonstrationValue(Sent):
    rejected: Id = ""


class _Judgement(Sent):
    answers: Annotated[list[Id], Field(min_length=1, max_length=MAX_RANKED)]
    by: By = ""


class RatingSent(_Judgement):
    kind: Literal["rating"]
    value: RatingValue


class PairSent(_Judgement):
    """The left answer comes first."""

    kind: Literal["preference"]
    value: PairValue


class RankingSent(_Judgement):
    kind: Literal["ranking"]
    value: RankingValue


class DemonstrationSent(_Judgement):
    kind: Literal["demonstration"]
    value: DemonstrationValue = DemonstrationValue()


JudgementSent = Annotated[RatingSent | PairSent | RankingSent | DemonstrationSent, Field(discriminator="kind")]


class Written(Sent):
    """A question with a person's answer, or a person's answer to replace `rejected`."""

    answer: Text
    prompt: Text = ""
    system: System = ""
    rejected: Id = ""
    by: By = ""


class Wanted(Sent):
    """A request for answers to judge: two of one model, or one of each of two models; up to four for a ranking."""

    prompt: Text
    models: Annotated[list[Annotated[str, Field(max_length=512)]], Field(default_factory=list, max_length=2)]
    system: System = ""
    sampling: SamplingFields | None = None
    num: Annotated[int, Field(ge=2, le=4)] = 2


@router.post("/judgements")
async def judge(request: Request, body: JudgementSent) -> dict[str, Any]:
    """Store a judgement; a voter's newer rating of an answer replaces the earlier one."""
    return await services_of(request).judging.judge(body.kind, body.answers, body.value.model_dump(), body.by)


@router.get("/judgements")
async def list_judgements(request: Request, talk: Annotated[str, Query(max_length=64)]) -> dict[str, Any]:
    """List the judgements of a conversation's answers."""
    services = services_of(request)
    await asyncio.to_thread(services.store.talk, talk)
    return {"judgements": await services.judging.of_talk(talk)}


@router.get("/judgements/stats")
async def stats(request: Request) -> dict[str, Any]:
    """Count judgements by kind, and the sides that were preferred in blind pairs."""
    return await services_of(request).judging.stats()


@router.post("/judgements/demonstrations")
async def demonstrate(request: Request, body: Written) -> dict[str, Any]:
    """Store an answer that a person wrote: to a question, or in place of another answer."""
    judging = services_of(request).judging
    if body.rejected:
        return await judging.write_better(body.rejected, body.answer, body.by)
    return await judging.demonstrate(body.prompt, body.answer, body.system, body.by)


@router.delete("/judgements/{id}")
async def take_back(request: Request, id: str) -> dict[str, Any]:
    """Delete a judgement."""
    judging = services_of(request).judging
    await judging.take_back(id)
    return {"num": await judging.num()}


@router.post("/judging/pairs")
async def draw(request: Request, body: Wanted) -> dict[str, Any]:
    """Sample answers to a question, and return them when all are written, in random order and without model names."""
    sampling = body.sampling.model_dump(exclude_none=True) if body.sampling else {}
    return await services_of(request).judging.draw(body.prompt, body.models, body.system, sampling, body.num)


@router.get("/judging/prompts")
async def prompts(request: Request) -> dict[str, Any]:
    """List questions for sampling answers, those with the fewest judgements first."""
    return await services_of(request).judging.prompts()
