"""Bots that are served as their authors serve them: fastapi_poe's app under uvicorn."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import fastapi_poe as fp
import uvicorn

KEY = "k" * 32


class PacedBot(fp.PoeBot):
    """Thinks for `think` seconds, then sends `words` words, `pause` seconds before each."""

    def __init__(self, words: int, *, think: float = 0, pause: float = 0, path: str = "/") -> None:
        super().__init__(path, KEY)
        self.words, self.think, self.pause = words, think, pause
        self.told: list[Any] = []

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterator[fp.PartialResponse]:
        self.told.append(request)
        await asyncio.sleep(self.think)
        for number in range(self.words):
            await asyncio.sleep(self.pause)
            yield fp.PartialResponse(text=f"{number} ")

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(server_bot_dependencies={"Echo": 2})


@contextmanager
def served(app: Any, host: str = "127.0.0.1", **options: Any) -> Iterator[str]:
    """The URL of an ASGI app under uvicorn, on a free port."""
    config = uvicorn.Config(
        app, host, 0, log_config=None, ws="none", timeout_graceful_shutdown=1, **options
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    scheme = "https" if config.is_ssl or "ssl_context_factory" in options else "http"
    try:
        yield f"{scheme}://{host}:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def served_bot(bot: fp.PoeBot) -> Iterator[str]:
    with served(fp.make_app(bot)) as url:
        yield url
