"""A bot that is served on this machine."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from infra.toolchain.private import write_private
from poe.client.conversation import Conversation


@dataclass(frozen=True)
class ServedBot:
    """A bot that runs: where, and with which access key."""

    url: str
    key: str

    @property
    def path(self) -> str:
        return httpx.URL(self.url).path

    async def settings(self) -> dict[str, Any]:
        """What it declares to Poe."""
        async with Conversation(self.url, self.key) as conversation:
            return await conversation.settings()


def keep_keys(file: Path, bots: Iterable[ServedBot]) -> None:
    """Write down each path's access key, for `make chat`, readable by the user alone."""
    write_private(file, json.dumps({bot.path: bot.key for bot in bots}))
