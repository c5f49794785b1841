"""Error handlers: our errors, and the framework's, as refusals with a status of HTTP and one sentence."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from jielong.errors import (
    ConfigError,
    DataError,
    JielongError,
    NotFoundError,
    RefusedError,
    ResourceError,
    TooLongError,
)
from jielong.serve.refused import Refused, answer_refused

_log = logging.getLogger("jielong.serve")
RETRY_S = 5
HUNG_UP = 499


def refused_of(error: JielongError) -> Refused:
    """Convert one of our errors to a refusal; its status says whether the client, an upstream server or this machine is
    at fault.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, NotFoundError):
        return Refused(404, str(error), code="not_found")
    if isinstance(error, TooLongError):
        return Refused(400, str(error), code="context_length_exceeded", param="messages")
    if isinstance(error, RefusedError):
        return Refused(502, str(error), code="upstream_error")
    if isinstance(error, ResourceError):
        return Refused(503, str(error), code="unavailable", headers={"Retry-After": str(RETRY_S)})
    if isinstance(error, ConfigError | DataError):
        return Refused(400, str(error))
    return Refused(500, str(error), code="server_error")


def add_handlers(app: FastAPI) -> None:
    """Add handlers to the app that answer all errors in one shape."""
    app.add_exception_handler(Refused, answer_refused)
    app.add_exception_handler(JielongError, _answer_ours)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(ClientDisconnect, _answer_hung_up)
    app.add_exception_handler(Exception, _answer_bug)


async def _answer_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, JielongError)
    return await answer_refused(request, refused_of(error))


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await answer_refused(request, _first_fault(error.errors()))


def _first_fault(errors: Any) -> Refused:
    """Describe the first fault of a request's fields in a sentence."""
    first = errors[0] if errors else {"msg": "the request cannot be read", "loc": ()}
    places = [str(part) for part in first.get("loc", ()) if part not in ("body", "query", "path")]
    param = ".".join(places)
    said = str(first.get("msg", "")).removeprefix("Value error, ")
    return Refused(400, f"{param}: {said}" if param else said, param=param or None)


async def _answer_http(request: Request, error: Exception) -> Response:
    """Turn an HTTP error of the framework into a refusal."""
    assert isinstance(error, HTTPException)
    told = {404: f"there is nothing at {request.url.path}", 405: f"{request.method} is not allowed here"}
    status = error.status_code
    refused = Refused(status, told.get(status, str(error.detail)), headers=error.headers)
    return await answer_refused(request, refused)


async def _answer_hung_up(request: Request, error: Exception) -> Response:
    """Answer a client that disconnected while its request was read: nobody receives it, and nothing is logged as a
    fault.
    """
    return Response(status_code=HUNG_UP)


async def _answer_bug(request: Request, error: Exception) -> Response:
    _log.exception("an error inside the server", exc_info=error)
    return await answer_refused(request, Refused(500, "an error inside the server; its log says more", code="bug"))
