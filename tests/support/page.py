"""The chat page around a bot that does what it is asked, for a browser and for plain requests."""

import asyncio
import json
import os
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastapi_poe as fp
import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from poe.client.served_bot import ServedBot
from poe.page.files import Files
from poe.page.server import ChatPage
from tests.support.bots import KEY

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CONTROLS = fp.ParameterControls(
    sections=[
        fp.Section(
            controls=[
                fp.Slider(label="Marks", parameter_name="marks", min_value=0, max_value=5, step=1),
                fp.ToggleSwitch(label="More", parameter_name="more"),
                fp.ConditionallyRenderControls(
                    condition=fp.ComparatorCondition(
                        comparator="eq",
                        left=fp.ParameterValue(parameter_name="more"),
                        right=fp.LiteralValue(literal=True),
                    ),
                    controls=[fp.TextField(label="Name", parameter_name="name")],
                ),
            ]
        )
    ]
)

TOKEN = secrets.token_urlsafe(32)

Script = list[Any]


class ScriptedBot(fp.PoeBot):
    """Yields what stands in `scripts` for the last message; a number is a pause in seconds, WAIT
    a pause until `go_on`, and an exception is raised. Other messages are given back."""

    WAIT = object()

    def __init__(self, scripts: dict[str, Script], settings: fp.SettingsResponse) -> None:
        super().__init__(access_key=KEY)
        self.scripts, self.settings = scripts, settings
        self.told: list[fp.QueryRequest] = []
        self.go_on = threading.Event()
        self.was_left = threading.Event()

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterator[Any]:
        self.told.append(request)
        said = request.query[-1].content
        try:
            for step in self.scripts.get(said, [f"You said {said}"]):
                if step is self.WAIT:
                    while not self.go_on.is_set():
                        await asyncio.sleep(0.01)
                elif isinstance(step, int | float):
                    await asyncio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield fp.PartialResponse(text=step) if isinstance(step, str) else step
        except asyncio.CancelledError:
            self.was_left.set()
            raise

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return self.settings


@contextmanager
def served_page(
    *bot_urls: str,
    folder: Path,
    key: str = KEY,
    port: int = 0,
    own: Sequence[str] = (),
    rename: Callable[[str], str] = lambda text: text,
) -> Iterator[ChatPage]:
    """A chat page for these bots, served from a thread of its own. `own`: URLs on this machine
    whose servers its answers' files may come from."""
    files = Files(httpx.AsyncClient, own=[url.rstrip("/") for url in own])
    bots = [ServedBot(url, key) for url in bot_urls]
    with start_blocking_portal() as portal:
        page = ChatPage(bots, token=TOKEN, folder=folder, files=files, port=port, rename=rename)
        with portal.wrap_async_context_manager(page):
            yield page


@contextmanager
def opened(page: ChatPage) -> Iterator[httpx.Client]:
    """A client that has opened the printed address, and keeps the cookie."""
    with httpx.Client(base_url=page.url, trust_env=False) as client:
        client.get(page.address)
        yield client


def answer_lines(reply: httpx.Response) -> list[dict[str, Any]]:
    """What an answer of the page's server consists of."""
    return [json.loads(line) for line in reply.text.splitlines()]


def browser_path() -> str:
    """The browser for the page's tests: without one they are skipped, but not in CI."""
    for path in map(shutil.which, BROWSERS):
        if path:
            return path
    reason = f"the chat page's tests need a browser, one of {', '.join(BROWSERS)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
