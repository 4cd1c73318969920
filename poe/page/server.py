"""The chat page that `make run` serves: a browser in front of Poe's side of a conversation.

The browser has no key and meets no other host: what it needs of either is here.

    GET  /state                             the run's state and the bots: {"phase": …, …}
    GET  /proof/{challenge}                 what shows that this is the page's server
    GET  /settings?bot=PATH                 the settings that the bot answers with
    POST /conversations?bot=PATH            {"id": …, "user_id": …}
    PUT  /conversations/{id}?bot=PATH       {"user_id": …, "messages": […]}: it goes on from these
    POST /conversations/{id}/messages       {"text": …, "attachments": [URL, …],
                                             "parameters": {…}} → an answer
    POST /conversations/{id}/retry          → another answer to the last message
    GET  /conversations/{id}/files?url=…    a file or an image that an answer names
    POST /attachments?name=…                a file as the body → {"url", "name", …}
    GET  /attachments/{identifier}/{name}   that file, for the bot

An answer is lines of JSON, as `poe.page.chat` describes them; every 4xx and 5xx of these is
{"error": …}, a sentence with the reason.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from poe.asgi_server import HOST, listener, served
from poe.client.conversation import Conversation, NotAnswering, Refused
from poe.client.served_bot import ServedBot
from poe.page.body import validated, whole
from poe.page.chat import PageChat
from poe.page.conversations import Conversations
from poe.page.file_name import name_problem
from poe.page.files import FILE_LIMIT, Files, NotAllowed, NotFetched, TooLarge
from poe.page.guard import TOKEN, Guard
from poe.page.json_lines import JsonLines
from poe.page.proof import PATH as PROOF
from poe.page.proof import is_challenge, proof, proof_key
from poe.page.state import RunState
from poe.standin.uploads import AttachmentStore, attachment

PAGE = Path(__file__).with_name("static")
MESSAGE_LIMIT = 4_000_000  # bytes
CONVERSATION_LIMIT = 16_000_000  # bytes
IMAGES = "image/"

# A bot's file isn't trusted: even opened by itself, it can't run anything.
_FILE_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'"
}
_DOWNLOAD = {"Content-Disposition": "attachment"}


class ChatPage:
    """The page, served at `url` while it is entered; a browser has to open `address` first.

    bots     whom one can talk to; their keys stay here
    token    what `address` has and strangers don't
    folder   where attachments are kept
    files    fetches what a bot's answer names
    port     of the page; if it is taken, a free one is used
    name     of what runs, such as the bot's folder: the browser keeps its conversations apart
    rename   gives a traceback with the names that the bot's author knows
    """

    url: str
    address: str

    def __init__(
        self,
        bots: Sequence[ServedBot],
        *,
        token: str,
        folder: Path,
        files: Files,
        port: int,
        name: str = "",
        rename: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.state = RunState()
        self._bots: dict[str, ServedBot] = {}
        if bots:
            self.serve(bots)
        self._name = name
        self._token = token
        self._folder = folder
        self._files = files
        self._port = port
        self._chats = Conversations(rename)
        self._attachments: dict[str, dict[str, Any]] = {}
        self._stack = AsyncExitStack()

    def serve(self, bots: Sequence[ServedBot]) -> None:
        """Offer these bots from now on, which run."""
        self._bots = {bot.path: bot for bot in bots}
        self.state.ready()

    async def __aenter__(self) -> Self:
        sockets = listener(self._port)
        self._bound_port = port = sockets.getsockname()[1]
        self.url = f"http://{HOST}:{port}/"
        self.address = f"{self.url}?{TOKEN}={self._token}"
        self._store = AttachmentStore(self._folder, f"{self.url}attachments/")
        app = Guard(
            Starlette(routes=self._routes(), exception_handlers={HTTPException: _error}),
            port=port,
            token=self._token,
            is_shared=lambda path: is_challenge(path) or self._is_attachment(path),
        )
        self._stack.push_async_callback(self._chats.forget)
        await self._stack.enter_async_context(served(app, sockets))
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    def _routes(self) -> list[Route | Mount]:
        return [
            Route("/state", self._tell_state),
            Route(PROOF + "{challenge}", self._prove),
            Route("/settings", self._settings),
            Route("/conversations", self._begin, methods=["POST"]),
            Route("/conversations/{id}", self._go_on, methods=["PUT"]),
            Route("/conversations/{id}/messages", self._say, methods=["POST"]),
            Route("/conversations/{id}/retry", self._retry, methods=["POST"]),
            Route("/conversations/{id}/files", self._named_file),
            Route("/attachments", self._attach, methods=["POST"]),
            Route("/attachments/{identifier}/{name}", self._attached),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ]

    async def _tell_state(self, request: Request) -> Response:
        bots = [{"path": path, "url": bot.url} for path, bot in self._bots.items()]
        run = self.state.as_json() | {"name": self._name, "proof_key": proof_key(self._token)}
        return JSONResponse(run | {"bots": bots})

    async def _prove(self, request: Request) -> Response:
        challenge = request.path_params["challenge"]
        return PlainTextResponse(proof(self._token, self._bound_port, challenge))

    def _bot(self, request: Request) -> ServedBot:
        path = request.query_params.get("bot", "")
        if path not in self._bots:
            raise HTTPException(
                404, f"No bot has this path. The paths are: {', '.join(self._bots)}"
            )
        return self._bots[path]

    async def _settings(self, request: Request) -> Response:
        try:
            settings = json.dumps(await self._bot(request).settings(), allow_nan=False)
        except (NotAnswering, Refused) as error:
            raise HTTPException(502, f"The bot's settings are unavailable: {error}") from None
        except ValueError:
            raise HTTPException(502, "The bot's settings hold NaN or infinity.") from None
        return Response(settings, media_type="application/json")

    async def _begin(self, request: Request) -> Response:
        return _named(await self._chats.begin(self._bot(request)))

    async def _go_on(self, request: Request) -> Response:
        from poe.page.message import Past  # after the start, which it would delay

        bot, identifier = self._bot(request), request.path_params["id"]
        past = await validated(request, Past, what="a conversation", limit=CONVERSATION_LIMIT)
        try:
            return _named(await self._chats.go_on(bot, identifier, past))
        except ValueError as error:
            raise HTTPException(404, f"Start a new chat: {error}.") from None

    async def _say(self, request: Request) -> Response:
        from poe.page.message import Message  # after the start, which it would delay

        chat = self._chat(request)
        message = await validated(request, Message, what="a message", limit=MESSAGE_LIMIT)
        try:
            attachments = [self._attachments[url] for url in message.attachments]
        except KeyError:
            raise HTTPException(400, "An attachment isn't here: attach it again.") from None
        if not message.text.strip() and not attachments:
            raise HTTPException(400, "A message needs a text or an attachment.")
        return JsonLines(chat.say(message.text, attachments, message.parameters))

    async def _retry(self, request: Request) -> Response:
        chat = self._chat(request)
        if not chat.has_begun:
            raise HTTPException(409, "There is no message to answer again: send one first.")
        return JsonLines(chat.retry())

    def _chat(self, request: Request) -> PageChat:
        chat = self._chats.get(request.path_params["id"])
        if chat is None:
            raise HTTPException(404, "This conversation is over: start a new chat.")
        return chat

    async def _attach(self, request: Request) -> Response:
        name = request.query_params.get("name", "")
        if problem := name_problem(name):
            raise HTTPException(400, problem)
        content = await whole(request, FILE_LIMIT)
        url = self._store.add(name, content)
        made = self._attachments[url] = attachment(url, name, content)
        return JSONResponse({key: made[key] for key in ("url", "name", "content_type")})

    async def _attached(self, request: Request) -> Response:
        file = await self._store.download(request)
        file.headers.update(_FILE_HEADERS)
        return file

    def _is_attachment(self, path: str) -> bool:
        """Whether a bot may download it, who has no cookie: its identifier can't be guessed."""
        parts = path.removeprefix("/attachments/").split("/")
        return len(parts) == 2 and self._store.find(*parts) is not None

    async def _named_file(self, request: Request) -> Response:
        asked = request.query_params.get("url", "")
        url = self._chat(request).named(asked)
        if url is None:
            raise HTTPException(404, "No answer in this conversation names this file.")
        if url in self._attachments:  # a user's own, which the bot gave back
            return RedirectResponse(url.removeprefix(self.url.rstrip("/")))
        try:
            file = await self._files.fetch(url)
        except NotAllowed as reason:
            raise HTTPException(403, f"The file isn't fetched: {reason}.") from None
        except NotFetched as reason:
            raise HTTPException(502, f"The file can't be fetched: {reason}.") from None
        except TooLarge as reason:
            raise HTTPException(413, str(reason)) from None
        shown = {} if file.content_type.startswith(IMAGES) else _DOWNLOAD
        return Response(file.content, media_type=file.content_type, headers=_FILE_HEADERS | shown)


def _named(conversation: Conversation) -> Response:
    return JSONResponse({"id": conversation.conversation_id, "user_id": conversation.user_id})


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)
