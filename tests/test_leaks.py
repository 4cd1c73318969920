"""No key, no other member of the secret and no message ever reaches the log, at any level."""

import json

import httpx
import pytest

from local.conversation import Conversation
from local.lambda_service import FunctionConfig, LocalLambda
from local.poe_standin import PoeStandIn
from local.secrets_server import secret
from tests.support_package import KEY

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


@pytest.mark.parametrize("level", ["INFO", "DEBUG", "TRACE"])
async def test_a_run_at_any_log_level_tells_no_secret_and_no_message(
    build_with_bot, runtime_python, tmp_path, level
):
    lines = []
    members = {"POE_ACCESS_KEY": KEY, "OTHER_KEY": OTHER}
    async with (
        secret(members) as held,
        PoeStandIn(access_key=KEY, folder=tmp_path, on_line=lambda line: None) as poe,
    ):
        environment = {**held.environment, **poe.environment, "AWS_LAMBDA_LOG_LEVEL": level}
        config = FunctionConfig(build_with_bot(BOT), runtime_python, environment=environment)
        async with LocalLambda(config, on_line=lines.append) as function:
            await talk(function.url)
            await function.settled()
    output = "\n".join(lines)
    assert KEY not in output
    assert OTHER not in output
    assert MESSAGE not in output
    # It is the log of what was done, not of nothing.
    assert output.count('"outcome"') >= 8
    assert ("answering at DEBUG" in output) is (level != "INFO")
    assert "settings will NOT be synced" not in output
    for line in lines:
        if not line.startswith(("START", "END", "REPORT")):
            assert json.loads(line)["level"], line


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
