"""An example as its user runs it: the real package in a local Lambda, the stand-in for Poe around
it, and Poe's side of a conversation with it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.folders import ROOT
from local.conversation import Conversation
from local.lambda_service import FunctionConfig, LocalLambda
from local.poe_record import Record
from local.poe_standin import PoeStandIn
from local.poe_turn import Turn
from tests.support_package import KEY

EXAMPLES = ROOT / "examples"


@dataclass(frozen=True)
class Running:
    """A bot that runs; `said` has what the stand-in and the log said."""

    poe: Conversation
    record: Record
    said: list[str] = field(default_factory=list)

    async def ask(self, text: str, **more: Any) -> Turn:
        """One whole turn, which breaks none of Poe's promises."""
        answer = self.poe.ask(text, **more)
        async for _ in answer:
            pass
        assert not answer.turn.broken
        return answer.turn


class Runner:
    """Runs bots, each as a package of its own."""

    def __init__(self, build: Callable[[str], Path], python: Path, folder: Path) -> None:
        self._build, self._python, self._folder = build, python, folder

    def uploaded(self, name: str) -> list[Path]:
        """The files of that name that bots gave to Poe."""
        return [*self._folder.glob(f"attachments/*/{name}")]

    def example(self, name: str, **variables: str) -> Any:
        return self.source((EXAMPLES / name).read_text(), variables)

    @asynccontextmanager
    async def source(
        self, source: str, variables: Mapping[str, str] | None = None
    ) -> AsyncIterator[Running]:
        said: list[str] = []

        async def settings() -> dict[str, Any]:
            return await conversation.settings()

        async with PoeStandIn(
            access_key=KEY, settings=settings, folder=self._folder, on_line=said.append
        ) as poe:
            environment = {"POE_ACCESS_KEY": KEY, **poe.environment, **(variables or {})}
            config = FunctionConfig(self._build(source), self._python, environment=environment)
            async with (
                LocalLambda(config, on_line=said.append) as function,
                Conversation(function.url, KEY) as conversation,
            ):
                yield Running(conversation, poe.record, said)
