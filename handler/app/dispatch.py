"""Bot and key → the ASGI app: a bot's POST goes through the guard, to `query`'s answer or to
fastapi_poe's own app; everything else to the bot's `app`, where it has one."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import fastapi_poe as fp
from fastapi import FastAPI
from fastapi_poe.types import BaseRequest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handler.app import guard, own_routes
from handler.app.answer import answer, sees_http
from handler.app.error_event import error_event_of, slips_logged
from handler.app.guard import Refusal
from handler.log import output
from handler.log.record import PAGE, record_of
from handler.secret.cache import CachedSecret

logger = logging.getLogger(__name__)


class App:
    """`bots` on different paths, each with its access key. `own` has the bot's further routes: it
    never sees a bot's POST, whatever its routes and its middleware."""

    def __init__(
        self,
        bots: Sequence[fp.PoeBot],
        secret: CachedSecret | None = None,
        own: ASGIApp | None = None,
    ) -> None:
        self._bots = {bot.path: bot for bot in bots}
        self._secret = secret
        self._own = own
        for bot in bots:
            # On the object: fastapi_poe calls it there for every exception that a bot raises.
            bot.error_event = error_event_of(bot)  # type: ignore[method-assign]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await (self._own or _lifespan)(scope, receive, send)
        bot = self._bot(scope)
        try:
            if bot and scope["method"] == "POST":
                await self._post(bot, scope, receive, send)
            else:
                await self._further(bot, scope, receive, send)
        except Refusal as refusal:
            record_of(scope).refused = True
            await _refuse(refusal, send)
        finally:
            output.settle()

    def complete(self) -> None:
        """Build what is otherwise built at its first use."""
        _ = self._rest

    async def restore(self) -> None:
        """Take over the secret as it is now, in an environment that was just restored from a
        snapshot. Raises `StartError`s."""
        if self._secret:
            await self._secret.restore()

    def _bot(self, scope: Scope) -> fp.PoeBot | None:
        """The one on the request's path."""
        # Not left to FastAPI, whose router takes more spellings of a path and has no guard.
        if scope["type"] != "http":
            return None
        return self._bots.get(scope["path"].removeprefix(scope.get("root_path", "")))

    async def _further(
        self, bot: fp.PoeBot | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer what isn't a POST to a bot. `bot` is the one on its path."""
        if self._own and bot:
            # fastapi_poe's page comes after a page of the bot's.
            await own_routes.first(self._own, self._page, scope, receive, send)
        elif self._own:
            await self._own(scope, receive, send)
        elif scope["type"] != "http":
            await self._rest(scope, receive, send)
        elif bot:
            await self._page(scope, receive, send)
        else:
            raise Refusal(404, "there is no bot at this path")

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """fastapi_poe's page, without a key: by it people, and monitors of uptime, see that a bot
        lives here."""
        if scope["method"] != "GET":
            raise Refusal(405, "a bot is asked by POST")
        # Nothing is refused, but strangers may ask as often as they like, so it has a type of its
        # own, of which few lines are written.
        record_of(scope).type = PAGE
        await self._rest(scope, receive, send)

    async def _post(self, bot: fp.PoeBot, scope: Scope, receive: Receive, send: Send) -> None:
        await self._authorize(bot, scope)
        request, receive = await _read(bot, scope, receive)
        if isinstance(request, fp.QueryRequest):
            await answer(bot, request, scope, receive, send)
        else:
            with slips_logged(bot):
                await self._rest(_authorized(scope, bot.access_key or ""), receive, send)

    async def _authorize(self, bot: fp.PoeBot, scope: Scope) -> None:
        """Raise `Refusal` unless the request has the key, as it is now."""
        sent = guard.credential(scope["headers"])
        if self._secret is None:
            return guard.check_key(sent, bot.access_key or "")
        await self._secret.freshen()
        try:
            guard.check_key(sent, bot.access_key or "")
        except Refusal:
            if not await self._secret.read_again():
                raise
            guard.check_key(sent, bot.access_key or "")
        finally:
            record_of(scope).secret_read_failures = self._secret.take_failures()

    @cached_property
    def _rest(self) -> FastAPI:
        """Built at its first use: a query, which is what most starts are for, never needs it."""
        with _no_settings_sync(self._bots.values()):
            # No OpenAPI document: strangers see that a bot lives here, and no more.
            return fp.make_app([*self._bots.values()], app=FastAPI(openapi_url=None))


@contextmanager
def _no_settings_sync(bots: Iterable[fp.PoeBot]) -> Iterator[None]:
    """Keep `make_app` from calling Poe, as it does for a bot with a name, and from warning that
    it did not: `make register` pushes what is deployed."""
    names = [(bot, bot.bot_name) for bot in bots]
    fastapi_poe_logger = logging.getLogger("uvicorn.default")
    fastapi_poe_logger.disabled = True
    try:
        for bot, _ in names:
            bot.bot_name = None
        yield
    finally:
        fastapi_poe_logger.disabled = False
        for bot, name in names:
            bot.bot_name = name


async def _read(bot: fp.PoeBot, scope: Scope, receive: Receive) -> tuple[BaseRequest, Receive]:
    """The request, and a `receive` that gives its body again, where anything can ask for it. Raises
    `Refusal`.

    A function of its own, so that nothing else that a body becomes on its way to the bot outlives
    it: an answer may take minutes, and a process may give many at once.
    """
    key = bot.access_key or ""
    body = await guard.read_body(scope["headers"], receive)
    document = guard.parse(body)
    record_of(scope).type = document["type"]
    document |= {"access_key": key, "api_key": key}
    request = guard.validate(document)
    if not isinstance(request, fp.QueryRequest):
        return request, _replay(json.dumps(document).encode(), receive)
    if event := scope.get("aws.event"):
        scope["aws.event"] = {name: event[name] for name in event if name != "body"}
    return request, _replay(body if sees_http(bot) else b"", receive)


def _authorized(scope: Scope, key: str) -> Scope:
    # The guard lets `bearer` pass, fastapi_poe only `Bearer`.
    others = [header for header in scope["headers"] if header[0] != b"authorization"]
    return {**scope, "headers": [*others, (b"authorization", b"Bearer " + key.encode())]}


def _replay(body: bytes, receive: Receive) -> Receive:
    """`receive` with a body in front that was already taken from it."""
    bodies = [body]

    async def replay() -> Message:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        return await receive()

    return replay


async def _refuse(refusal: Refusal, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": refusal.status,
            "headers": refusal.headers,
        }
    )
    await send({"type": "http.response.body", "body": refusal.body})


async def _lifespan(_: Scope, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
