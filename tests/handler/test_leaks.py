"""No key, no other member of the secret and no message ever reaches the log, at any level."""

import json
from contextlib import suppress

import httpx
import pytest

from local.secrets_manager import secret
from poe.client.conversation import Conversation, NotAnswering, Refused
from poe.standin.standin import PoeStandIn
from tests.support.entries import needs_awslambdaric, query, served_by
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
        if word == "clean-up":
            class Deleted:
                def __init__(self, text):
                    self.text = text
                def __del__(self):
                    raise ValueError(self.text)
            Deleted(request.query[-1].content)
        if word == "unfinished":
            print("tok", end="\\r")
        if word == "newline":
            async for message in fp.stream_request(request, "Echo", request.access_key + "\\n"):
                yield message
        if word == "dict":
            again = {"role": "user", "content": request.query[-1].content}
            request = request.model_copy(update={"query": [again]})
        for name in ("Echo", "Failing"):
            async for message in fp.stream_request(request, name, request.access_key):
                yield message

    async def on_reaction_with_context(self, reaction_request, context):
        raise ValueError(reaction_request.reaction)

    async def get_settings(self, setting):
        return fp.SettingsResponse(server_bot_dependencies={"Echo": 9, "Failing": 9})

bot = Bot(bot_name="Named")
"""


async def output_of(entry, package, folder, variables):
    """Everything that a function writes while all is said to it that can be."""
    lines = []
    members = {"POE_ACCESS_KEY": KEY, "OTHER_KEY": OTHER}
    async with (
        secret(members) as held,
        PoeStandIn(access_key=KEY, folder=folder, on_line=lambda line: None) as poe,
    ):
        environment = {**held.environment, **poe.environment, **variables}
        async with served_by(entry, package, lines.append, **environment) as url:
            await talk(url)
    return lines


def parsed(lines):
    """Those that aren't Lambda's own, uvicorn's or the bot's: each JSON from its start."""
    others = ("START", "END", "REPORT", "INFO:", "tok")
    ours = [json.loads(line) for line in lines if line and not line.startswith(others)]
    return [{"message": "", **line} for line in ours]


def assert_discreet(lines):
    output = "\n".join(lines)
    assert KEY not in output
    assert OTHER not in output
    assert MESSAGE not in output
    assert "settings will NOT be synced" not in output
    assert all(line["level"] for line in parsed(lines))


@pytest.fixture(scope="module")
def package(build_with_bot):
    return build_with_bot(BOT)


# Every level, and every entry at one of the two that let libraries log most.
@pytest.mark.parametrize(
    ("entry", "level"),
    [
        ("bootstrap", "INFO"),
        ("bootstrap", "TRACE"),
        pytest.param("awslambdaric", "DEBUG", marks=needs_awslambdaric),
        ("uvicorn", "TRACE"),
    ],
)
async def test_a_run_at_any_log_level_tells_no_secret_and_no_message(
    package, tmp_path, entry, level
):
    log = {"AWS_LAMBDA_LOG_LEVEL": level, "AWS_LAMBDA_LOG_FORMAT": "JSON"}
    lines = await output_of(entry, package, tmp_path, log)
    assert_discreet(lines)
    # It is the log of what was done, not of nothing.
    output = "\n".join(lines)
    assert ("answering at DEBUG" in output) is (level != "INFO")
    if entry == "bootstrap":
        assert output.count('"outcome"') >= 12
    errors = [line for line in parsed(lines) if line["message"] == "Error responding to query"]
    assert {line["errorType"] for line in errors} >= {"ValueError", "BotError"}
    assert entry == "uvicorn" or all(line["requestId"] for line in errors)
    prints = [line for line in parsed(lines) if "left out" in line["message"]]
    assert {"LocalProtocolError", "UnicodeEncodeError"} <= {p.get("errorType") for p in prints}
    assert any("Warning at pydantic/" in line["message"] for line in parsed(lines))
    assert any("in a clean-up" in line["message"] for line in parsed(lines))


@pytest.mark.parametrize("entry", ["bootstrap", "uvicorn"])
async def test_with_bot_debug_a_run_tells_all_in_lines_still(package, tmp_path, entry):
    lines = await output_of(entry, package, tmp_path, {"BOT_DEBUG": "1"})
    [error] = [line for line in parsed(lines) if f"raise {MESSAGE}" in line.get("traceback", "")]
    assert f"ValueError: raise {MESSAGE}{OTHER}" in error["traceback"]
    assert 'File "bot/bot.py", line ' in error["traceback"]
    assert any("Illegal header value" in line["message"] for line in parsed(lines))


@pytest.mark.parametrize("entry", ["awslambdaric", "uvicorn"])
async def test_a_start_that_fails_says_why_and_quotes_nothing(build_with_bot, entry):
    package = build_with_bot(f"import os\nraise ValueError('{MESSAGE}' + os.environ['OTHER_KEY'])")
    lines = []
    with suppress(AssertionError):  # uvicorn's, which never runs
        async with (
            served_by(entry, package, lines.append, OTHER_KEY=OTHER) as url,
            httpx.AsyncClient() as http,
        ):
            await http.get(url)
    output = "\n".join(lines)
    assert MESSAGE not in output
    assert OTHER not in output
    assert "the bot cannot start: ValueError (bot.py:2 in <module>)" in output


async def talk(url):
    """All that Poe and strangers may send."""
    async with Conversation(url, KEY) as poe:
        words = ("echo", "raise", "task", "upload", "clean-up", "unfinished", "newline", "dict")
        for word in words:
            answer = poe.ask(f"{word} {MESSAGE}")
            async for _ in answer:
                pass
        await poe.settings()
        await poe.report_feedback("m", "like")
        await poe.report_error(f"trouble with {MESSAGE}", {"said": MESSAGE, "key": KEY})
        # Last: the bot raises, and uvicorn closes the connection.
        with suppress(Refused, NotAnswering):
            await poe.report_reaction("m", MESSAGE)
    async with httpx.AsyncClient() as http:
        half_an_emoji = json.loads(query(f"echo {MESSAGE}").model_dump_json())
        half_an_emoji["query"][0]["content"] += "\ud83d"
        body = json.dumps(half_an_emoji)
        answer = await http.post(url, content=body, headers={"Authorization": f"Bearer {KEY}"})
        assert "event: error" in answer.text
        assert answer.text.endswith("event: done\r\ndata: {}\r\n\r\n")
        await http.get(url)
        await http.post(url, json={"said": MESSAGE}, headers={"Authorization": f"Bearer {OTHER}"})
        for body in (
            MESSAGE,
            json.dumps({"type": MESSAGE}),
            json.dumps({"type": "query", MESSAGE: 1}),
        ):
            await http.post(url, content=body, headers={"Authorization": f"Bearer {KEY}"})
