"""The bot's own ASGI app: `app` in bot.py, which answers whatever isn't Poe's."""

import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import fastapi_poe as fp
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

NO_SUCH_ROUTE = {404, 405}


def own_app(app: object) -> ASGIApp | None:
    """`app` if it is an ASGI app, as of FastAPI or Starlette. A module of that name isn't one."""
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(
        getattr(app, "__call__", None)  # noqa: B004 – a wrapper may set it on the instance
    ):
        return app  # type: ignore[return-value]
    if hasattr(app, "wsgi_app"):
        logger.warning("`app` in bot.py is a WSGI app, so it isn't served: use FastAPI instead")
    return None


async def first(
    own: ASGIApp, otherwise: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a request without a body by `own` or, where that has no route for it, by
    `otherwise`."""
    missing = False

    async def unless_missing(message: Message) -> None:
        nonlocal missing
        if message["type"] == "http.response.start":
            missing = message["status"] in NO_SUCH_ROUTE
        if not missing:
            await send(message)

    await own(dict(scope), receive, unless_missing)  # a router writes into its scope
    if missing:
        await otherwise(scope, receive, send)


@dataclass
class Hosting:
    """What bot.py left to fastapi_poe's own server: its bots, and the app that it went on with."""

    bots: list[fp.PoeBot] = field(default_factory=list)
    app: FastAPI | None = None

    def bots_next_to(self, bot: object) -> Any:
        """The bots to serve, where bot.py has `bot`, which may be empty: that one, unless
        it is one of several that a server got, as a loop over them leaves its last."""
        return self.bots if not bot or any(bot is each for each in self.bots) else bot


@contextmanager
def hosting_recorded() -> Iterator[Hosting]:
    """What bot.py leaves to fastapi_poe's own server while the block runs.

    `make_app` would call Poe for a bot with a name, exit without an access key, and put the bots
    behind whatever middleware its app has; `run` would start a second server. Here both note the
    bots, and `make_app` gives an app for the file's further routes.
    """
    hosting = Hosting()
    bots = hosting.bots

    def make_app(
        bot: fp.PoeBot | Sequence[fp.PoeBot],
        *_: object,
        app: FastAPI | None = None,
        **__: object,
    ) -> FastAPI:
        made = [bot] if isinstance(bot, fp.PoeBot) else bot
        bots.extend(each for each in made if not any(each is known for known in bots))
        hosting.app = FastAPI(openapi_url=None) if app is None else app
        return hosting.app

    def run(*arguments: Any, **more: Any) -> None:
        make_app(*arguments, **more)

    kept = fp.make_app, fp.run, fp.base.make_app, fp.base.run
    fp.make_app = fp.base.make_app = make_app
    fp.run = fp.base.run = run
    try:
        yield hosting
    finally:
        fp.make_app, fp.run, fp.base.make_app, fp.base.run = kept
