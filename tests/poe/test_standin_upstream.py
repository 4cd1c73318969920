"""The stand-in between a bot and Poe itself: who leaves takes the other side along."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from poe.asgi_server import listener, served
from poe.standin.proxy import ForwardProxy
from poe.standin.standin import PoeStandIn

pytestmark = pytest.mark.anyio

KEY = "k" * 32


class EndlessPoe:
    """Answers after `think` seconds, without an end, `pause` seconds between two pieces; knows
    when it is asked, and when its client left."""

    def __init__(self, think: float, pause: float) -> None:
        self._think, self._pause = think, pause
        self.was_asked = asyncio.Event()
        self.was_left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.was_asked.set()
        sending = asyncio.ensure_future(self._send(send))
        while (await receive())["type"] != "http.disconnect":
            pass
        sending.cancel()
        self.was_left.set()

    async def _send(self, send: Any) -> None:
        await asyncio.sleep(self._think)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while True:
            await send({"type": "http.response.body", "body": b": x\n\n" * 999, "more_body": True})
            await asyncio.sleep(self._pause)


@pytest.mark.parametrize(
    ("think", "pause"), [(0, 0), (0, 60), (1, 60)], ids=["busy", "silent", "still thinking"]
)
async def test_a_bot_that_leaves_ends_the_answer_of_poe_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, think: float, pause: float
) -> None:
    poe, authority, sockets = EndlessPoe(think, pause), trustme.CA(), listener(0)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.poe.com").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    inside = {"api.poe.com:443": sockets.getsockname()}
    async with served(poe, sockets, tls), ForwardProxy(inside) as proxy, asyncio.timeout(10):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        stand_in = PoeStandIn(
            access_key=KEY, folder=tmp_path / "poe", api_key="p" * 20, on_line=lambda line: None
        )
        async with stand_in:
            monkeypatch.setenv("HTTPS_PROXY", stand_in.proxy_url)
            monkeypatch.setenv("SSL_CERT_FILE", str(stand_in.ca_file))
            asking = asyncio.create_task(ask())
            await poe.was_asked.wait()
            if not think:
                await asking
            asking.cancel()
            await asyncio.wait({asking})
            await poe.was_left.wait()


async def ask() -> None:
    """Ask any bot, and leave with the first bytes of its answer."""
    ids = {"message_id": "m", "user_id": "u", "conversation_id": "c"}
    message = {"role": "user", "content": "x"}
    query = {"type": "query", "version": "1.2", "query": [message], **ids}
    async with (
        httpx.AsyncClient() as bot,
        bot.stream(
            "POST",
            "https://api.poe.com/bot/Any",
            json=query,
            headers={"Authorization": f"Bearer {KEY}"},
        ) as reply,
    ):
        await anext(reply.aiter_raw())
