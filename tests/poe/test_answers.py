"""What the stand-in's bots answer by a file in the bot's folder, to both forms of a call."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import fastapi_poe as fp
import httpx
import openai
import pytest
from fastapi_poe.client import BotError, BotErrorNoRetry

from infra.package.shipped import shipped
from poe.standin.standin import PoeStandIn
from tests.support.stand_in import KEY, PERSONS_KEY, stand_in

pytestmark = pytest.mark.anyio


class Answering:
    """A stand-in with a file of answers that a test writes and changes."""

    def __init__(self, file: Path, lines: list[str]) -> None:
        self.file = file
        self.lines = lines

    async def parts(self, bot: str, said: str = "Hello", **more: Any) -> list[fp.PartialResponse]:
        message = fp.ProtocolMessage(role="user", content=said)
        ids = dict.fromkeys(("user_id", "conversation_id", "message_id"), "")
        query = fp.QueryRequest(query=[message], version="1.2", type="query", **ids)
        more |= {"num_tries": 1, "on_error": lambda error, said: None}
        return [part async for part in fp.stream_request(query, bot, PERSONS_KEY, **more)]

    async def text(self, bot: str, said: str = "Hello") -> str:
        return "".join(part.text for part in await self.parts(bot, said))

    async def completion(self, bot: str, said: str = "Hello") -> openai.types.chat.ChatCompletion:
        async with openai.AsyncOpenAI(
            api_key=PERSONS_KEY, base_url="https://api.poe.com/v1", max_retries=0
        ) as client:
            return await client.chat.completions.create(
                model=bot, messages=[{"role": "user", "content": said}]
            )

    async def content(self, bot: str, said: str = "Hello") -> str | None:
        return (await self.completion(bot, said)).choices[0].message.content


@pytest.fixture(scope="module")
async def shared(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[PoeStandIn, Answering]]:
    folder = tmp_path_factory.mktemp("bot")
    answering = Answering(folder / "poe_answers.toml", [])
    async with PoeStandIn(
        access_key=KEY,
        personal_key=PERSONS_KEY,
        folder=folder / "poe",
        answers=answering.file,
        on_line=answering.lines.append,
    ) as poe:
        yield poe, answering


@pytest.fixture
def answering(
    shared: tuple[PoeStandIn, Answering], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Answering]:
    """Without a file yet."""
    poe, answering = shared
    for name, value in poe.environment.items():
        monkeypatch.setenv(name, value)
    answering.lines.clear()
    yield answering
    if answering.file.is_dir():
        answering.file.rmdir()
    answering.file.unlink(missing_ok=True)


async def test_a_bot_answers_in_json_to_both_forms_of_a_call(answering: Answering) -> None:
    answering.file.write_text(
        '[[answer]]\nbot = "GPT-4"\njson = {steps = ["buy", "é"], cost = 1.5}'
    )
    for answer in (await answering.text("GPT-4"), await answering.content("GPT-4")):
        assert json.loads(answer or "") == {"steps": ["buy", "é"], "cost": 1.5}
    assert "You said" in await answering.text("GPT-3.5-Turbo")
    assert answering.lines[0] == "poe: GPT-4 is called; poe_answers.toml answers"
    assert answering.lines[-1] == "poe: GPT-3.5-Turbo is called; its stand-in answers"


async def test_a_text_arrives_exactly_as_it_stands_there(answering: Answering) -> None:
    code = "Here:\n\n```python\n  print('x')\n```\n\n"
    answering.file.write_text(f'[[answer]]\ntext = """{code}"""\npause = 0')
    assert await answering.text("Any") == code
    assert await answering.content("Any") == code
    answering.file.write_text('[[answer]]\ntext = ["one piece", " and another"]')
    assert [part.text for part in await answering.parts("Any")] == ["one piece", " and another"]
    answering.file.write_text('[[answer]]\ntext = ""')
    assert await answering.text("Any") == ""


async def test_the_first_block_that_fits_the_message_answers(answering: Answering) -> None:
    answering.file.write_text(
        '[[answer]]\nbot = "A"\nwhen = "(?i)plan\\\\b"\ntext = "a plan"\n'
        '[[answer]]\nbot = "A"\ntext = "anything"\n'
        '[[answer]]\nwhen = "plan"\ntext = "for everyone"\n'
    )
    said = [
        await answering.text(*call) for call in (("A", "My PLAN?"), ("A", "planet"), ("B", "plan"))
    ]
    assert said == ["a plan", "anything", "for everyone"]
    assert "You said: no" in await answering.text("B", "no")


async def test_blocks_for_the_same_calls_take_turns(answering: Answering) -> None:
    answering.file.write_text(
        '[[answer]]\nbot = "A"\nerror = "Busy."\n[[answer]]\nbot = "A"\ntext = "second"\n'
    )
    for _ in range(2):
        with pytest.raises(BotError, match="Busy"):
            await answering.parts("A")
        assert await answering.text("A") == "second"


async def test_errors_say_whether_to_retry_and_have_their_status(answering: Answering) -> None:
    answering.file.write_text(
        '[[answer]]\nbot = "A"\nerror = "Busy."\nstatus = 429\n'
        '[[answer]]\nbot = "B"\ntext = "Half"\nerror = "Never."\nallow_retry = false\n'
    )
    with pytest.raises(BotError) as caught:
        await answering.parts("A")
    assert not isinstance(caught.value, BotErrorNoRetry)
    with pytest.raises(BotErrorNoRetry, match="Never"):
        await answering.parts("B")
    with pytest.raises(openai.RateLimitError, match="Busy"):
        await answering.completion("A")
    with pytest.raises(openai.InternalServerError, match="Never"):
        await answering.completion("B")


async def test_a_slow_answer_waits_before_its_start_and_between_pieces(
    answering: Answering,
) -> None:
    answering.file.write_text('[[answer]]\ntext = ["a", "b"]\nafter = 0.2\npause = 0.3')
    began = time.monotonic()
    assert await answering.text("Any") == "ab"
    assert time.monotonic() - began > 0.5


async def test_tools_are_called_as_told_and_their_results_answered(answering: Answering) -> None:
    answering.file.write_text(
        '[[answer]]\ntool_calls = [{name = "roll", arguments = {sides = 20}}, {name = "stop"}]'
    )
    completion = await answering.completion("Any")
    calls = completion.choices[0].message.tool_calls or []
    assert [(c.function.name, c.function.arguments) for c in calls if c.type == "function"] == [
        ("roll", '{"sides": 20}'),
        ("stop", "{}"),
    ]

    def roll(sides: int) -> str:
        return f"{sides - 1} of {sides}"

    def stop() -> str:
        return "stopped"

    tools = [
        fp.ToolDefinition(
            type="function",
            function={
                "name": name,
                "description": "",
                "parameters": {"type": "object", "properties": {}},
            },
        )
        for name in ("roll", "stop")
    ]
    parts = await answering.parts("Any", tools=tools, tool_executables=[roll, stop])
    said = "".join(part.text for part in parts)
    assert "roll gave 19 of 20 and stop gave stopped" in said.replace('"', "")


async def test_files_of_the_folder_are_attached(answering: Answering) -> None:
    (answering.file.parent / "pie.png").write_bytes(b"\x89PNG")
    answering.file.write_text('[[answer]]\ntext = "Look"\nfiles = ["pie.png"]')
    [attached] = [part.attachment for part in await answering.parts("Any") if part.attachment]
    assert (attached.name, attached.content_type) == ("pie.png", "image/png")
    async with httpx.AsyncClient() as http:
        assert (await http.get(attached.url)).content == b"\x89PNG"
    assert "(https://www.quora.com/poe_api/attachments/" in (await answering.content("Any") or "")


async def test_a_change_counts_from_the_next_call_on(answering: Answering) -> None:
    assert "You said" in await answering.text("Any")
    answering.file.write_text('[[answer]]\ntext = "first"')
    assert await answering.text("Any") == "first"
    answering.file.write_text('[[answer]]\ntext = "another"')
    assert await answering.text("Any") == "another"
    answering.file.unlink()
    assert "You said" in await answering.text("Any")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[[answer]]\ntext = ", "isn't TOML: Invalid value (at end of document)"),
        (b"[[answer]\n", "isn't TOML: Expected ']]' at the end of an array declaration (at line 1"),
        (b"\xff\xfe", "isn't UTF-8: save it as UTF-8"),
        (b"x = " + b"[" * 5000, "can't be used (RecursionError)"),
        (
            b"[[answers]]\ntext = 'x'",
            "`answers` isn't known here: begin each answer with [[answer]]",
        ),
        (b"[answer]\ntext = 'x'", "begin each answer with [[answer]]"),
        (
            b"[[answer]]\ntext = 'x'\n[[answer]]\ntxt = 'x'",
            "answer 2: `txt` isn't one of bot, when, text, json,",
        ),
        (b"[[answer]]\ntext = 7", "answer 1: text: Input should be a valid string. Until"),
        (
            b"[[answer]]\ntool_calls = [{name = 'f', args = {}}]",
            "answer 1: tool_calls: 0: `args` isn't one of name, arguments. Until",
        ),
        (b"[[answer]]\ntext = 'x'\njson = 1", "answer 1: give either text or json"),
        (b"[[answer]]\nbot = 'A'", "answer 1: there is no text, json, tool_calls, files or error"),
        (b"[[answer]]\ntext = 'x'\nwhen = '('", "answer 1: when: Input should be a valid regular"),
        (b"[[answer]]\ntext = 'x'\nafter = -1", "answer 1: after: Input should be greater than"),
        (b"[[answer]]\nerror = 'x'\nstatus = 200", "answer 1: status: Input should be greater"),
        (b"[[answer]]\nfiles = ['none.png']", "answer 1: there is no file none.png in its folder"),
    ],
)
async def test_a_fault_is_one_line_and_the_usual_answers_go_on(
    answering: Answering, content: bytes, fault: str
) -> None:
    answering.file.write_bytes(content)
    for _ in range(2):
        assert "You said" in await answering.text("Any")
    [line] = [line for line in answering.lines if "poe_answers.toml" in line]
    assert line.startswith(f"poe: {answering.file}")
    assert fault in line
    assert "\n" not in line


async def test_a_file_that_went_away_is_named(answering: Answering) -> None:
    attached = answering.file.parent / "gone.png"
    attached.write_bytes(b"")
    answering.file.write_text('[[answer]]\ntext = "Look"\nfiles = ["gone.png"]')
    assert await answering.text("Any") == "Look"
    attached.unlink()
    assert await answering.text("Any") == "Look"
    assert answering.lines[-1] == f"poe: {attached} isn't attached: No such file or directory"


async def test_a_folder_in_its_place_is_named(answering: Answering) -> None:
    answering.file.mkdir()
    assert "You said" in await answering.text("Any")
    assert "poe_answers.toml can't be read: Is a directory" in answering.lines[0]


async def test_a_fault_is_reported_before_the_first_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "poe_answers.toml").write_text("[[")
    lines: list[str] = []
    options = {"answers": tmp_path / "poe_answers.toml", "on_line": lines.append}
    async with stand_in(tmp_path / "poe", monkeypatch, **options) as poe:
        poe.prepare()
    assert "isn't TOML" in lines[0]


async def test_bots_that_the_file_names_are_listed(answering: Answering) -> None:
    answering.file.write_text('[[answer]]\nbot = "My-Own"\ntext = "x"')
    async with httpx.AsyncClient() as http:
        models = (await http.get("https://api.poe.com/v1/models")).json()["data"]
    assert models[0]["id"] == "My-Own"


def test_the_file_does_not_ship(tmp_path: Path) -> None:
    for name in ("bot.py", "poe_answers.toml"):
        (tmp_path / name).write_text("")
    assert [*shipped(tmp_path).files] == ["bot.py"]
