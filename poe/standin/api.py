"""What Poe offers to a bot's code: the API that fastapi_poe's client calls, and the one in
OpenAI's form, as an ASGI app.

Paths and bodies follow fastapi_poe 0.0.83 (`client.py`, `base.py`). Poe does not document what
it answers to a wrong key or to invalid input; these answers are ours, in the form that the
client turns into its clearest error.
"""

from collections.abc import Callable, Mapping

import httpx
from fastapi_poe.types import CostItem
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    Response,
)
from starlette.routing import Route

from poe.standin.answers import Answers
from poe.standin.bot_calls import BotCalls
from poe.standin.bots import Bots
from poe.standin.declared import BadSettings, BotSettings, parse_settings
from poe.standin.models import ModelEvent
from poe.standin.openai_api.app import OpenAiApi
from poe.standin.record import Cost, Keys, Record, Upload
from poe.standin.responses import cost_refusal, event_stream
from poe.standin.unknown_paths import UnknownPaths
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
        answers: Answers | None,
        on_line: Callable[[str], object],
    ) -> None:
        self._keys = keys
        self._bot_name = bot_name
        self._settings = settings
        self._store = store
        self._client = client
        self._record = record
        bots = Bots(answers, on_line)
        self._calls = BotCalls(keys, settings, bots, client, record, on_line)
        self._openai = OpenAiApi(keys, bots, client, record, on_line)
        self._unknown = UnknownPaths(keys, on_line)
        self.app = Starlette(
            routes=self._routes(), exception_handlers={405: self._unknown.wrong_method}
        )
        self.app.router.default = self._unknown

    def _routes(self) -> list[Route]:
        settings = "settings/{bot}/{key}/1.2"
        return [
            Route(f"/bot/fetch_{settings}", self._fetch_settings, methods=["POST"]),
            Route(f"/bot/update_{settings}", self._update_settings, methods=["POST"]),
            Route("/bot/cost/{query_id}/{action}", self._cost, methods=["POST"]),
            Route("/bot/{bot}", self._calls.answer, methods=["POST"]),
            *self._openai.routes(),
            Route("/poe_api/file_upload_3RD_PARTY_POST", self._upload, methods=["POST"]),
            Route("/poe_api/attachments/{identifier}/{name}", self._store.download),
        ]

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
        self._record.settings_pushed.append(settings.model_dump())
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
            return cost_refusal(404, "the action has to be authorize or capture")
        granted = sum(item.amount_usd_milli_cents for item in items) <= MOST_MILLI_CENTS
        self._record.costs.append(Cost(action, query_id, items, granted))
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
        self._record.uploads.append(upload)
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
