"""`query` on the short way equals fastapi_poe's own app: headers, bytes, endings."""

import asyncio
import json
import re
import sys
import types

import fastapi_poe as fp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sse_starlette.event import ServerSentEvent

from handler.app.dispatch import App
from handler.log.record import NAME, Record

KEY = "k" * 32
QUERY = {
    "type": "query",
    "version": "1.2",
    "query": [{"role": "user", "content": "hello"}],
    "user_id": "u",
    "conversation_id": "c",
    "message_id": "m",
}
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.0"},
    "http_version": "1.1",
    "method": "POST",
    "path": "/",
    "raw_path": b"/",
    "root_path": "",
    "query_string": b"",
    "scheme": "https",
    "server": ("bot.example", 443),
    "client": ("192.0.2.1", 1),
    "headers": [
        (b"authorization", b"Bearer " + KEY.encode()),
        (b"content-type", b"application/json"),
    ],
}


class Scripted(fp.PoeBot):
    """Yields what it is given; an exception in the script is raised, a number is slept."""

    script = ()
    cleaned_up = 0

    async def get_response(self, request):
        self._file_events_to_yield.clear()  # a failed turn leaves its files for the next one
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, fp.Attachment):  # as post_message_attachment leaves it
                    event = self.file_event(step.url, step.content_type, step.name, step.inline_ref)
                    self._file_events_to_yield.setdefault(request.message_id, []).append(event)
                else:
                    yield step
        finally:
            self.cleaned_up += 1


BOT = Scripted(access_key=KEY)
APPS = App([BOT]), fp.make_app(BOT)


def both(*script):
    """A bot with this script, and the two apps that serve it."""
    BOT.script, BOT.cleaned_up = script, 0
    return BOT, *APPS


def asking(gone, document=QUERY):
    """A `receive` with the whole question, and then, once that is set, the client's going away."""
    bodies = [json.dumps(document).encode()]

    async def receive():
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


async def answer(app, document=QUERY, gone_after=None):
    """The app's messages; the client goes away after `gone_after` of them."""
    messages, gone = [], asyncio.Event()

    async def send(message):
        messages.append({**message, "body": bytes(message.get("body", b""))})
        if len(messages) == gone_after:
            gone.set()

    await asyncio.wait_for(app({**SCOPE}, asking(gone, document), send), 10)
    return messages


def comparable(messages):
    """Status, headers, each body message; the moment in a ping is not part of it."""
    head, *rest = messages
    bodies = [
        (re.sub(rb"ping - [-0-9:. +]+", b"ping", each["body"]), each["more_body"]) for each in rest
    ]
    return head["status"], head["headers"], bodies


TEXT = st.text(max_size=30) | st.sampled_from(["a\r\nb", "a\nb", "a\rb", "\u2028", "\0", ": x", ""])
ATTACHMENTS = st.builds(
    fp.Attachment,
    url=TEXT,
    content_type=TEXT,
    name=TEXT,
    inline_ref=st.none() | TEXT,
)
EVENTS = st.one_of(
    st.builds(
        fp.PartialResponse,
        text=TEXT,
        is_suggested_reply=st.booleans(),
        is_replace_response=st.booleans(),
        attachment=st.none() | ATTACHMENTS,
        data=st.none() | st.dictionaries(TEXT, st.integers()),
    ),
    st.builds(
        fp.MetaResponse,
        text=TEXT,
        linkify=st.booleans(),
        suggested_replies=st.booleans(),
        content_type=st.sampled_from(["text/markdown", "text/plain"]),
        refetch_settings=st.booleans(),
    ),
    st.builds(fp.DataResponse, metadata=TEXT),
    st.builds(
        fp.ErrorResponse,
        text=TEXT,
        allow_retry=st.booleans(),
        error_type=st.none() | st.sampled_from(["user_message_too_long", "insufficient_fund"]),
        raw_response=st.none() | TEXT,
    ),
    st.builds(
        ServerSentEvent,
        st.none() | TEXT | st.integers() | st.dictionaries(TEXT, TEXT),
        event=st.none() | TEXT,
        id=st.none() | TEXT,
        retry=st.none() | st.integers(),
        comment=st.none() | TEXT,
        sep=st.none() | st.sampled_from(["\r\n", "\n", "\r"]),
    ),
    # The plain ones, which have a way of their own: one that line breaks must not get on to.
    st.builds(ServerSentEvent, TEXT, event=st.none() | TEXT),
    ATTACHMENTS,
    st.builds(ValueError, TEXT),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EVENTS, max_size=6))
