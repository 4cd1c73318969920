"""The stand-in for Poe, met as a bot's code meets it: by its environment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from poe.standin.standin import PoeStandIn

KEY = "k" * 32
PERSONS_KEY = "p" * 20


@asynccontextmanager
async def stand_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncIterator[PoeStandIn]:
    """A stand-in that this process meets as a bot would."""
    options = {"access_key": KEY, "on_line": lambda line: None, **options}
    async with PoeStandIn(folder=folder, **options) as poe:
        for name, value in poe.environment.items():
            monkeypatch.setenv(name, value)
        yield poe
