"""The paths of the API in OpenAI's form: answered by the stand-in's bots, or passed on to Poe."""

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from poe.standin.bots import Bots
from poe.standin.models import NO_SUCH_BOT
from poe.standin.openai_api.completion import Completion
from poe.standin.openai_api.errors import ApiError, refusal
from poe.standin.openai_api.request import ChatRequest, parse
from poe.standin.openai_api.responses import ModelResponse
from poe.standin.openai_api.responses_request import chat_body
from poe.standin.passing_on import pass_on
from poe.standin.record import Keys, Record

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MODELS = "/v1/models"

_PER_MINUTE = 500  # requests


class OpenAiApi:
    """Poe's side of https://api.poe.com/v1; `say` gets a line for each call."""

    def __init__(
        self,
        keys: Keys,
        bots: Bots,
        client: httpx.AsyncClient,
        record: Record,
        say: Callable[[str], object],
    ) -> None:
        self._keys = keys
        self._bots = bots
        self._client = client
        self._record = record
        self._say = say

    def routes(self) -> list[Route]:
        if self._keys.real:
            # Whatever Poe offers there, now or later.
            methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
            return [Route("/v1/{path:path}", self._on_to_poe, methods=methods)]
        return [
            Route(CHAT, partial(self._asked, self._completion), methods=["POST"]),
            Route(RESPONSES, partial(self._asked, self._response), methods=["POST"]),
            Route(MODELS, self._list),
            Route(MODELS + "/{model:path}", self._one),
        ]

    async def _asked(
        self, answer: Callable[[Any], Awaitable[Response]], request: Request
    ) -> Response:
        began = time.monotonic()
        try:
            self._authorize(request)
            response = await answer(await _json(request))
        except ApiError as error:
            path = request.url.path
            self._say(f"poe: a call to {path} ended with status {error.status}: {error}")
            response = refusal(error.status, str(error))
        response.headers.update(_headers(time.monotonic() - began))
        return response

    async def _completion(self, body: Any) -> Response:
        chat, completion = self._begun(body)
        if not chat.stream:
            return JSONResponse(await completion.whole())
        await completion.begin()
        return StreamingResponse(completion.chunks(), media_type="text/event-stream")

    async def _response(self, body: Any) -> Response:
        chat, completion = self._begun(chat_body(body))
        response = ModelResponse(completion, chat.model)
        if not chat.stream:
            return JSONResponse(await response.whole())
        await completion.begin()
        return StreamingResponse(response.events(), media_type="text/event-stream")

    def _begun(self, body: Any) -> tuple[ChatRequest, Completion]:
        chat = parse(body)
        self._record.completions.append(body)
        return chat, Completion(chat, self._bots.answer(chat.model, chat.question()))

    def _authorize(self, request: Request) -> None:
        """Raises ApiError for any key but the person's."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and key and key == self._keys.personal:
            return
        if key in self._keys.access:
            fix = "it is a bot's access key, and Poe takes POE_API_KEY here"
        elif self._keys.personal:
            fix = "it isn't the POE_API_KEY of secrets.json"
        else:
            fix = "add POE_API_KEY to secrets.json"
        raise ApiError(401, f"Invalid API key ({fix})")

    async def _on_to_poe(self, request: Request) -> Response:
        path = request.url.path
        try:
            if path != MODELS:  # Poe lists them for everyone
                self._authorize(request)
            self._say(f"poe: {path} is called on Poe")
            return await pass_on(request, self._keys.real or "", self._client)
        except ApiError as error:
            self._say(f"poe: a call to {path} ended with status {error.status}: {error}")
            return refusal(error.status, str(error))
        except httpx.HTTPError as failure:
            self._say(f"poe: Poe can't be reached ({type(failure).__name__})")
            return refusal(502, "Poe can't be reached.")

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [*map(_model, self._bots.names())]})

    async def _one(self, request: Request) -> Response:
        name = request.path_params["model"]
        if name == NO_SUCH_BOT:
            return refusal(404, f"Model {name} does not exist.")
        return JSONResponse(_model(name))


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError):
        raise ApiError(400, "the body isn't JSON") from None


def _model(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": 1_700_000_000_000,  # milliseconds, as Poe has it
        "description": f"{name}, as the stand-in for Poe plays it",
        "owned_by": "poe-stand-in",
        "permission": [],
        "root": name,
        "parent": None,
        "architecture": {
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "modality": "text->text",
        },
    }


def _headers(seconds: float) -> Mapping[str, str]:
    return {
        "openai-version": "2020-10-01",
        "openai-processing-ms": str(round(seconds * 1000)),
        "x-request-id": secrets.token_hex(16),
        "x-ratelimit-limit-requests": str(_PER_MINUTE),
        "x-ratelimit-remaining-requests": str(_PER_MINUTE - 1),
        "x-ratelimit-reset-requests": "60",
    }
