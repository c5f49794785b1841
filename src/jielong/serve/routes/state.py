"""/api/state and the server as a whole: health, metrics, the page itself, logging in."""

from __future__ import annotations

import functools
import json
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from jielong.serve import comparing
from jielong.serve.access import Gate
from jielong.serve.metrics import CONTENT_TYPE
from jielong.serve.models import Model
from jielong.serve.offers import strategies_json
from jielong.serve.refused import Refused
from jielong.serve.services import Services, services_of
from jielong.serve.streams import EventStream, event

router = APIRouter(tags=["the server"])
PAGE = files("jielong.serve") / "page"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}
NOTES = ("jsconfig.json", "types.d.ts")
"""Files beside the page's modules that are for whoever writes them."""


class Key(BaseModel):
    key: Annotated[str, Field(max_length=1024)]


class Compared(BaseModel):
    """A comparison: models, and one question for all of them."""

    models: Annotated[
        list[Annotated[str, Field(max_length=512)]], Field(min_length=1, max_length=comparing.MOST_MODELS)
    ]
    prompt: Annotated[str, Field(min_length=1, max_length=1 << 18)]
    system: Annotated[str, Field(max_length=65_536)] = ""
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 128


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """Return the page, with the token that its requests carry."""
    gate: Gate = request.app.state.gate
    ticket = gate.session_for(request.scope)
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    text = text.replace("{{csrf}}", ticket.csrf).replace("{{language}}", services_of(request).language)
    text = text.replace("{{modules}}", _modules())
    headers = {"Set-Cookie": ticket.set_cookie} if ticket.set_cookie else {}
    return Response(text, media_type=_TYPES[".html"], headers=headers)


@functools.cache
def _modules() -> str:
    """List all modules of the page, so that a browser fetches them at once: imports nest up to five deep."""
    names = sorted(file.name for file in PAGE.iterdir() if file.name.endswith(".js"))
    return "\n".join(f'<link rel="modulepreload" href="/page/{name}">' for name in names)


@router.get("/page/{name}", include_in_schema=False)
async def page_file(name: str) -> Response:
    """Return a module, a style or a picture of the page."""
    suffix = name[name.rfind(".") :] if "." in name else ""
    file = PAGE / name
    if (
        "/" in name
        or "\\" in name
        or name.startswith(".")
        or suffix not in _TYPES
        or name in NOTES
        or not file.is_file()
    ):
        raise Refused(404, f"the page has no file {name!r:.80}", code="not_found")
    return Response(file.read_bytes(), media_type=_TYPES[suffix], headers={"Cache-Control": "no-cache"})


@router.get("/favicon.ico", include_in_schema=False)
async def favicon() -> Response:
    return await page_file("favicon.svg")


@router.post("/api/login")
async def log_in(request: Request, body: Key) -> Response:
    """Open a session for a right key."""
    gate: Gate = request.app.state.gate
    ticket = gate.log_in(request.scope, body.key)
    headers = {"Set-Cookie": ticket.set_cookie} if ticket.set_cookie else {}
    return Response(json.dumps({"csrf": ticket.csrf}), media_type="application/json", headers=headers)


@router.get("/health")
async def health() -> dict[str, str]:
    """Answer that the server is up."""
    return {"status": "ok"}


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return metrics for Prometheus."""
    services = services_of(request)
    return Response(services.metrics.text(services.models.counts), media_type=CONTENT_TYPE)


@router.get("/api/state")
async def state(request: Request) -> dict[str, Any]:
    """List models, strategies, tools and the library of this server."""
    services = services_of(request)
    library = services.library
    return {
        "version": version("jielong"),
        "language": services.language,
        "models": [_model_json(model) for model in services.models],
        "strategies": strategies_json(has_library=library is not None, has_tools=bool(services.tools)),
        "tools": [{"name": t.name, "description": t.description, "changes": t.changes} for t in services.tools],
        "library": await _library_json(services),
        "runs": services.runs.is_dir(),
        "num_judgements": await services.judging.num(),
        "memory": {"used_bytes": services.models.used_bytes, "limit_bytes": services.models.limit_bytes},
    }


@router.post("/api/compare")
async def compare(request: Request, body: Compared) -> Response:
    """Ask several models one question, side by side."""
    services = services_of(request)
    for name in body.models:
        services.models.get(name)
    told = comparing.compare(services.models, body.models, body.prompt, body.system, body.max_tokens)

    async def source() -> Any:
        async for name, data in told:
            yield event(data, name)

    return EventStream(source())


async def _library_json(services: Services) -> dict[str, Any] | None:
    """Describe the library for the page."""
    library = services.library
    if library is None:
        return None
    async with services.library_lock:
        return {"path": str(library.path.name), "num_documents": len(library.files())}


def _model_json(model: Model) -> dict[str, Any]:
    """Describe a model for the page."""
    return {
        "name": model.name,
        "title": model.name,
        "kind": "local" if model.is_local else "server",
        "is_loaded": model.port is not None,
        "is_loading": model.loading.locked(),
        "bytes": model.bytes_needed,
        "num_parameters": model.num_parameters,
        "context": model.context or None,
        "is_base": model.is_base,
        "has_lens": model.is_local,
        "has_layers": model.is_local,
    }
