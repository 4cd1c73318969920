"""Errors in OpenAI's form, with Poe's statuses and types ("Error message compatibility")."""

from typing import Any

from starlette.responses import JSONResponse, Response

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_credits",
    403: "moderation_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "provider_error",
    502: "upstream_error",
    529: "overloaded_error",
}


class ApiError(Exception):
    """What Poe answers with this HTTP status; the text is for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def error_object(status: int, message: str) -> dict[str, Any]:
    kind = TYPES.get(status, TYPES[400 if status < 500 else 500])
    return {"error": {"code": status, "type": kind, "message": message, "metadata": {}}}


def refusal(status: int, message: str) -> Response:
    return JSONResponse(error_object(status, message), status)
