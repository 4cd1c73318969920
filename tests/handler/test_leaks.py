"""No key, no other member of the secret and no message ever reaches the log, at any level."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from local.aws_lambda.service import FunctionConfig, LocalLambda
from local.secrets_manager import secret
from poe.client.conversation import Conversation
from poe.standin.standin import PoeStandIn
from tests.support.package import KEY

pytestmark = pytest.mark.anyio

OTHER = "another-members-value"
MESSAGE = "what-the-user-wrote"

BOT = """
import asyncio, logging, os
import fastapi_poe as fp
import httpx

class Bot(fp.PoeBot):
    async def get_response(self, request):
        word = request.query[-1].content.split()[0]
        logging.debug("answering at DEBUG")
        if word == "raise":
            raise ValueError(request.query[-1].content + os.environ["OTHER_KEY"])
        if word == "task":
            async def fail():
                raise ValueError(request.query[-1].content)
            asyncio.create_task(fail())
            await asyncio.sleep(0.02)
        if word == "upload":
            await self.post_message_attachment(
                message_id=request.message_id, file_data=b"x", filename="x.txt")
        for name in ("Echo", "Failing"):
            async for message in fp.stream_request(request, name, request.access_key):
                yield message

    async def get_settings(self, setting):
        return fp.SettingsResponse(server_bot_dependencies={"Echo": 9, "Failing": 9})

bot = Bot(bot_name="Named")
"""


LEVELS = pytest.mark.parametrize("level", ["INFO", "DEBUG", "TRACE"])


async def output_of(config, level, folder):
    """Everything that a function writes while all is said to it that can be."""
    lines = []
    members = {"POE_ACCESS_KEY": KEY, "OTHER_KEY": OTHER}
    async with (
        secret(members) as held,
        PoeStandIn(access_key=KEY, folder=folder, on_line=lambda line: None) as poe,
    ):
        log = {"AWS_LAMBDA_LOG_LEVEL": level, "AWS_LAMBDA_LOG_FORMAT": "JSON"}
        environment = {**held.environment, **poe.environment, **log}
        config = replace(config, environment=environment)
        async with LocalLambda(config, on_line=lines.append) as function:
            await talk(function.url)
            await function.settled()
    return lines


def assert_discreet(lines):
    output = "\n".join(lines)
    assert KEY not in output
    assert OTHER not in output
    assert MESSAGE not in output
    assert "settings will NOT be synced" not in output
    for line in lines:
        if not line.startswith(("START", "END", "REPORT")):
            assert json.loads(line)["level"], line


@LEVELS
async def test_a_run_at_any_log_level_tells_no_secret_and_no_message(
    build_with_bot, runtime_python, tmp_path, level
):
    lines = await output_of(FunctionConfig(build_with_bot(BOT), runtime_python), level, tmp_path)
    assert_discreet(lines)
    # It is the log of what was done, not of nothing.
    output = "\n".join(lines)
    assert output.count('"outcome"') >= 8
    assert ("answering at DEBUG" in output) is (level != "INFO")


@LEVELS
async def test_nor_does_the_buffered_way_under_awslambdaric(build_with_bot, tmp_path, level):
    pytest.importorskip("awslambdaric", reason="awslambdaric has no wheel for this machine")
    config = FunctionConfig(
        build_with_bot(BOT), Path(sys.executable), wrapper=None, invoke_mode="BUFFERED"
    )
    lines = await output_of(config, level, tmp_path)
    assert_discreet(lines)
    assert any("Error responding to query" in line for line in lines)


async def talk(url):
    """All that Poe and strangers may send."""
    async with Conversation(url, KEY) as poe:
        for word in ("echo", "raise", "task", "upload"):
            answer = poe.ask(f"{word} {MESSAGE}")
            async for _ in answer:
                pass
        await poe.settings()
        await poe.report_feedback("m", "like")
        await poe.report_reaction("m", MESSAGE)
        await poe.report_error(f"trouble with {MESSAGE}", {"said": MESSAGE, "key": KEY})
    async with httpx.AsyncClient() as http:
        await http.get(url)
        await http.post(url, json={"said": MESSAGE}, headers={"Authorization": f"Bearer {OTHER}"})
        for body in (
            MESSAGE,
            json.dumps({"type": MESSAGE}),
            json.dumps({"type": "query", MESSAGE: 1}),
        ):
            await http.post(url, content=body, headers={"Authorization": f"Bearer {KEY}"})
