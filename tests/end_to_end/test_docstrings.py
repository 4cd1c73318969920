"""The examples in the docstrings of the public surfaces run as they stand there."""

import ast
import asyncio
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import Target
from infra.stack.options import Options
from local.aws_lambda.service import FunctionConfig, LocalLambda
from poe.client.conversation import Conversation
from poe.standin.standin import PoeStandIn
from tests.support.bot_folder import write_folder
from tests.support.package import KEY

pytestmark = pytest.mark.anyio

BOT = """
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text="Hello there")

bot = Bot()
"""
CALLER = """
import asyncio, os
import fastapi_poe as fp

async def main():
    message = fp.ProtocolMessage(role="user", content="Hello")
    key = os.environ["POE_ACCESS_KEY"]
    async for _ in fp.get_bot_response([message], "GPT-4", key):
        pass

asyncio.run(main())
"""


def example(surface: object) -> str:
    """The indented block of its docstring."""
    found = re.search(r"(?:^ {4}.+\n?)+", inspect.getdoc(surface) or "", re.M)
    assert found
    return textwrap.dedent(found[0]).strip()


async def run(surface: object, replaced: dict[str, str] | None = None, **names: Any) -> Any:
    """The names that the example leaves behind."""
    source = example(surface)
    for text, other in (replaced or {}).items():
        assert text in source
        source = source.replace(text, other)
    code = compile(source, "docstring", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    known = {"Path": Path, "asyncio": asyncio, "httpx": httpx, "os": os, **names}
    done = eval(code, known)
    if inspect.isawaitable(done):
        async with asyncio.timeout(60):
            await done
    return known


async def test_options() -> None:
    known = await run(Options, Options=Options)
    assert known["options"].dashboard is True
    assert f'"{known["options"].target.name}"' in example(Options)


async def test_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "my-bot", {"bot.py": BOT})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    await run(build, build=build, BotFolder=BotFolder, Target=Target)
    assert (tmp_path / "here" / "build" / "package" / "bot" / "bot.py").is_file()


async def test_a_local_lambda_and_a_conversation_with_it(
    build_with_bot: Callable[[str], Path],
    runtime_python: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = build_with_bot(BOT)
    here = {
        "build/package-3.13-x86_64": str(package),
        "/usr/bin/python3.13": str(runtime_python),
    }
    await run(FunctionConfig, here, FunctionConfig=FunctionConfig)

    def with_key(*given: Path) -> FunctionConfig:
        return FunctionConfig(*given, environment={"POE_ACCESS_KEY": KEY})

    names = {"FunctionConfig": with_key, "LocalLambda": LocalLambda}
    known = await run(LocalLambda, {**here, "port=9000": "port=0"}, **names)
    assert known["reply"].status_code == 200
    async with LocalLambda(with_key(package, runtime_python)) as function:
        names = {"Conversation": Conversation, "access_key": KEY}
        await run(Conversation, {"http://127.0.0.1:9000/": function.url}, **names)
    assert "Hello there" in capsys.readouterr().out


async def test_a_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bot.py").write_text(CALLER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POE_ACCESS_KEY", KEY)
    known = await run(
        PoeStandIn, {'"python"': repr(sys.executable)}, PoeStandIn=PoeStandIn, key=KEY
    )
    assert [call.bot for call in known["poe"].record.calls] == ["GPT-4"]
