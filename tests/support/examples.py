"""An example as its user runs it: the real package in a local Lambda, the stand-in for Poe around
it, and Poe's side of a conversation with it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.toolchain.folders import ROOT
from local.aws_lambda.service import FunctionConfig, LocalLambda
from poe.client.conversation import Conversation
from poe.client.turn import Turn
from poe.standin.record import Record
from poe.standin.standin import ANSWERS, PoeStandIn
from tests.support.bot_folder import write_folder
from tests.support.package import KEY

EXAMPLES = ROOT / "examples"


@dataclass(frozen=True)
class Running:
    """A bot that runs; `said` has what the stand-in and the log said."""

    poe: Conversation
    record: Record
    said: list[str] = field(default_factory=list)

    async def ask(self, text: str, **more: Any) -> Turn:
        """One whole turn, in which every promise is kept."""
        answer = self.poe.ask(text, **more)
        async for _ in answer:
            pass
        assert not answer.turn.broken
        return answer.turn


class Runner:
    """Runs bots, each as a package of its own."""

    def __init__(self, build: Callable[..., Path], python: Path, folder: Path) -> None:
        self._build, self._python, self._folder = build, python, folder

    def uploaded(self) -> list[bytes]:
        """The files that bots gave to Poe."""
        return [file.read_bytes() for file in self._folder.glob("attachments/*")]

    def example(self, name: str, **variables: str) -> Any:
        return self.source((EXAMPLES / name).read_text(), variables)

    def folder(self, name: str, **variables: str) -> Any:
        """An example of several files. POE_API_KEY is a person's key for the stand-in, too."""
        entries = (EXAMPLES / name).iterdir()
        files = {entry.name: entry.read_text() for entry in entries if entry.is_file()}
        return self.source(files.pop("bot.py"), variables, files)

    @asynccontextmanager
    async def source(
        self,
        source: str,
        variables: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Running]:
        said: list[str] = []
        answers = write_folder(self._folder, files or {}) / ANSWERS

        async def settings() -> dict[str, Any]:
            return await conversation.settings()

        async with PoeStandIn(
            access_key=KEY,
            personal_key=(variables or {}).get("POE_API_KEY"),
            settings=settings,
            answers=answers,
            folder=self._folder,
            on_line=said.append,
        ) as poe:
            as_make_run = {"POE_ACCESS_KEY": KEY, "BOT_DEBUG": "1", **poe.environment}
            environment = as_make_run | dict(variables or {})
            config = FunctionConfig(
                self._build(source, files), self._python, environment=environment
            )
            async with (
                LocalLambda(config, on_line=said.append) as function,
                Conversation(function.url, KEY) as conversation,
            ):
                await function.warm()  # as `make run` does
                yield Running(conversation, poe.record, said)
