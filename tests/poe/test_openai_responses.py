"""Poe's API in the form of OpenAI's Responses, as the stand-in plays it, by OpenAI's own client."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poe.standin.openai_api.errors import ApiError
from poe.standin.openai_api.request import parse
from poe.standin.openai_api.responses_request import chat_body
from poe.standin.standin import PoeStandIn
from tests.support.stand_in import KEY, PERSONS_KEY

pytestmark = pytest.mark.anyio

TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
async def poe(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PoeStandIn]:
    async with PoeStandIn(
        access_key=KEY,
        personal_key=PERSONS_KEY,
        folder=tmp_path_factory.mktemp("poe"),
        on_line=lambda line: None,
    ) as poe:
        yield poe


@pytest.fixture
async def client(
    poe: PoeStandIn, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[openai.AsyncOpenAI]:
    for name, value in poe.environment.items():
        monkeypatch.setenv(name, value)
    async with openai.AsyncOpenAI(
        api_key=PERSONS_KEY, base_url="https://api.poe.com/v1", max_retries=0
    ) as client:
        yield client


async def test_a_response_comes_whole(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model="Echo", input="Hello", instructions="Be brief.")
    assert (answer.output_text, answer.status, answer.object) == ("Hello", "completed", "response")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


async def test_a_response_streams_in_openais_events(client: openai.AsyncOpenAI) -> None:
    asked: Any = [{"role": "user", "content": [{"type": "input_text", "text": "2 words"}]}]
    stream = await client.responses.create(model="Echo", input=asked, stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == [
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == [*range(8)]
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "2 words"


async def test_a_tool_is_called_and_its_result_comes_back(client: openai.AsyncOpenAI) -> None:
    tools: Any = [TOOL, {"type": "web_search_preview"}]
    async with client.responses.stream(model="GPT-4o", input="Oslo", tools=tools) as stream:
        deltas = [
            event.delta
            async for event in stream
            if event.type == "response.function_call_arguments.delta"
        ]
        [call] = (await stream.get_final_response()).output
    assert call.type == "function_call"
    assert len(deltas) == 2
    assert json.loads(call.arguments) == {"city": "Oslo"}
    conversation: Any = [
        {"role": "user", "content": "Oslo"},
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": "{}"},
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    told = await client.responses.create(model="GPT-4o", input=conversation, tools=tools)
    assert told.output_text == "I asked the tools: weather gave sunny."


async def test_a_response_ends_at_the_most_tokens(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(
        model="Words", input="9 words every 0 ms", max_output_tokens=5
    )
    assert (answer.status, answer.output_text) == ("incomplete", "word1 word2")


async def test_an_error_midway_fails_the_response(client: openai.AsyncOpenAI) -> None:
    stream = await client.responses.create(model="FailingMidway", input="Hello", stream=True)
    *_, last = [event async for event in stream]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert "fails midway" in last.response.error.message


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"model": "NoSuchBot"}, 404, "does not exist"),
        ({"model": "Failing", "stream": True}, 500, "This model fails"),
        ({"input": 7}, 400, "input: Input should be a list of objects"),
        ({"tools": [7]}, 400, "tools: Input should be a list of objects"),
        ({"temperature": 2.5}, 400, "temperature: Input should be less"),
        ({"previous_response_id": "r"}, 400, "send the whole conversation"),
    ],
)
async def test_what_poe_refuses_is_refused(
    client: openai.AsyncOpenAI, changes: Any, status: int, reason: str
) -> None:
    with pytest.raises(openai.APIStatusError, match=reason) as caught:
        await client.responses.create(**{"model": "Echo", "input": "Hello", **changes})
    assert caught.value.status_code == status


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "name", "function", "id", "call_id"]), inner
        )
    ),
    max_leaves=8,
)
FIELDS = ["model", "input", "messages", "tools", "tool_choice", "stream", "instructions", "n"]


@given(st.dictionaries(st.sampled_from(FIELDS), anything) | anything)
def test_whatever_the_body_is_it_is_taken_or_refused(body: Any) -> None:
    for read in (parse, lambda body: parse(chat_body(body))):
        with suppress(ApiError):
            read(body).question()
