"""A bot's calls to other bots: refused, answered by a scripted model, or passed on to Poe."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from fastapi_poe.types import QueryRequest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from poe.standin.bots import Bots
from poe.standin.declared import BadSettings, BotSettings, describe, parse_settings
from poe.standin.models import ModelEvent, error
from poe.standin.passing_on import passed_on
from poe.standin.question import Question
from poe.standin.record import BotCall, Keys, Record
from poe.standin.responses import event_stream, streamed


class BotCalls:
    """Poe's side of `stream_request` and of the reports that its client sends.

    `settings` has those of every bot under its access key; `say` gets a line for each call.
    """

    def __init__(
        self,
        keys: Keys,
        settings: Mapping[str, BotSettings],
        bots: Bots,
        client: httpx.AsyncClient,
        record: Record,
        say: Callable[[str], object],
    ) -> None:
        self._keys = keys
        self._settings = settings
        self._bots = bots
        self._client = client
        self._record = record
        self._say = say

    async def answer(self, request: Request) -> Response:
        """Answer a POST to /bot/{bot}."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not self._keys.may_call(key):
            self._say(
                "poe: a call to a bot was refused: its key is neither a bot's nor POE_API_KEY"
            )
            return event_stream(error("Invalid API key."), status=401)
        try:
            body = await request.json()
            kind = body.get("type")
        except (ValueError, AttributeError):
            return event_stream(error("The request isn't a JSON object."), status=400)
        if kind == "query":
            return await self._query(request.path_params["bot"], key, body)
        if kind in ("report_error", "report_feedback", "report_reaction"):
            self._record.reports.append(body)
            return JSONResponse({})
        if kind == "settings":
            return JSONResponse(parse_settings({}).model_dump())
        return event_stream(error(f"Unsupported request type {kind!r}."), status=501)

    async def _query(self, bot: str, key: str, body: dict[str, Any]) -> Response:
        try:
            query = QueryRequest.model_validate(body)
        except ValidationError as invalid:
            self._say(f"poe: a call to {bot} was refused: {describe(invalid)}")
            return event_stream(error(f"Invalid query: {describe(invalid)}"), status=400)
        self._record.calls.append(BotCall(bot, query, time.monotonic()))
        if key in self._settings and (refusal := await self._refusal(bot, query, key)):
            return event_stream(refusal)
        if self._keys.real:
            self._say(f"poe: {bot} is called on Poe")
            return await self._pass_on(bot, body, self._keys.real)
        return streamed(self._bots.answer(bot, Question.of(query)))

    async def _refusal(self, bot: str, query: QueryRequest, key: str) -> ModelEvent | None:
        """Why a bot may not make this call: it answers no user's message, or wasn't declared."""
        missing = [
            name
            for name in ("message_id", "user_id", "conversation_id")
            if not getattr(query, name)
        ]
        if missing:
            reason = f"The query has no {', '.join(missing)}: pass on the request that Poe sent."
            self._say(f"poe: a call to {bot} was refused. {reason}")
            return error(reason)
        try:
            fix = await self._settings[key].calls.count(bot, query.message_id)
        except BadSettings as reason:
            self._say(f"poe: a call to {bot} was refused: {reason}")
            return error(f"The settings of the calling bot are unknown: {reason}")
        if fix is None:
            return None
        self._say(f"poe: {fix}")
        # Poe's own words, allow_retry included.
        return error(
            f"Message {query.message_id} called on bot that has 0 or undefined call count "
            "in settings.",
            allow_retry=True,
        )

    async def _pass_on(self, bot: str, body: dict[str, Any], key: str) -> Response:
        """Ask Poe itself, as a person would: our identifiers and key mean nothing there."""
        empty = dict.fromkeys(("user_id", "conversation_id", "message_id", "bot_query_id"), "")
        kept = {k: v for k, v in body.items() if k not in ("access_key", "api_key", "metadata")}
        request = self._client.build_request(
            "POST",
            f"https://api.poe.com/bot/{bot}",
            json=kept | empty,
            headers={"Authorization": f"Bearer {key}"},
        )
        try:
            reply = await self._client.send(request, stream=True)
        except httpx.HTTPError as failure:
            self._say(f"poe: Poe can't be reached ({type(failure).__name__})")
            return event_stream(error("Poe can't be reached.", allow_retry=True))
        return passed_on(reply)
