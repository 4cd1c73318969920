"""Each file of examples/ as its user runs it: the real package, and the stand-in for Poe."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.aws_lambda.service import FunctionConfig, InitError, LocalLambda
from poe.standin.uploads import served_files
from tests.support.examples import EXAMPLES, Runner
from tests.support.package import KEY

pytestmark = pytest.mark.anyio


@pytest.fixture
def run(build_with_bot: Callable[[str], Path], runtime_python: Path, tmp_path: Path) -> Runner:
    return Runner(build_with_bot, runtime_python, tmp_path)


def test_every_example_has_a_test_here_and_a_line_in_the_readme() -> None:
    here = Path(__file__).read_text()
    readme = (EXAMPLES.parent / "README.md").read_text()
    for example in (*EXAMPLES.glob("*.py"), *(bot.parent for bot in EXAMPLES.glob("*/bot.py"))):
        assert f'"{example.name}"' in here
        assert f"examples/{example.name}" in readme


async def test_echo_repeats_the_message(run: Runner) -> None:
    async with run.example("echo.py") as bot:
        turn = await bot.ask("hello *there*")
    assert turn.text == "hello *there*"


async def test_sub_bot_lets_another_bot_answer(run: Runner) -> None:
    async with run.example("sub_bot.py") as bot:
        turn = await bot.ask("hello")
    assert turn.text == "Hello, I stand in for GPT-3.5-Turbo on your own machine. You said: hello"
    assert "poe: GPT-3.5-Turbo is called; its stand-in answers" in bot.said


async def test_a_call_that_is_not_declared_gets_poes_words_and_its_author_the_fix(
    run: Runner,
) -> None:
    source = (EXAMPLES / "sub_bot.py").read_text().replace("={MODEL: 1}", "={}")
    async with run.source(source) as bot:
        turn = await bot.ask("hello")
    assert turn.error == "The bot encountered an unexpected issue."
    said = "\n".join(bot.said)
    assert "called on bot that has 0 or undefined call count in settings" in said
    # fastapi_poe tries twice, and each time the fix is the same.
    fixes = {line for line in bot.said if line.startswith("poe: ")}
    assert fixes == {
        "poe: GPT-3.5-Turbo was called, but the bot's settings don't declare it: "
        'add server_bot_dependencies={"GPT-3.5-Turbo": 1} in get_settings'
    }


async def test_prompt_goes_ahead_of_the_conversation(run: Runner) -> None:
    async with run.example("prompt.py") as bot:
        await bot.ask("hello")
        await bot.ask("and now?")
        settings = await bot.poe.settings()
    assert [message.role for message in bot.record.calls[-1].query.query] == [
        "system",
        "user",
        "bot",
        "user",
    ]
    assert "lighthouse" in bot.record.calls[-1].query.query[0].content
    assert settings["introduction_message"]


async def test_own_provider_is_asked_with_the_second_key(run: Runner) -> None:
    async with _provider() as (url, asked):
        variables = {"OPENAI_API_KEY": "another", "OPENAI_BASE_URL": url}
        async with run.example("own_provider.py", **variables) as bot:
            await bot.ask("hello")
            turn = await bot.ask("again")
    assert turn.text == "Three short pieces"
    assert [event.name for event in turn.events] == ["text", "text", "text", "done"]
    assert asked[1]["messages"] == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Three short pieces"},
        {"role": "user", "content": "again"},
    ]


async def test_own_provider_says_so_when_its_key_is_refused(run: Runner) -> None:
    async with _provider() as (url, _):
        variables = {"OPENAI_API_KEY": "wrong", "OPENAI_BASE_URL": url}
        async with run.example("own_provider.py", **variables) as bot:
            turn = await bot.ask("hello")
    assert turn.error == "The model's provider answered with status 401."


async def test_remember_counts_in_memory_where_there_is_no_table(run: Runner) -> None:
    async with run.folder("remember") as bot:
        answers = [(await bot.ask("hello")).text for _ in range(2)]
    assert answers == [f"This is message {count} of yours." for count in (1, 2)]


async def test_openai_library_streams_what_a_model_of_poe_answers(run: Runner) -> None:
    async with run.folder("openai_library", POE_API_KEY="any") as bot:
        await bot.ask("hello")
        turn = await bot.ask("again")
    assert turn.text == "Hello, I stand in for GPT-4o on your own machine. You said: again"
    assert len([event for event in turn.events if event.name == "text"]) > 10
    roles = [message["role"] for message in bot.record.completions[1]["messages"]]
    assert roles == ["user", "assistant", "user"]


async def test_json_answer_reads_what_the_folder_lets_another_bot_answer(run: Runner) -> None:
    async with run.folder("json_answer") as bot:
        soup = await bot.ask("I want soup")
        first = await bot.ask("anything")
        second = await bot.ask("anything")
    assert soup.text.splitlines()[0] == "1. Peel the carrots."
    assert first.text == "1. Begin.\n2. Go on.\n3. Stop.\n"
    assert second.error == "GPT-4o gave no plan: ask again."


async def test_side_by_side_asks_all_at_once_and_shows_each_answer_as_it_comes(run: Runner) -> None:
    source = (EXAMPLES / "side_by_side.py").read_text().replace("GPT-3.5-Turbo", "Slow")
    async with run.source(source) as bot:
        turn = await bot.ask("after 1500 ms")
    assert [event.name for event in turn.events] == ["text", *["replace_response"] * 3, "done"]
    shown = [event.fields["text"] for event in turn.events[:-1] if event.fields]
    # Slow is asked first, and comes last. Two that answer in the same moment are shown together.
    assert [text.count("is thinking") for text in shown] in ([3, 2, 1, 0], [3, 1, 1, 0])
    assert "**Slow**\n\n*is thinking …*" in shown[2]
    assert turn.text.startswith("**Slow**\n\nSorry to have kept you waiting.")


async def test_side_by_side_shows_the_others_where_one_fails(run: Runner) -> None:
    source = (EXAMPLES / "side_by_side.py").read_text().replace("Claude-3-Haiku", "Failing")
    async with run.source(source) as bot:
        turn = await bot.ask("hello")
    assert turn.text.count("You said: hello") == 2
    assert "**Failing**\n\n*did not answer*" in turn.text


async def test_tools_are_run_and_their_results_told(run: Runner) -> None:
    async with run.example("tools.py") as bot:
        turn = await bot.ask("roll")
    assert re.search(r"roll_dice gave \[[1-6]\]\.", turn.text)
    assert len(bot.record.calls) == 2


async def test_tool_loop_remembers_what_it_looked_up(run: Runner) -> None:
    async with run.example("tool_loop.py") as bot:
        first = await bot.ask("the Art Hall")
        again = await bot.ask("the Art Hall")
        other = await bot.ask("the Zoo")
    looked_up = "*Looking that up …*"
    assert first.text.startswith(looked_up)
    assert first.text.endswith("opening_hours gave 10 to 18.")
    assert again.text == "I asked the tools: opening_hours gave 10 to 18."
    assert other.text.startswith(looked_up)
    assert len(json.loads(other.metadata or "")) == 2


async def test_read_files_reads_what_poe_parsed_and_downloads_the_rest(
    run: Runner, tmp_path: Path
) -> None:
    files = {"a.txt": b"one two three", "b.pdf": b"%PDF", "c.png": b"\x89PNG\r\n"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with served_files([tmp_path / name for name in files]) as [text, pdf, picture]:
        pdf["parsed_content"] = "five words in a PDF"
        async with run.example("read_files.py") as bot:
            turn = await bot.ask("what is this?", attachments=[text, pdf, picture])
            settings = await bot.poe.settings()
    assert turn.text.splitlines() == [
        "3 attached.",
        "- a.txt (text/plain): 3 words, read by Poe",
        "- b.pdf (application/pdf): 5 words, read by Poe",
        "- c.png (image/png): 6 bytes, downloaded",
    ]
    assert settings["allow_attachments"]
    assert settings["expand_text_attachments"]


async def test_send_files_shows_a_picture_and_attaches_a_table(run: Runner) -> None:
    async with run.example("send_files.py") as bot:
        turn = await bot.ask("what is it like today?")
    picture, table = turn.files
    assert f"![the sea][{picture['inline_ref']}]" in turn.text
    assert (picture["content_type"], table["content_type"]) == ("image/png", "text/csv")
    assert table["inline_ref"] is None
    # The picture comes ahead of the text that names it.
    assert [event.name for event in turn.events][:2] == ["file", "text"]
    assert [_is_png(content) for content in run.uploaded()].count(True) == 1


async def test_replies_are_suggested_and_meta_comes_first(run: Runner) -> None:
    async with run.example("replies.py") as bot:
        turn = await bot.ask("Rock")
    assert turn.suggested_replies == ("Rock", "Paper", "Scissors")
    assert turn.content_type == "text/plain"
    assert turn.text == "I play paper *and win*. Once more?"


async def test_parameters_are_declared_and_heeded(run: Runner) -> None:
    async with run.example("parameters.py") as bot:
        plain = await bot.ask("land ahoy")
        chosen = await bot.ask("land ahoy", parameters={"marks": 2, "letters": "title"})
        twice = await bot.ask("land ahoy", parameters={"marks": 0, "echo": True})
        settings = await bot.poe.settings()
    assert (plain.text, chosen.text) == ("LAND AHOY!", "Land Ahoy!!")
    assert twice.text == "LAND AHOY\nLAND AHOY"
    [section] = settings["parameter_controls"]["sections"]
    names = [control["parameter_name"] for control in section["controls"]]
    assert names == ["marks", "letters", "echo"]


async def test_paid_work_is_authorized_then_captured(run: Runner) -> None:
    async with run.example("paid.py") as bot:
        turn = await bot.ask("three small words")
    assert turn.text == "Three Small Words "
    costs = [(cost.action, cost.items[0].amount_usd_milli_cents) for cost in bot.record.costs]
    assert costs == [("authorize", 150), ("capture", 150)]


async def test_paid_work_is_not_begun_for_a_user_who_cannot_pay(run: Runner) -> None:
    async with run.example("paid.py") as bot:
        turn = await bot.ask("word " * 20_001)
    [error, _] = turn.events
    assert error.fields is not None
    assert error.fields["error_type"] == "insufficient_fund"
    assert [cost.action for cost in bot.record.costs] == ["authorize"]


async def test_reports_go_to_the_log_without_their_texts(run: Runner) -> None:
    async with run.example("reports.py") as bot:
        await bot.ask("hello")
        await bot.poe.report_feedback("m-1", "like")
        await bot.poe.report_reaction("m-2", "fire")
        await bot.poe.report_error("Bot returned SOMETHING", {"message_id": "m-3", "data": "TEXT"})
    records = [json.loads(line) for line in bot.said if line.startswith("{")]
    messages = [(r["level"], r["message"]) for r in records if "message" in r]
    assert ("INFO", "a like for message m-1") in messages
    assert ("INFO", "a reaction to message m-2") in messages
    assert ("WARN", "Poe could not use the answer m-3") in messages
    assert "TEXT" not in "".join(bot.said)


async def test_http_request_tells_of_headers_and_of_lambda(run: Runner) -> None:
    async with run.example("http_request.py") as bot:
        turn = await bot.ask("who?")
    assert re.fullmatch(
        r"python-httpx/\S+ asks me from 127\.0\.0\.1\. Lambda gives this answer 61\d seconds\.",
        turn.text,
    )


async def test_several_bots_answer_each_to_its_own_key(
    build_with_bot: Callable[[str], Path], runtime_python: Path
) -> None:
    variables = {"ECHO_ACCESS_KEY": "e" * 32, "REVERSE_ACCESS_KEY": "r" * 32}
    source = (EXAMPLES / "several_bots.py").read_text()
    config = FunctionConfig(build_with_bot(source), runtime_python, environment=variables)
    async with LocalLambda(config, on_line=lambda line: None) as function, httpx.AsyncClient() as h:

        async def status(path: str, key: str) -> int:
            body = {"type": "settings", "version": "1.2"}
            headers = {"Authorization": f"Bearer {key}"}
            return (await h.post(function.url + path, json=body, headers=headers)).status_code

        statuses = [
            await status(path, key * 32)
            for path, key in [("echo", "e"), ("echo", "r"), ("reverse", "r"), ("", "e")]
        ]
    assert statuses == [200, 401, 200, 404]


async def test_a_bot_without_a_key_is_refused_at_the_start_naming_its_path(
    build_with_bot: Callable[[str], Path], runtime_python: Path
) -> None:
    source = (EXAMPLES / "several_bots.py").read_text()
    source = source.replace(', access_key=os.environ["REVERSE_ACCESS_KEY"]', "")
    variables = {"ECHO_ACCESS_KEY": "e" * 32, "POE_ACCESS_KEY": KEY}
    config = FunctionConfig(build_with_bot(source), runtime_python, environment=variables)
    async with LocalLambda(config, on_line=lambda line: None) as function:
        with pytest.raises(InitError, match="the bot on path /reverse: there is no access key"):
            await function.warm()


@asynccontextmanager
async def _provider() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A model's API in OpenAI's form: its URL, and the bodies that it was asked with."""
    asked: list[dict[str, Any]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(re.search(r"content-length: (\d+)", head, re.I)[1])  # type: ignore[index]
        asked.append(json.loads(await reader.readexactly(length)))
        allowed = "Bearer another\r\n" in head and head.startswith("POST /v1/chat/completions ")
        if not allowed:
            # All at once: the bot leaves as soon as it has read the status.
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        else:
            kind = "Content-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            writer.write(f"HTTP/1.1 200 OK\r\n{kind}".encode())
            for piece in ("Three ", "short ", "pieces"):
                choice = {"index": 0, "delta": {"content": piece}}
                writer.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
            writer.write(b'data: {"choices": [], "usage": {}}\n\ndata: [DONE]\n\n')
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1", asked


def _is_png(data: bytes) -> bool:
    return data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")
