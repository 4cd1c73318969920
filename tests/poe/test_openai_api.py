"""Poe's API in OpenAI's form, as the stand-in plays it, by OpenAI's own client."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from poe.standin.standin import PoeStandIn
from tests.support.stand_in import KEY, PERSONS_KEY, stand_in

pytestmark = pytest.mark.anyio

BASE = "https://api.poe.com/v1"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
async def shared(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[PoeStandIn, list[str]]]:
    lines: list[str] = []
    folder = tmp_path_factory.mktemp("poe")
    async with PoeStandIn(
        access_key=KEY, personal_key=PERSONS_KEY, folder=folder, on_line=lines.append
    ) as poe:
        yield poe, lines


@pytest.fixture
def poe(shared: tuple[PoeStandIn, list[str]], monkeypatch: pytest.MonkeyPatch) -> PoeStandIn:
    for name, value in shared[0].environment.items():
        monkeypatch.setenv(name, value)
    return shared[0]


@pytest.fixture
def lines(shared: tuple[PoeStandIn, list[str]]) -> list[str]:
    shared[1].clear()
    return shared[1]


@pytest.fixture
async def client(poe: PoeStandIn) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key=PERSONS_KEY, base_url=BASE, max_retries=0) as client:
        yield client


async def test_an_answer_comes_whole(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="Echo", messages=user("Hello"))
    [choice] = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "Hello")
    assert (choice.finish_reason, answer.object, answer.model) == (
        "stop",
        "chat.completion",
        "Echo",
    )
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 2)
    assert answer.usage.total_tokens == 4


async def test_an_answer_streams_word_by_word_and_ends_with_its_usage(
    client: openai.AsyncOpenAI,
) -> None:
    stream = await client.chat.completions.create(
        model="Words",
        messages=user("3 words every 200 ms"),
        stream=True,
        stream_options={"include_usage": True},
    )
    came: list[float] = []
    chunks = []
    async for chunk in stream:
        chunks.append(chunk)
        came.append(asyncio.get_running_loop().time())
    *pieces, last = chunks
    assert [piece.choices[0].delta.content for piece in pieces] == [
        "", "word1", " word2", " word3", None,
    ]  # fmt: skip
    assert pieces[0].choices[0].delta.role == "assistant"
    assert [piece.choices[0].finish_reason for piece in pieces] == [None] * 4 + ["stop"]
    assert (last.choices, last.usage and last.usage.completion_tokens) == ([], 6)
    assert len({chunk.id for chunk in chunks}) == 1
    assert came[3] - came[1] > 0.2  # 0.4, unless the first ones were held back


async def test_without_asking_there_is_no_usage_in_a_stream(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="Echo", messages=user("Hello"), stream=True)
    assert all([chunk.choices and chunk.usage is None async for chunk in stream])


async def test_the_client_that_blocks_works_too(poe: PoeStandIn) -> None:
    def ask() -> str:
        with openai.OpenAI(api_key=PERSONS_KEY, base_url=BASE) as client:
            stream = client.chat.completions.create(
                model="Echo", messages=user("Hello"), stream=True
            )
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await asyncio.to_thread(ask) == "Hello"


async def test_a_tool_is_called_and_its_result_comes_back(client: openai.AsyncOpenAI) -> None:
    asked = user("Oslo")
    answer = await client.chat.completions.create(model="GPT-4o", messages=asked, tools=[TOOL])
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    [call] = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Oslo"}')
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    told = await client.chat.completions.create(
        model="GPT-4o", messages=[*asked, choice.message.model_dump(), result], tools=[TOOL]
    )
    assert told.choices[0].message.content == "I asked the tools: weather gave sunny."


async def test_a_tools_arguments_stream_in_pieces(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="GPT-4o", messages=user("Oslo"), tools=[TOOL]
    ) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_completion()
    assert kinds.count("tool_calls.function.arguments.delta") >= 2
    [call] = final.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "Oslo"}


@pytest.mark.parametrize(
    ("choice", "reason"),
    [("none", "stop"), ("auto", "tool_calls"), ("required", "tool_calls")],
)
async def test_the_choice_of_tools_is_heeded(
    client: openai.AsyncOpenAI, choice: Any, reason: str
) -> None:
    answer = await client.chat.completions.create(
        model="GPT-4o", messages=user("Oslo"), tools=[TOOL], tool_choice=choice
    )
    assert answer.choices[0].finish_reason == reason


async def test_a_named_tool_is_the_one_that_is_called(client: openai.AsyncOpenAI) -> None:
    other = {"type": "function", "function": {"name": "tides"}}
    answer = await client.chat.completions.create(
        model="GPT-4o",
        messages=user("Oslo"),
        tools=[TOOL, other],
        tool_choice={"type": "function", "function": {"name": "tides"}},
    )
    [call] = answer.choices[0].message.tool_calls or []
    assert call.function.name == "tides"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_ends_at_the_most_tokens(client: openai.AsyncOpenAI, name: str) -> None:
    answer = await client.chat.completions.create(
        model="Words", messages=user("9 words every 0 ms"), **{name: 5}
    )
    assert answer.choices[0].message.content == "word1 word2"
    assert answer.choices[0].finish_reason == "length"


async def test_parts_of_a_message_are_read_and_unknown_fields_ignored(
    client: openai.AsyncOpenAI,
) -> None:
    parts = [
        {"type": "text", "text": "See this:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    answer = await client.chat.completions.create(
        model="Echo",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}],
        seed=7,
        response_format={"type": "json_object"},
        extra_body={"thinking_budget": 4},
    )
    assert answer.choices[0].message.content == "See this:"


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"n": 2}, 400, "n: Input should be 1"),
        ({"temperature": 2.5}, 400, "temperature: Input should be less than or equal to 2"),
        ({"messages": []}, 400, "messages: List should have at least 1 item"),
        ({"messages": [{"role": "developer", "content": "x"}]}, 400, "messages.0.role: Input"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "messages.0: content is missing"),
        ({"messages": [{"role": "user", "content": 7}]}, 400, "messages.0.content: Input should"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "tool_call_id is missing"),
        (
            {"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]},
            400,
            "messages.0: there is no call of a tool with this id ahead of it",
        ),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options is allowed only with"),
        ({"tool_choice": "auto"}, 400, "tool_choice is allowed only with tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, 400, "should match"),
        ({"model": "NoSuchBot"}, 404, "Bot NoSuchBot does not exist."),
        ({"model": "Failing"}, 500, "This model fails"),
        ({"model": "Failing", "stream": True}, 500, "This model fails"),
    ],
)
async def test_what_poe_refuses_is_refused_with_its_status_and_type(
    client: openai.AsyncOpenAI,
    lines: list[str],
    changes: dict[str, Any],
    status: int,
    reason: str,
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(
            **{"model": "Echo", "messages": user("private words"), **changes}
        )
    error = caught.value
    kinds = {400: "invalid_request_error", 404: "not_found_error", 500: "provider_error"}
    assert (error.status_code, error.type) == (status, kinds[status])
    assert reason in error.message
    assert error.request_id
    assert f"poe: a call to /v1/chat/completions ended with status {status}: " in lines[-1]
    assert "private words" not in "".join(lines)


async def test_calls_of_tools_without_their_results_are_refused(
    client: openai.AsyncOpenAI,
) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    for messages in ([*user("Oslo"), called], [*user("Oslo"), called, *user("Well?")]):
        with pytest.raises(openai.BadRequestError, match="results of the .*tool calls"):
            await client.chat.completions.create(model="Echo", messages=messages, tools=[TOOL])


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff"])
async def test_a_body_that_is_not_json_is_refused(poe: PoeStandIn, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {PERSONS_KEY}"}
    async with httpx.AsyncClient(headers=headers) as http:
        reply = await http.post(f"{BASE}/chat/completions", content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == "the body isn't JSON"


async def test_an_error_midway_ends_the_stream(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="FailingMidway", messages=user("Hello"), stream=True
    )
    said = ""
    with pytest.raises(openai.APIError, match="This model fails midway"):
        async for chunk in stream:
            said += chunk.choices[0].delta.content or ""
    assert said == "These five words come before"


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("w" * 20, "it isn't the POE_API_KEY of secrets.json"),
        (KEY, "it is a bot's access key, and Poe takes POE_API_KEY here"),
    ],
)
async def test_any_other_key_is_refused_with_the_fix(
    client: openai.AsyncOpenAI, lines: list[str], key: str, fix: str
) -> None:
    with pytest.raises(openai.AuthenticationError, match="Invalid API key"):
        await client.with_options(api_key=key).chat.completions.create(
            model="Echo", messages=user("Hello")
        )
    assert lines == [
        f"poe: a call to /v1/chat/completions ended with status 401: Invalid API key ({fix})"
    ]


async def test_without_a_persons_key_the_line_says_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    async with stand_in(tmp_path, monkeypatch, on_line=lines.append), httpx.AsyncClient() as http:
        reply = await http.post(f"{BASE}/chat/completions", headers={"Authorization": "Bearer x"})
    assert reply.status_code == 401
    assert "add POE_API_KEY to secrets.json" in lines[0]


async def test_models_are_listed_for_everyone_and_any_name_but_one_is_one(
    client: openai.AsyncOpenAI,
) -> None:
    anyone = client.with_options(api_key="nobody's")
    names = [model.id async for model in anyone.models.list()]
    assert "Echo" in names
    assert "NoSuchBot" not in names
    assert (await client.models.retrieve("Claude-Sonnet-4")).id == "Claude-Sonnet-4"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("NoSuchBot")


async def test_the_response_has_the_headers_that_poe_documents(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model="Echo", messages=user("Hello")
    )
    assert raw.headers["openai-version"] == "2020-10-01"
    assert raw.headers["x-ratelimit-limit-requests"] == "500"
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.parse().choices[0].message.content == "Hello"


async def test_what_the_stand_in_lacks_is_said_once_for_each_path(
    client: openai.AsyncOpenAI, lines: list[str]
) -> None:
    for _ in range(2):
        with pytest.raises(openai.NotFoundError, match="no such path in the stand-in for Poe"):
            await client.embeddings.create(model="any", input="private words")
    async with httpx.AsyncClient() as http:
        gone = await http.get(f"https://api.poe.com/bot/fetch_settings/Mine/{KEY}/1.3?a=b")
        wrong = await http.get("https://api.poe.com/bot/Echo")
    assert [gone.status_code, wrong.status_code] == [404, 405]
    assert wrong.headers["allow"] == "POST"
    assert lines == [
        "poe: POST api.poe.com/v1/embeddings was refused with status 404:"
        " there is no such path in the stand-in for Poe; with `POE_API_KEY=… make run` it goes on"
        " to Poe",
        "poe: GET api.poe.com/bot/fetch_settings/Mine/…/1.3 was refused with status 404:"
        " there is no such path in the stand-in for Poe",
        "poe: GET api.poe.com/bot/Echo was refused with status 405:"
        " the stand-in for Poe takes POST here",
    ]
