"""Refusals of requests: one sentence with an HTTP status, in the shape of OpenAI's errors."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from jielong.errors import JielongError

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refused(JielongError):
    """An error for a refused request.

    `status` is the HTTP status. `type`, `code` and `param` are OpenAI's fields: the kind of error, its short name, and
    the field at fault. The default `type` follows from the status.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type: str = "",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.type = type or _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """Return the JSON of the response."""
        said = {"message": str(self), "type": self.type, "code": self.code, "param": self.param}
        return json.dumps({"error": said}, ensure_ascii=False).encode("utf-8", "replace")


def refused_too_much(message: str, wait_s: float, code: str) -> Refused:
    """Build a 429 with the seconds to wait before the next try."""
    whole_s = max(1, round(wait_s + 0.5))
    return Refused(429, message, code=code, headers={"Retry-After": str(whole_s)})


async def answer_refused(request: Request, error: Exception) -> Response:
    """Handle a Refused in an app: `app.add_exception_handler(Refused, answer_refused)`."""
    assert isinstance(error, Refused)
    return Response(error.body(), error.status, error.headers, media_type="application/json")
