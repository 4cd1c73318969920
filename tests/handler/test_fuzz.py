"""Whatever comes in: no 5xx but 501, no dead loop, no hang.

500 cases here, and 10,000 with
`make test ARGS="tests/handler/test_fuzz.py --hypothesis-profile=thorough"`.
"""

import asyncio
import base64
import contextlib
import json

import fastapi_poe as fp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler.app.dispatch import App
from handler.runtime.context import Context
from handler.runtime.loop import Loop
from handler.runtime.runtime_api import RuntimeAPI
from tests.support.runtime_api import RuntimeAPIDouble, function_url_event

KEY = "k" * 32

CASES = max(500, settings.default.max_examples)


class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text=request.query[-1].content[:10])


VALID = [
    {
        "type": "query",
        "version": "1.2",
        "query": [
            {
                "role": "user",
                "content": "hello",
                "content_type": "text/markdown",
                "feedback": [{"type": "like", "reason": None}],
                "attachments": [{"url": "u", "content_type": "text/plain", "name": "n"}],
                "referenced_message": {"role": "bot", "content": "earlier"},
            },
            {"role": "bot", "content": "hi", "timestamp": 1, "message_id": "x"},
        ],
        "user_id": "u",
        "conversation_id": "c",
        "message_id": "m",
        "metadata": "",
        "temperature": 0.5,
        "logit_bias": {"a": 1.0},
        "stop_sequences": [],
        "tools": [],
    },
    {"type": "settings", "version": "1.2"},
    {
        "type": "report_feedback",
        "version": "1.2",
        "message_id": "m",
        "user_id": "u",
        "conversation_id": "c",
        "feedback_type": "like",
    },
    {
        "type": "report_reaction",
        "version": "1.2",
        "message_id": "m",
        "user_id": "u",
        "conversation_id": "c",
        "reaction": "like",
    },
    {"type": "report_error", "version": "1.2", "message": "m", "metadata": {}},
]

TEXT = st.text(max_size=8) | st.sampled_from(["", "user", "query", "\ud800", "\0", "1e999"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def mutated(draw, documents):
    """A valid document with some places changed, dropped or added."""
    document = json.loads(json.dumps(draw(st.sampled_from(documents))))
    for _ in range(draw(st.integers(0, 3))):
        holder = document
        while True:
            if not holder or not isinstance(holder, (dict, list)):
                break
            keys = list(holder) if isinstance(holder, dict) else range(len(holder))
            key = draw(st.sampled_from(list(keys)))
            if isinstance(holder[key], (dict, list)) and holder[key] and draw(st.booleans()):
                holder = holder[key]
                continue
            if draw(st.booleans()):
                holder[key] = draw(JSON)
            elif isinstance(holder, dict) and draw(st.booleans()):
                holder[draw(TEXT)] = draw(JSON)
            else:
                del holder[key]
            break
    return document


BODIES = st.one_of(
    mutated(VALID).map(json.dumps),
    JSON.map(json.dumps),
    st.text(max_size=20),
    st.sampled_from(["[" * 5000, '{"type": "query", "query": ' + "[" * 500 + "]" * 500 + "}"]),
)


@st.composite
def function_url_events(draw):
    """What a Function URL could hand on, and a little more."""
    authorization = draw(
        st.sampled_from([f"Bearer {KEY}"] * 3 + ["Bearer x", "Basic x", "", "Bearer é"])
    )
    headers = {
        "authorization": authorization,
        **draw(st.dictionaries(st.text("abc-", min_size=1), st.text("xyz;/ "))),
    }
    if draw(st.booleans()):
        headers["content-type"] = draw(st.sampled_from(["application/json", "text/plain", "é", ""]))
    body = draw(BODIES)
    event = function_url_event(
        draw(st.sampled_from(["POST"] * 5 + ["GET", "HEAD", "PUT", "OPTIONS", "x"])),
        draw(st.sampled_from(["/"] * 5 + ["/x", "//", "/%ff", "/docs", ""])),
        headers,
        body,
    )
    if draw(st.booleans()):
        raw = body.encode("utf-8", "surrogatepass")
        event |= {"body": base64.b64encode(raw).decode(), "isBase64Encoded": True}
    return event


@pytest.fixture(scope="module")
def invoke():
    """Sends an event through the loop and the app, over a real socket."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        double = RuntimeAPIDouble()

        async def start():
            address = await stack.enter_async_context(double.serve())
            loop = Loop(RuntimeAPI(address), App([Bot(access_key=KEY)]), Context(), {})
            return asyncio.ensure_future(loop.run())

        task = runner.run(start())

        async def send(event):
            answer = await double.invoke(event)
            assert not task.done()
            return answer

        yield lambda event: runner.run(send(event))
        task.cancel()
        runner.run(asyncio.wait([task]))
        runner.run(stack.aclose())


QUICK = settings(
    max_examples=CASES // 2,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@QUICK
@given(event=function_url_events())
def test_no_request_makes_a_5xx_but_501(invoke, event):
    answer = invoke(event)
    assert answer.kind == "response"
    assert not answer.trailers
    status = answer.prelude["statusCode"]
    assert status < 500 or status == 501, (status, answer.body)


@QUICK
@given(event=JSON | mutated([function_url_event(body=json.dumps(VALID[0]))]))
def test_no_event_ends_the_loop(invoke, event):
    answer = invoke(json.dumps(event).encode())
    assert answer.kind in ("response", "error")
