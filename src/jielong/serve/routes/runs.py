"""/api/runs: trainings, while they go on and after."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response

from jielong.runs import Run, is_run
from jielong.serve.access import REPORT_POLICY
from jielong.serve.following_runs import curves, head_json, last_steps, run_json, runs_json, samples_of
from jielong.serve.hall import Hall, hall_of
from jielong.serve.refused import Refused
from jielong.serve.streams import EventStream, event

router = APIRouter(prefix="/api/runs", tags=["runs"])
_TICK_S = 2.0
_QUIET_TICKS = 8


@router.get("")
async def list_runs(request: Request) -> dict[str, Any]:
    """All runs, the one that changed last first."""
    root = hall_of(request).runs
    return {"runs": await asyncio.to_thread(runs_json, root) if root.is_dir() else []}


@router.get("/{name}")
async def open_run(request: Request, name: str) -> dict[str, Any]:
    """One run with its curves and samples."""
    return await asyncio.to_thread(run_json, _run(hall_of(request), name))


@router.get("/{name}/events")
async def run_events(request: Request, name: str) -> Response:
    """Stream the new points, samples and states of a run while the client listens."""
    run = _run(hall_of(request), name)

    async def told() -> AsyncIterator[bytes]:
        seen: dict[str, Any] = {}
        last = await asyncio.to_thread(last_steps, run)  # the page has those from opening the run
        quiet = 0
        while True:
            head = await asyncio.to_thread(head_json, run)
            is_new = False
            for stage in head["stages"]:
                own = stage["name"]
                new = await asyncio.to_thread(curves, run.stage_path(own) / "metrics.jsonl", last.get(own, -1))
                if new:
                    last[own] = max(int(points[-1][0]) for points in new.values())
                    yield event({"stage": own, "metrics": new}, "metrics")
                samples = await asyncio.to_thread(samples_of, run, own)
                if samples and seen.get(f"samples {own}") != len(samples):
                    seen[f"samples {own}"] = len(samples)
                    yield event({"stage": own, "samples": samples}, "samples")
                if seen.get(own) != stage:
                    seen[own], is_new = stage, True
                    yield event(stage, "stage")
            quiet = 0 if is_new else quiet + 1
            if quiet and quiet % _QUIET_TICKS == 0:
                yield b": still here\n\n"
            await asyncio.sleep(_TICK_S)

    return EventStream(told())


@router.get("/{name}/report")
async def report(request: Request, name: str) -> Response:
    """The report of a finished run, in the page's language."""
    hall = hall_of(request)
    run = _run(hall, name)
    text = await asyncio.to_thread(_report, run, request.query_params.get("language", hall.language))
    return Response(text, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})


def _report(run: Run, language: str) -> str:
    from jielong.report.html import report_html
    from jielong.report.words import Words
    from jielong.stages.reports import report_of

    return report_html(report_of(run), Words("zh" if language == "zh" else "en"))


def _run(hall: Hall, name: str) -> Run:
    path = hall.runs / name
    if not re.fullmatch(r"[\w.-]{1,200}", name) or name.startswith(".") or not is_run(path):
        raise Refused(404, f"there is no run {name!r:.80}", code="not_found")
    return Run(path)