def test_headers_and_bytes_equal_those_of_make_app_for_every_kind_of_event(script):
    async def compare():
        bot, ours, theirs = both(*script)
        assert comparable(await answer(ours)) == comparable(await answer(theirs))
        assert bot.cleaned_up == 2

    asyncio.run(compare())


@pytest.mark.anyio
async def test_a_failing_send_closes_the_bot_and_reaches_the_server():
    bot, ours, _ = both(fp.PartialResponse(text="a"), fp.PartialResponse(text="b"))

    async def send(message):
        if message.get("body"):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await ours({**SCOPE}, asking(asyncio.Event()), send)
    await asyncio.sleep(0.05)  # asyncio closes a bot's inner generators in tasks of their own
    assert bot.cleaned_up == 1


@pytest.mark.skipif(
    sys.version_info < (3, 13), reason="asyncio can't close what is closed in the middle of a step"
)
@pytest.mark.anyio
async def test_an_answer_that_nobody_runs_any_more_sends_nothing():
    """A server's loop that ends closes what it still has."""
    _, ours, _ = both(60.0)
    sent = []

    async def send(message):
        sent.append(message)

    running = ours({**SCOPE}, asking(asyncio.Event()), send)
    running.send(None)
    running.close()
    assert [message["type"] for message in sent] == ["http.response.start"]


@pytest.mark.anyio
async def test_the_bot_sees_the_same_query_key_and_request_as_in_make_app():
    seen = []

    class Looking(fp.PoeBot):
        async def get_response_with_context(self, request, context):
            http = context.http_request
            seen.append((request, await http.body(), http.headers, http.url.path, http.client))
            yield fp.PartialResponse(text="x")

    bot = Looking(access_key=KEY)
    document = {**QUERY, "extra_params": {"a": 1}, "unknown": "ignored"}
    await answer(App([bot]), document)
    await answer(fp.make_app(bot), document)
    assert seen[0] == seen[1]
    assert seen[0][0].access_key == KEY


async def respond(self, request, context):
    text = str(len(await context.http_request.body()))
    yield self.text_event(text) if self.yields_events else fp.PartialResponse(text=text)


@pytest.mark.anyio
@pytest.mark.parametrize("on", ["class", "object", "PoeBot"])
@pytest.mark.parametrize("name", ["handle_query", "get_response_with_context"])
async def test_wherever_a_bot_looks_at_its_request_the_body_is_there(monkeypatch, name, on):
    kind = type("Looking", (fp.PoeBot,), {"yields_events": name == "handle_query"})
    bot = kind(access_key=KEY)
    holder = {"class": kind, "object": bot, "PoeBot": fp.PoeBot}[on]
    method = types.MethodType(respond, bot) if on == "object" else respond
    monkeypatch.setattr(holder, name, method, raising=False)
    messages = await answer(App([bot]))
    text = json.dumps({"text": str(len(json.dumps(QUERY)))}).encode()
    assert messages[1]["body"] == b"event: text\r\ndata: %b\r\n\r\n" % text


@pytest.mark.anyio
async def test_what_was_sent_is_counted_for_the_log():
    _, ours, _ = both(fp.PartialResponse(text="a"), fp.ErrorResponse(text="no"))
    record = Record()

    async def stateful(scope, receive, send):
        await ours({**scope, "state": {NAME: record}}, receive, send)

    await answer(stateful)
    assert (record.tally.events, record.tally.errors, record.tally.characters) == (3, 1, 1)
    assert record.tally.first_event > 0
    assert record.tally.done
    assert record.type == "query"
