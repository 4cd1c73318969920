"""The stand-in for Poe, met as a bot's code meets it: by fastapi_poe's client and a proxy."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastapi_poe as fp
import httpx
import pytest
from fastapi_poe.client import BotError, BotErrorNoRetry

from poe.client.conversation import Refused
from poe.standin.declared import BadSettings
from poe.standin.standin import PoeStandIn
from tests.support.closed import CLOSED
from tests.support.stand_in import KEY, stand_in


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PoeStandIn]:
    folder = tmp_path_factory.mktemp("poe")
    async with PoeStandIn(access_key=KEY, folder=folder, on_line=lambda line: None) as poe:
        yield poe


@pytest.fixture
def poe(shared: PoeStandIn, monkeypatch: pytest.MonkeyPatch) -> PoeStandIn:
    """A stand-in that checks no declarations and remembers nothing yet."""
    for name, value in shared.environment.items():
        monkeypatch.setenv(name, value)
    shared.record.calls.clear()
    shared.record.reports.clear()
    return shared


def query(said: str = "Hello", **changes: Any) -> fp.QueryRequest:
    message = fp.ProtocolMessage(role="user", content=said)
    ids = {"message_id": "m-1", "user_id": "u-1", "conversation_id": "c-1"}
    return fp.QueryRequest(query=[message], version="1.2", type="query", **(ids | changes))


async def ask(bot: str, said: str = "Hello", **changes: Any) -> str:
    request = query(said, **changes)
    messages = [m async for m in fp.stream_request(request, bot, KEY, on_error=no_print)]
    return "".join(message.text for message in messages)


def no_print(error: Exception, message: str) -> None:
    """By default, fastapi_poe prints every failed try."""


def declaring(**calls: int) -> Any:
    async def settings() -> dict[str, Any]:
        return fp.SettingsResponse(server_bot_dependencies=calls).model_dump()

    return settings


@pytest.mark.anyio
async def test_another_process_needs_nothing_but_the_environment(tmp_path: Path) -> None:
    script = (
        "import fastapi_poe as fp\n"
        "message = fp.ProtocolMessage(role='user', content='over the wire')\n"
        f"answer = fp.get_bot_response_sync([message], 'Echo', '{'p' * 20}')\n"
        "print(''.join(part.text for part in answer))\n"
    )
    async with PoeStandIn(access_key=KEY, personal_key="p" * 20, folder=tmp_path) as poe:
        run = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-W", "ignore", "-c", script],
            env=poe.environment | {"PATH": os.defpath},
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert (run.stdout, run.stderr) == ("over the wire\n", "")


@pytest.mark.anyio
async def test_any_name_is_a_model_that_answers_word_by_word(poe: PoeStandIn) -> None:
    seen: list[float] = []
    words: list[str] = []
    async for message in fp.stream_request(query("Hi"), "GPT-3.5-Turbo", KEY):
        seen.append(time.monotonic())
        words.append(message.text)
    called = poe.record.calls[0]
    assert "".join(words).endswith("GPT-3.5-Turbo on your own machine. You said: Hi")
    assert seen[-1] - seen[0] > 0.03 * (len(words) - 2)
    assert called.bot == "GPT-3.5-Turbo"
    assert called.query.query[-1].content == "Hi"


@pytest.mark.anyio
async def test_the_pace_of_words_is_chosen_by_the_message(poe: PoeStandIn) -> None:
    started = time.monotonic()
    answer = await ask("Words", "Say 4 words every 100 ms, please")
    assert answer == "word1 word2 word3 word4"
    assert time.monotonic() - started > 0.3


@pytest.mark.anyio
async def test_the_first_word_is_not_held_back(poe: PoeStandIn) -> None:
    gaps = []
    for _ in range(5):
        request = query("2 words every 60 ms")
        seen = [time.monotonic() async for _ in fp.stream_request(request, "Words", KEY)]
        gaps.append(seen[1] - seen[0])
    # Held back until the head's acknowledgement, it would come 40 ms late each time.
    assert max(gaps) > 0.045


@pytest.mark.anyio
async def test_a_long_answer_arrives_whole(poe: PoeStandIn) -> None:
    answer = await ask("Long")
    assert len(answer) == 60_000
    assert answer.splitlines()[-1].startswith("1000 ")


@pytest.mark.anyio
async def test_failing_models_fail_as_they_are_meant_to(poe: PoeStandIn) -> None:
    for bot in ("Failing", "FailingMidway", "NoSuchBot"):
        with pytest.raises(BotErrorNoRetry):
            await ask(bot)
    assert await ask("Slow", "answer after 10 ms") == "Sorry to have kept you waiting."
    assert await ask("Silent") == ""
    assert [report["message"] for report in poe.record.reports] == [
        "Bot returned no text in response"
    ]


@pytest.mark.anyio
async def test_a_tool_is_called_and_its_result_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weather(city: str, days: int) -> str:
        return f"{days} days of sun in {city}"

    parameters = {"city": {"type": "string"}, "days": {"type": "integer"}}
    tool = fp.ToolDefinition(
        type="function",
        function={
            "name": "weather",
            "description": "tells the weather",
            "parameters": {"type": "object", "properties": parameters},
        },
    )
    async with stand_in(tmp_path, monkeypatch, settings=declaring(Model=2)):
        answer = fp.stream_request(
            query("Oslo"), "Model", KEY, tools=[tool], tool_executables=[weather]
        )
        text = "".join([part.text async for part in answer])
        calls = [
            part.tool_calls[0].function
            async for part in fp.stream_request(
                query("Oslo", message_id="m-2"), "Model", KEY, tools=[tool]
            )
        ]
    assert text == 'I asked the tools: weather gave "1 days of sun in Oslo".'
    assert calls[0].name == "weather"
    assert json.loads("".join(c.arguments for c in calls)) == {"city": "Oslo", "days": 1}


@pytest.mark.anyio
async def test_a_call_that_is_not_declared_gets_poes_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    settings = declaring(Words=1)
    async with stand_in(tmp_path, monkeypatch, settings=settings, on_line=lines.append):
        with pytest.raises(BotError, match="m-1 called on bot that has 0 or undefined call count"):
            await ask("Echo")
    assert 'don\'t declare it: add server_bot_dependencies={"Echo": 1}' in lines[0]


@pytest.mark.anyio
async def test_declared_calls_are_counted_for_each_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    settings = declaring(Echo=2)
    async with stand_in(tmp_path, monkeypatch, settings=settings, on_line=lines.append):
        assert await ask("Echo") == "Hello"
        assert await ask("Echo") == "Hello"
        with pytest.raises(BotError, match="undefined call count"):
            await ask("Echo")
        assert await ask("Echo", message_id="m-2") == "Hello"
    assert any("declare 2: raise that" in line for line in lines)


@pytest.mark.anyio
async def test_a_call_that_was_refused_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    settings = declaring(Echo=1)
    async with stand_in(tmp_path, monkeypatch, settings=settings, on_line=lines.append):
        assert await ask("Echo") == "Hello"
        for _ in range(2):
            with pytest.raises(BotError, match="undefined call count"):
                await ask("Echo")
    fixes = {line for line in lines if "raise that with" in line}
    assert [fix.count('{"Echo": 2}') for fix in fixes] == [1]


@pytest.mark.anyio
async def test_several_bots_call_each_with_its_own_key_and_declarations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"m" * 32: declaring(Words=1)}
    settings = declaring(Echo=1)
    async with stand_in(tmp_path, monkeypatch, settings=settings, more_bots=more) as poe:
        await poe.refresh_settings()
        assert await ask("Echo") == "Hello"
        assert await fp.get_final_response(query("1 words every 1 ms"), "Words", "m" * 32)
        with pytest.raises(BotError, match="undefined call count"):
            await fp.get_final_response(
                query(message_id="m-2"), "Echo", "m" * 32, num_tries=1, on_error=no_print
            )
        with pytest.raises(BotErrorNoRetry, match="Invalid API key"):
            await fp.get_final_response(query(), "Echo", "w" * 32, on_error=no_print)


@pytest.mark.anyio
async def test_a_declaration_added_later_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = [{}, {"Echo": 1}]

    async def settings() -> dict[str, Any]:
        return {"server_bot_dependencies": declared.pop(0)}

    async with stand_in(tmp_path, monkeypatch, settings=settings):
        await asyncio.to_thread(fp.sync_bot_settings, "Mine", KEY)
        assert await ask("Echo") == "Hello"


@pytest.mark.anyio
async def test_a_declaration_taken_away_is_noticed_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = [{"Echo": 9}, {}, {}]

    async def settings() -> dict[str, Any]:
        return {"server_bot_dependencies": declared.pop(0)}

    async with stand_in(tmp_path, monkeypatch, settings=settings) as poe:
        assert await ask("Echo") == "Hello"
        await poe.refresh_settings()
        with pytest.raises(BotError, match="undefined call count"):
            await fp.get_final_response(query(), "Echo", KEY, num_tries=1, on_error=no_print)


@pytest.mark.anyio
async def test_settings_that_the_bot_does_not_give_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def settings() -> dict[str, Any]:
        raise ConnectionRefusedError

    async with stand_in(tmp_path, monkeypatch, settings=settings):
        with pytest.raises(BotErrorNoRetry, match="doesn't answer a settings request"):
            await ask("Echo")


@pytest.mark.anyio
async def test_a_bot_with_a_key_of_its_own_is_told_where_to_take_it_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def settings() -> dict[str, Any]:
        raise Refused(401, "Invalid access key")

    async with stand_in(tmp_path, monkeypatch, settings=settings) as poe:
        with pytest.raises(BadSettings, match=r"with status 401: take its access key from a var"):
            await poe.refresh_settings()


@pytest.mark.anyio
async def test_a_wrong_key_and_a_query_of_nobody_are_refused(poe: PoeStandIn) -> None:
    async with httpx.AsyncClient(headers={"Authorization": f"Basic {KEY}"}) as http:
        reply = await http.post("https://api.poe.com/bot/Echo", json={"type": "query"})
    assert reply.status_code == 401
    with pytest.raises(BotErrorNoRetry, match="Invalid API key"):
        await fp.get_final_response(query(), "Echo", "w" * 32)
    with pytest.raises(BotErrorNoRetry, match="The query has no user_id: pass on"):
        await ask("Echo", user_id="")


@pytest.mark.anyio
async def test_an_invalid_query_is_refused_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    async with stand_in(tmp_path, monkeypatch, on_line=lines.append), httpx.AsyncClient() as http:
        reply = await http.post(
            "https://api.poe.com/bot/Echo",
            json={"type": "query", "version": "1.2", "query": "private words"},
            headers={"Authorization": f"Bearer {KEY}"},
        )
    assert reply.status_code == 400
    assert "query: Input should be a valid list" in reply.text
    assert "private words" not in reply.text + "".join(lines)


@pytest.mark.anyio
async def test_with_a_persons_key_calls_go_on_to_poe_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand_in(tmp_path / "poe", monkeypatch, personal_key="p" * 20) as real:
        nearer = stand_in(
            tmp_path, monkeypatch, api_key="p" * 20, settings=declaring(Echo=1, NoSuchBot=1)
        )
        async with nearer as poe:
            ours = {"metadata": "ours", "access_key": KEY, "api_key": KEY}
            assert await ask("Echo", "to Poe", **ours) == "to Poe"
            with pytest.raises(BotErrorNoRetry, match="does not exist"):
                await ask("NoSuchBot")
    assert [call.bot for call in real.record.calls] == ["Echo", "NoSuchBot"]
    assert real.record.calls[0].query.metadata == ""
    assert KEY not in real.record.calls[0].query.model_dump_json()
    assert len(poe.record.calls) == 2


@pytest.mark.anyio
async def test_an_unreachable_poe_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{CLOSED}")
    async with stand_in(tmp_path, monkeypatch, api_key="p" * 20):
        with pytest.raises(BotError, match="Poe can't be reached"):
            await ask("Echo")


@pytest.mark.anyio
async def test_leaving_cuts_answers_that_are_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand_in(tmp_path, monkeypatch):
        pending = asyncio.create_task(ask("Slow", "after 60000 ms"))
        await asyncio.sleep(0.3)
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 5
    pending.cancel()
    await asyncio.gather(pending, return_exceptions=True)


def test_a_start_does_not_wait_for_fastapi() -> None:
    """It takes longer to import than all else together: half a second, or more."""
    code = (
        "import sys, commands.run, poe.standin.standin; "
        "print({'fastapi', 'pydantic', 'fastapi_poe', 'trustme', 'boto3'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.anyio
async def test_the_first_call_is_answered_whether_it_was_prepared_for_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for prepared in (True, False):
        async with stand_in(tmp_path / str(prepared), monkeypatch) as poe:
            if prepared:
                poe.prepare()
            assert await ask("Echo", "at once") == "at once"
