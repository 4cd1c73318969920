"""What Poe offers to a bot's code: the API that fastapi_poe's client calls, as an ASGI app.

Paths and bodies follow fastapi_poe 0.0.83 (`client.py`, `base.py`). Poe does not document what
it answers to a wrong key or to invalid input; these answers are ours, in the form that the
client turns into its clearest error.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from fastapi_poe.types import CostItem, QueryRequest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from poe.client.sse import encode_event
from poe.standin.declared import BadSettings, BotSettings, DeclaredCalls, describe, parse_settings
from poe.standin.models import ModelEvent, answer, error
from poe.standin.record import BotCall, Cost, Keys, Record, Upload
from poe.standin.responses import closing, cost_refusal, event_stream, streamed
from poe.standin.uploads import ATTACHMENTS_URL, AttachmentStore, guess_type

MOST_MILLI_CENTS = 1_000_000
"""What the scripted user can pay at once: ten US dollars, in thousandths of a cent."""

_DOWNLOAD_SECONDS = 10


class PoeApi:
    """Poe's side of every call that a bot's code can make; `app` serves it.

    `settings` has those of every bot under its access key.
    """

    def __init__(
        self,
        *,
        keys: Keys,
        bot_name: str | None,
        settings: Mapping[str, BotSettings],
        store: AttachmentStore,
        client: httpx.AsyncClient,
        record: Record,
        on_line: Callable[[str], object],
    ) -> None:
        self._keys = keys
        self._bot_name = bot_name
        self._settings = settings
        self._declared = {key: DeclaredCalls(each) for key, each in settings.items()}
        self._store = store
        self._client = client
        self._say = on_line
        self.record = record
        self.app = Starlette(routes=self._routes())

    def _routes(self) -> list[Route]:
        settings = "settings/{bot}/{key}/1.2"
        return [
            Route(f"/bot/fetch_{settings}", self._fetch_settings, methods=["POST"]),
            Route(f"/bot/update_{settings}", self._update_settings, methods=["POST"]),
            Route("/bot/cost/{query_id}/{action}", self._cost, methods=["POST"]),
            Route("/bot/{bot}", self._bot, methods=["POST"]),
            Route("/poe_api/file_upload_3RD_PARTY_POST", self._upload, methods=["POST"]),
            Route("/poe_api/attachments/{identifier}/{name}", self._store.download),
        ]

    # Calls to other bots

    async def _bot(self, request: Request) -> Response:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not self._keys.may_call(key):
            self._say("poe: a call to a bot came with a wrong key and was refused")
            return event_stream(error("Invalid API key."), status=401)
        try:
            body = await request.json()
            kind = body.get("type")
        except (ValueError, AttributeError):
            return event_stream(error("The request isn't a JSON object."), status=400)
        if kind == "query":
            return await self._query(request.path_params["bot"], key, body)
        if kind in ("report_error", "report_feedback", "report_reaction"):
            self.record.reports.append(body)
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
        self.record.calls.append(BotCall(bot, query, time.monotonic()))
        if key in self._declared and (refusal := await self._refusal(bot, query, key)):
            return event_stream(refusal)
        if self._keys.real:
            self._say(f"poe: {bot} is called on Poe")
            return await self._pass_on(bot, body, self._keys.real)
        self._say(f"poe: {bot} is called, its stand-in answers")
        return streamed(encode_event(e.name, e.data) async for e in answer(bot, query))

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
            fix = await self._declared[key].count(bot, query.message_id)
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
        return StreamingResponse(
            closing(reply),
            status_code=reply.status_code,
            headers={"Content-Type": reply.headers.get("content-type", "text/plain")},
        )

    # Settings

    def _settings_refusal(self, request: Request) -> Response | None:
        bot, key = request.path_params["bot"], request.path_params["key"]
        if self._bot_name not in (None, bot):
            return PlainTextResponse(f"You have no bot {bot}.", 404)
        if key not in self._settings:
            return PlainTextResponse(f"This is not the access key of {bot}.", 403)
        return None

    async def _update_settings(self, request: Request) -> Response:
        if refusal := self._settings_refusal(request):
            return refusal
        try:
            settings = parse_settings(await request.json())
        except ValueError:
            return PlainTextResponse("The settings aren't JSON.", 400)
        except BadSettings as reason:
            return PlainTextResponse(f"Invalid settings: {reason}", 400)
        self._settings[request.path_params["key"]].push(settings)
        self.record.settings_pushed.append(settings.model_dump())
        return PlainTextResponse("Settings updated.")

    async def _fetch_settings(self, request: Request) -> Response:
        if refusal := self._settings_refusal(request):
            return refusal
        try:
            await self._settings[request.path_params["key"]].refresh()
        except BadSettings as reason:
            return PlainTextResponse(f"The settings couldn't be fetched: {reason}", 400)
        return PlainTextResponse("Settings fetched.")

    # Money

    async def _cost(self, request: Request) -> Response:
        try:
            body = await request.json()
            items = tuple(CostItem.model_validate(item) for item in body["amounts"])
            key = body["access_key"]
        except (ValueError, KeyError, TypeError):
            return cost_refusal(400, "amounts and access_key are needed")
        if key not in self._keys.access:
            return cost_refusal(401, "this is not the bot's access key")
        action, query_id = request.path_params["action"], request.path_params["query_id"]
        if action not in ("authorize", "capture"):
            return cost_refusal(404, "costs are authorized or captured")
        granted = sum(item.amount_usd_milli_cents for item in items) <= MOST_MILLI_CENTS
        self.record.costs.append(Cost(action, query_id, items, granted))
        status = "success" if granted else "insufficient_fund"
        return event_stream(ModelEvent("result", {"status": status}))

    # Attachments

    async def _upload(self, request: Request) -> Response:
        if not self._keys.may_call(request.headers.get("authorization", "")):
            return PlainTextResponse("Invalid API key.", 401)
        try:
            name, content = await self._uploaded_file(request)
        except (ValueError, httpx.HTTPError) as reason:
            return PlainTextResponse(f"The file was refused: {reason}", 400)
        upload = Upload(name, guess_type(name), self._store.add(name, content), len(content))
        self.record.uploads.append(upload)
        return JSONResponse({"attachment_url": upload.url, "mime_type": upload.content_type})

    async def _uploaded_file(self, request: Request) -> tuple[str, bytes]:
        """Name and content of the file, sent itself or by its URL; ValueError if neither."""
        async with request.form() as form:
            file = form.get("file")
            if isinstance(file, UploadFile):
                return file.filename or "file", await file.read()
            if "download_url" not in form:
                raise ValueError("neither a file nor a download_url was sent")
            url = httpx.URL(str(form["download_url"]))
            name = form.get("download_filename") or url.path.rpartition("/")[2]
            return str(name or "downloaded_file"), await self._fetch(url)

    async def _fetch(self, url: httpx.URL) -> bytes:
        """A file from the web, or one that was uploaded here before."""
        if str(url).startswith(ATTACHMENTS_URL):
            identifier, name = url.path.split("/")[-2:]
            if path := self._store.find(identifier, name):
                return path.read_bytes()
        reply = await self._client.get(url, timeout=_DOWNLOAD_SECONDS, follow_redirects=True)
        reply.raise_for_status()
        return reply.content
