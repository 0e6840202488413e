"""Errors in the form that OpenAI's clients read."""

from typing import Any

from starlette.responses import JSONResponse

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 503: "service_unavailable"}


def error_body(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """{"error": {...}}."""
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(
    status: int, code: str, message: str, param: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """A whole error response."""
    return JSONResponse(error_body(status, code, message, param), status, headers)
