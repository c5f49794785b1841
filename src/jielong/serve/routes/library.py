"""/api/library: the documents for answers with sources, added and removed on the page."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from jielong.errors import JielongError
from jielong.runs import write_bytes
from jielong.serve.refused import Refused
from jielong.serve.services import Services, services_of
from jielong.serve.streams import EventStream

router = APIRouter(prefix="/api/library", tags=["the library"])
_UNSAFE = re.compile(r"[^\w.\-() ]", re.UNICODE)


def uploads_of(library: Path) -> Path:
    """Return the folder beside a library for files uploaded on the page."""
    return library.with_name(f"{library.stem}-files")


@router.get("")
async def documents(request: Request) -> dict[str, Any]:
    """List all documents."""
    services = services_of(request)
    library = _library(services)
    async with services.library_lock:
        kept = library.files()
    own = uploads_of(library.path).resolve()
    return {"documents": [_document_json(file, own) for file in kept]}


def _document_json(file: Any, own: Path) -> dict[str, Any]:
    """Describe a document for the page."""
    path = Path(file.path)
    found = path.stat() if path.exists() else None
    return {
        "id": file.path,
        "title": path.name,
        "path": file.path,
        "num_passages": file.chunks,
        "problem": file.problem,
        "bytes": found.st_size if found else None,
        "added": found.st_mtime if found else None,
        "is_uploaded": own in path.parents,
    }


@router.post("/documents")
async def add_document(request: Request, name: Annotated[str, Query(min_length=1, max_length=255)]) -> Response:
    """Add the file in the request's body; lines of JSON report the progress."""
    services = services_of(request)
    library = _library(services)
    data = await request.body()
    if not data:
        raise Refused(400, f"{name} is empty", param="name")
    folder = uploads_of(library.path)
    file = folder / safe_name(name)
    folder.mkdir(mode=0o700, exist_ok=True)
    await asyncio.to_thread(write_bytes, file, data)

    async def told() -> AsyncIterator[bytes]:
        """Yield lines of progress, then the result."""
        steps: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(_add(services, file, lambda step: loop.call_soon_threadsafe(steps.put_nowait, step)))
        task.add_done_callback(lambda _: steps.put_nowait(None))
        yield _line({"state": "reading", "done": 0, "of": 1, "message": ""})
        while (step := await steps.get()) is not None:
            yield _line(step)
        yield _line(task.result())

    return EventStream(told(), "application/x-ndjson")


async def _add(services: Services, file: Path, tell: Any) -> dict[str, Any]:
    """Read a file into the library; return the result for the page."""

    def report(what: str, done: int, of: int) -> None:
        tell({"state": "embedding" if what == "vectors" else "reading", "done": done, "of": of, "message": ""})

    try:
        async with services.library_lock:
            added = await _read_into_library(services, file, report)
    except JielongError as error:
        return {"state": "failed", "done": 0, "of": 1, "message": str(error)}
    if added.problems:
        return {"state": "failed", "done": 0, "of": 1, "message": "; ".join(added.problems)}
    return {"state": "done", "done": 1, "of": 1, "message": "; ".join(added.remarks)}


async def _read_into_library(services: Services, file: Path, report: Any) -> Any:
    """Read the file in a thread with a library of its own, as SQLite's connections stay with their thread."""
    from jielong.opening.libraries import open_library

    library = _library(services)

    def work() -> Any:
        """Add the file and make its vectors."""
        mine = open_library(library.path, tell=lambda _: None)
        try:
            found = mine.add([file], report)
            asyncio.run(mine.embed(report))
            return found
        finally:
            mine.close()

    return await asyncio.to_thread(work)


@router.delete("/documents/{id:path}")
async def remove_document(request: Request, id: str) -> dict[str, Any]:
    """Remove a document from the library; delete its file if it was uploaded on the page."""
    services = services_of(request)
    library = _library(services)
    async with services.library_lock:
        known = {file.path: file for file in library.files()}
        if id not in known:
            raise Refused(404, f"the library has no document {id!r:.200}", code="not_found")
        library.remove([Path(id)])
    if uploads_of(library.path).resolve() in Path(id).resolve().parents:
        await asyncio.to_thread(Path(id).unlink, missing_ok=True)
    return {}


def safe_name(name: str) -> str:
    """Return a file's name without parts that could lead out of its folder; keep its extension."""
    last = name.replace("\\", "/").rpartition("/")[2]
    cleaned = _UNSAFE.sub("_", last).strip(". ")[-120:]
    if not cleaned:
        raise Refused(400, f"{name!r:.80} is no name for a file", param="name")
    return cleaned


def _library(services: Services) -> Any:
    """Return the server's library. Raises Refused, a 404, if it has none."""
    if services.library is None:
        raise Refused(404, "no library was handed to this server; start it with --library", code="not_found")
    return services.library


def _line(step: dict[str, Any]) -> bytes:
    return (json.dumps(step, ensure_ascii=False) + "\n").encode("utf-8", "replace")
