"""Calls that the stand-in for Poe has no answer to: refused, and reported once for each path."""

from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from poe.standin.openai_api.errors import refusal
from poe.standin.record import Keys

_MOST_REMEMBERED = 1000


class UnknownPaths:
    """An ASGI app for paths that nothing else answers; `say` gets a line for each, without keys."""

    def __init__(self, keys: Keys, say: Callable[[str], object]) -> None:
        self._keys = keys
        self._say = say
        self._said: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = "there is no such path in the stand-in for Poe"
        if scope["path"].startswith("/v1/"):
            reason += "; with `POE_API_KEY=… make run` it goes on to Poe"
        response = self._refuse(Request(scope), 404, reason)
        await response(scope, receive, send)

    async def wrong_method(self, request: Request, error: Exception) -> Response:
        """Starlette's handler of 405: the path is known, the method isn't."""
        assert isinstance(error, HTTPException)
        allowed = (error.headers or {}).get("Allow", "")
        response = self._refuse(request, 405, f"the stand-in for Poe takes {allowed} here")
        response.headers["Allow"] = allowed
        return response

    def _refuse(self, request: Request, status: int, reason: str) -> Response:
        # As it was sent: percent-encoded, so that nothing in it moves the terminal's cursor.
        path = self._keys.hidden(request.scope["raw_path"].decode("latin-1"))
        call = f"{request.method} {request.url.hostname}{path}"
        if call not in self._said and len(self._said) < _MOST_REMEMBERED:
            self._said.add(call)
            self._say(f"poe: {call} was refused with status {status}: {reason}")
        return refusal(status, f"{call}: {reason}")
