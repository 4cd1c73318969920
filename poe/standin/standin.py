"""A stand-in for Poe on this machine, reached through an HTTPS proxy.

fastapi_poe calls Poe at two names, api.poe.com and www.quora.com, through httpx,
which honours HTTPS_PROXY and SSL_CERT_FILE. So a bot meets the stand-in by its environment
alone (`PoeStandIn.environment`); every other host is reached directly.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Self

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from infra.toolchain.private import private_folder
from poe.asgi_server import listener, served
from poe.standin.declared import BotSettings, FetchSettings
from poe.standin.proxy import ForwardProxy
from poe.standin.record import Keys, Record
from poe.standin.uploads import ATTACHMENTS_URL, AttachmentStore

HOSTS = ("api.poe.com", "www.quora.com")
ANSWERS = "poe_answers.toml"  # in a bot's folder

_QUERY_SECONDS = 600


class PoeStandIn:
    """Poe as a bot's code sees it, while it is entered.

        async with PoeStandIn(access_key=key, folder=Path("build/poe")) as poe:
            environment = os.environ | poe.environment
            bot = await asyncio.create_subprocess_exec("python", "bot.py", env=environment)
            await bot.wait()
        poe.record.calls  # what the bot asked other bots

    access_key   the bot's key, which its calls to Poe have to carry
    folder       where uploaded files and the certificates are kept; created if it is missing
    bot_name     the bot's name on Poe; None accepts any
    settings     fetches the bot's own settings, to check which bots it declares; None: unchecked
    more_bots    further bots of the same server: what fetches their settings, by access key
    api_key      a person's key on Poe (POE_API_KEY): calls to bots then go on to Poe itself
    personal_key a key that is accepted as a person's: for direct access to bots, and the API in
                 OpenAI's form
    answers      the file with what bots answer (poe_answers.toml); it may be missing
    on_line      gets one line for each call to a bot, and for each refusal with its fix

    Entering raises OSError if `folder` can't be written. A bot's mistakes never raise here: they
    are answered as Poe would, and reported to `on_line`.
    """

    proxy_url: str
    ca_file: Path

    def __init__(
        self,
        *,
        access_key: str,
        folder: Path,
        bot_name: str | None = None,
        settings: FetchSettings | None = None,
        more_bots: Mapping[str, FetchSettings] | None = None,
        api_key: str | None = None,
        personal_key: str | None = None,
        answers: Path | None = None,
        on_line: Callable[[str], object] = print,
    ) -> None:
        self._settings: dict[str, BotSettings] = {}
        self._keys = Keys(access=self._settings.keys(), personal=personal_key, real=api_key)
        self.serve({**(more_bots or {}), access_key: settings})
        self._folder = folder
        self._bot_name = bot_name
        self._answers = answers
        self._say = on_line
        self.record = Record()
        self._stack = AsyncExitStack()

    def serve(self, bots: Mapping[str, FetchSettings | None]) -> None:
        """Be Poe for these bots from now on: what fetches their settings, by access key."""
        for key in self._settings.keys() - bots.keys():
            del self._settings[key]
        for key, fetch in bots.items():
            if key in self._settings:
                self._settings[key].fetch = fetch
            else:
                self._settings[key] = BotSettings(fetch)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to meet the stand-in where it expects Poe."""
        return {
            "HTTPS_PROXY": self.proxy_url,
            "SSL_CERT_FILE": str(self.ca_file),  # httpx, aiohttp, urllib, urllib3
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
            "AWS_CA_BUNDLE": str(self.ca_file),  # botocore
            "CURL_CA_BUNDLE": str(self.ca_file),
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def prepare(self) -> None:
        """Begin to import what answers the bot's calls, in a thread. Else the first call waits."""
        self._app.begin()

    async def refresh_settings(self) -> None:
        """Ask the bots for their settings again: their code has changed. Raises BadSettings."""
        for settings in self._settings.values():
            await settings.refresh()

    async def __aenter__(self) -> Self:
        async with self._stack as stack:
            private_folder(self._folder)
            self.ca_file = self._folder / "authorities.pem"
            tls = await asyncio.to_thread(_tls, self.ca_file)
            client = await asyncio.to_thread(httpx.AsyncClient, timeout=_QUERY_SECONDS)
            await stack.enter_async_context(client)
            sockets, self._app = listener(0), _LazyApp(partial(self._api, client))
            inside = {f"{host}:443": sockets.getsockname() for host in HOSTS}
            await stack.enter_async_context(served(self._app, sockets, tls))
            stack.push_async_callback(self._app.settled)
            # Left first: with its tunnels go the connections that the server would wait for.
            proxy = await stack.enter_async_context(ForwardProxy(inside))
            self.proxy_url = proxy.url
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    def _api(self, client: httpx.AsyncClient) -> ASGIApp:
        from poe.standin.answers import Answers
        from poe.standin.api import PoeApi

        store = AttachmentStore(self._folder / "attachments", ATTACHMENTS_URL)
        answers = Answers(self._answers, store, self._say) if self._answers else None
        if answers:
            answers.refresh()  # a fault is reported now, not at the first call
        return PoeApi(
            keys=self._keys,
            bot_name=self._bot_name,
            settings=self._settings,
            store=store,
            client=client,
            record=self.record,
            answers=answers,
            on_line=self._say,
        ).app


class _LazyApp:
    """An app that a thread creates at `begin`, or at its first call: importing fastapi takes longer
    than everything else in a start of the stand-in."""

    def __init__(self, create: Callable[[], ASGIApp]) -> None:
        self._create = create
        self._created: asyncio.Task[ASGIApp] | None = None

    def begin(self) -> asyncio.Task[ASGIApp]:
        if self._created is None:
            self._created = asyncio.create_task(asyncio.to_thread(self._create))
        return self._created

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = await asyncio.shield(self.begin())
        await app(scope, receive, send)

    async def settled(self) -> None:
        """Wait for the thread, which can't be stopped."""
        if self._created is not None:
            await asyncio.wait({self._created})


def _tls(ca_file: Path) -> ssl.SSLContext:
    """What a server needs to pass for Poe with clients that trust `ca_file`. Writes that file: a
    throw-away authority, and the public ones."""
    import certifi
    import trustme  # a twentieth of a start, and another thread builds the package meanwhile

    authority = trustme.CA()
    ca_file.write_bytes(authority.cert_pem.bytes() + Path(certifi.where()).read_bytes())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(tls)
    return tls
