"""/api/runs: training runs, unfinished and finished."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response

from jielong.runs import Run, is_run
from jielong.serve.access import REPORT_POLICY
from jielong.serve.refused import Refused
from jielong.serve.run_views import RunChanges, run_json, runs_json
from jielong.serve.services import Services, services_of
from jielong.serve.streams import EventStream, event

router = APIRouter(prefix="/api/runs", tags=["runs"])
_TICK_S = 2.0
_QUIET_TICKS = 8


@router.get("")
async def list_runs(request: Request) -> dict[str, Any]:
    """List all runs, the last changed first."""
    root = services_of(request).runs
    return {"runs": await asyncio.to_thread(runs_json, root) if root.is_dir() else []}


@router.get("/{name}")
async def open_run(request: Request, name: str) -> dict[str, Any]:
    """Return one run with its curves and samples."""
    return await asyncio.to_thread(run_json, _run(services_of(request), name))


@router.get("/{name}/events")
async def run_events(request: Request, name: str) -> Response:
    """Stream the new points, samples and states of a run while the client listens."""
    run = _run(services_of(request), name)

    async def told() -> AsyncIterator[bytes]:
        """Yield news of the run with heartbeats between them."""
        news, quiet = await asyncio.to_thread(RunChanges, run), 0
        while True:
            found = await asyncio.to_thread(news.look)
            for name, data in found:
                yield event(data, name)
            quiet = 0 if found else quiet + 1
            if quiet and quiet % _QUIET_TICKS == 0:
                yield b": still here\n\n"
            await asyncio.sleep(_TICK_S)

    return EventStream(told())


@router.get("/{name}/report")
async def report(request: Request, name: str) -> Response:
    """Return the report of a finished run, in the page's language."""
    services = services_of(request)
    run = _run(services, name)
    text = await asyncio.to_thread(_report, run, request.query_params.get("language", services.language))
    return Response(text, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})


def _report(run: Run, language: str) -> str:
    """Render the report of a run."""
    from jielong.report.html import report_html
    from jielong.report.words import Words
    from jielong.stages.reports import report_of

    return report_html(report_of(run), Words("zh" if language == "zh" else "en"))


def _run(services: Services, name: str) -> Run:
    """Return the run of this name. Raises Refused if there is none."""
    path = services.runs / name
    if not re.fullmatch(r"[\w.-]{1,200}", name) or name.startswith(".") or not is_run(path):
        raise Refused(404, f"there is no run {name!r:.80}", code="not_found")
    return Run(path)
