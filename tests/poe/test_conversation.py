"""Poe's side of a conversation, against a bot of fastapi_poe and against scripted servers."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import fastapi_poe as fp
import httpx
import pytest
import uvicorn

from poe.client.answer import Answer
from poe.client.conversation import (
    Conversation,
    NotAnswering,
    Refused,
    http_client,
    one_line,
)
from poe.client.sse import EventReader, encode_event
from poe.client.turn import Event, Limits, Turn
from poe.standin.uploads import served_files
from tests.support.closed import CLOSED

KEY = "k" * 32
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
TEXT = encode_event("text", {"text": "Hi"})
DONE = encode_event("done", {})


class ManyBot(fp.PoeBot):
    """Does what the last message asks for; keeps what it received."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.told: list[Any] = []
        self.go_on = threading.Event()

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterator[Any]:
        self.told.append(request)
        match request.query[-1].content:
            case "rich":
                yield fp.MetaResponse(text="", content_type="text/plain", suggested_replies=True)
                yield fp.PartialResponse(text="draft")
                yield fp.PartialResponse(text="final ", is_replace_response=True)
                yield fp.PartialResponse(text="word")
                yield fp.PartialResponse(text="More?", is_suggested_reply=True)
                file = fp.Attachment(url="https://a/b", content_type="image/png", name="b")
                yield fp.PartialResponse(text="", attachment=file)
                yield fp.DataResponse(metadata="state")
            case "wait":
                yield fp.PartialResponse(text="first")
                await asyncio.to_thread(self.go_on.wait, 10)
                yield fp.PartialResponse(text="second")
            case "fail":
                yield fp.PartialResponse(text="half")
                raise ValueError("never shown")
            case said:
                yield fp.PartialResponse(text=f"You said {said}")

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(introduction_message="Welcome")

    async def on_feedback(self, feedback_request: fp.ReportFeedbackRequest) -> None:
        self.told.append(feedback_request)

    async def on_reaction_with_context(self, reaction_request: Any, context: Any) -> None:
        self.told.append(reaction_request)

    async def on_error(self, error_request: fp.ReportErrorRequest) -> None:
        self.told.append(error_request)


@pytest.fixture(scope="module")
def served_bot() -> Iterator[tuple[ManyBot, str]]:
    bot = ManyBot()
    app = fp.make_app(bot, access_key=KEY)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield bot, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@asynccontextmanager
async def scripted(*steps: bytes | float) -> AsyncIterator[str]:
    """A server that answers each request by these bytes, and pauses for these seconds, or until
    the client goes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(), step)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def whole(answer: Answer, seen: Callable[[Event], object] = lambda event: None) -> Turn:
    async for event in answer:
        seen(event)
    return answer.turn


async def turn_of(*steps: bytes | float, limits: Limits | None = None) -> Turn:
    async with (
        scripted(*steps) as url,
        Conversation(url, KEY, limits=limits or Limits()) as conversation,
    ):
        return await whole(conversation.ask("Hello"))


@pytest.mark.anyio
async def test_a_turn_is_what_poe_would_show(served_bot: tuple[ManyBot, str]) -> None:
    async with Conversation(served_bot[1], KEY) as conversation:
        turn = await whole(conversation.ask("rich"))
    assert turn.text == "final word"
    assert turn.suggested_replies == ("More?",)
    assert [file["name"] for file in turn.files] == ["b"]
    assert (turn.metadata, turn.content_type) == ("state", "text/plain")
    assert (turn.error, turn.broken, turn.failed) == (None, (), False)
    assert [event.name for event in turn.events][-1] == "done"


@pytest.mark.anyio
async def test_events_are_seen_as_they_arrive(served_bot: tuple[ManyBot, str]) -> None:
    bot, url = served_bot
    bot.go_on.clear()
    seen: list[str] = []

    def let_it_go_on(event: Event) -> None:
        seen.append(event.name)
        bot.go_on.set()

    async with Conversation(url, KEY) as conversation:
        # The bot waits for the client's having seen its first text: a held-back event would
        # cost 10 s.
        turn = await whole(conversation.ask("wait"), let_it_go_on)
    assert turn.text == "firstsecond"
    assert turn.seconds < 5
    assert list(turn.events) == sorted(turn.events, key=lambda event: event.seconds)


@pytest.mark.anyio
async def test_the_history_is_sent_with_each_query(served_bot: tuple[ManyBot, str]) -> None:
    bot, url = served_bot
    async with Conversation(url, KEY) as conversation:
        await whole(conversation.ask("rich"))
        await whole(conversation.ask("fail"))
        await whole(conversation.ask("and now?"))
    request = bot.told[-1]
    said = [(message.role, message.content) for message in request.query]
    assert said == [
        ("user", "rich"),
        ("bot", "final word"),
        ("user", "fail"),
        ("user", "and now?"),
    ]
    assert request.query[1].metadata == "state"
    assert request.query[1].content_type == "text/plain"
    assert request.query[1].message_id == bot.told[-3].message_id
    assert request.conversation_id == bot.told[-2].conversation_id
    assert request.version == "1.2"
    assert all((request.user_id, request.bot_query_id, request.metadata, request.message_id))


@pytest.mark.anyio
async def test_a_failed_turn_has_the_bots_error(served_bot: tuple[ManyBot, str]) -> None:
    async with Conversation(served_bot[1], KEY) as conversation:
        turn = await whole(conversation.ask("fail"))
    assert (turn.text, turn.failed, turn.broken) == ("half", True, ())
    assert turn.error == "The bot encountered an unexpected issue."


@pytest.mark.anyio
async def test_a_stopped_answer_joins_the_history(served_bot: tuple[ManyBot, str]) -> None:
    bot, url = served_bot
    bot.go_on.clear()
    begun = asyncio.Event()
    async with Conversation(url, KEY) as conversation:
        answer = conversation.ask("wait")
        task = asyncio.create_task(whole(answer, lambda event: begun.set()))
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bot.go_on.set()
    assert (answer.turn.text, answer.turn.failed) == ("first", False)
    assert conversation.history[-1]["content"] == "first"


@pytest.mark.anyio
async def test_attachments_travel_with_the_message(
    served_bot: tuple[ManyBot, str], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("some notes")
    (tmp_path / "pixel.png").write_bytes(b"\x89PNG")
    bot, url = served_bot
    with served_files([tmp_path / "notes.txt", tmp_path / "pixel.png"]) as attachments:
        async with Conversation(url, KEY) as conversation, httpx.AsyncClient() as http:
            await whole(conversation.ask("look", attachments))
            downloaded = await http.get(attachments[1]["url"])
            missing = await http.get(attachments[1]["url"] + "x")
    # fastapi_poe puts a message with the parsed text before the user's own.
    assert "some notes" in bot.told[-1].query[0].content
    names = [attachment.name for attachment in bot.told[-1].query[-1].attachments]
    assert names == ["notes.txt", "pixel.png"]
    assert (downloaded.content, downloaded.headers["content-type"]) == (b"\x89PNG", "image/png")
    assert missing.status_code == 404


@pytest.mark.anyio
async def test_settings_and_reports_reach_the_bot(served_bot: tuple[ManyBot, str]) -> None:
    bot, url = served_bot
    async with Conversation(url, KEY) as conversation:
        settings = await conversation.settings()
        await conversation.report_feedback("m-1", "like")
        await conversation.report_reaction("m-1", "heart")
        await conversation.report_error("no `done`", {"message_id": "m-1"})
    assert settings["introduction_message"] == "Welcome"
    feedback, reaction, error = bot.told[-3:]
    assert (feedback.feedback_type, reaction.reaction) == ("like", "heart")
    assert (error.message, error.metadata) == ("no `done`", {"message_id": "m-1"})
    assert feedback.user_id == conversation.user_id


@pytest.mark.anyio
async def test_a_wrong_key_is_refused_by_the_bot(served_bot: tuple[ManyBot, str]) -> None:
    async with Conversation(served_bot[1], "w" * 32) as conversation:
        with pytest.raises(Refused, match="status 401: .*Invalid access key"):
            await whole(conversation.ask("Hello"))
        with pytest.raises(Refused, match="status 401"):
            await conversation.settings()


@pytest.mark.anyio
async def test_no_proxy_stands_before_loopback(
    served_bot: tuple[ManyBot, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{CLOSED}")
    async with Conversation(served_bot[1], KEY) as conversation:
        assert (await whole(conversation.ask("Hello"))).text == "You said Hello"


def test_an_address_that_swallows_every_packet_is_given_up_after_5_s() -> None:
    assert http_client("https://bot.example/").timeout == httpx.Timeout(None, connect=5)


def test_a_servers_words_are_one_short_line() -> None:
    assert one_line("a\nb \x1b[2J\u202e" + "x" * 1000) == ("a b [2J " + "x" * 1000)[:300]


@pytest.mark.anyio
async def test_nobody_at_the_url_is_told() -> None:
    async with Conversation(f"http://{CLOSED}/", KEY) as conversation:
        with pytest.raises(NotAnswering, match=f"nothing answers at http://{CLOSED}/"):
            await whole(conversation.ask("Hello"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "promise"),
    [
        (TEXT, "`done` never came"),
        (DONE, "neither `text` nor `error` in the answer"),
        (TEXT + encode_event("meta", {}) + DONE, "`meta` came as event 2"),
        (TEXT + DONE + TEXT, "`text` came after `done`"),
        (TEXT + encode_event("texts", {}) + DONE, "`texts` isn't an event that Poe knows"),
        (b"event: text\r\ndata: Hi\r\n\r\n" + DONE, "the data of `text` isn't a JSON object"),
        (encode_event("text", {"txt": ""}) + DONE, "`text` has no text"),
    ],
)
async def test_a_broken_promise_is_named(body: bytes, promise: str) -> None:
    turn = await turn_of(HEAD + body)
    assert turn.failed
    assert turn.broken[0].startswith(promise)


@pytest.mark.anyio
async def test_poes_limits_end_an_answer() -> None:
    limits = Limits(first_response_seconds=0.3, total_seconds=0.6, characters=20, events=15)
    late_head = await turn_of(10.0, limits=limits)
    late_body = await turn_of(HEAD, 10.0, limits=limits)
    never_ending = await turn_of(HEAD + TEXT, 10.0, TEXT, limits=limits)
    long = await turn_of(HEAD + 11 * TEXT + DONE, limits=limits)
    busy = await turn_of(HEAD + 20 * encode_event("text", {"text": ""}), 10.0, limits=limits)
    turns = (late_head, late_body, never_ending, long, busy)
    assert [turn.broken for turn in turns] == [
        ("no answer within 0.3 s",),
        ("no answer within 0.3 s",),
        ("not complete within 0.6 s",),
        ("more than 20 characters of text, with what was replaced",),
        ("more than 15 events",),
    ]
    assert never_ending.text == "Hi"


@pytest.mark.anyio
async def test_a_comment_line_stops_the_first_clock_and_is_no_event() -> None:
    limits = Limits(first_response_seconds=0.3, total_seconds=5)
    turn = await turn_of(HEAD + b": hold on\r\n\r\n", 0.6, TEXT + DONE, limits=limits)
    assert [event.name for event in turn.events] == ["text", "done"]
    assert turn.broken == ()
    assert turn.first_response_seconds is not None
    assert turn.first_response_seconds < 0.3 < turn.events[0].seconds


@pytest.mark.anyio
async def test_an_answer_that_stays_open_after_done_is_left_soon() -> None:
    turn = await turn_of(HEAD + TEXT + DONE, 10.0)
    assert (turn.broken, turn.seconds < 5) == ((), True)


@pytest.mark.anyio
async def test_a_cut_answer_is_told_from_a_whole_one() -> None:
    chunked = HEAD.replace(b"Connection: close", b"Transfer-Encoding: chunked")
    turn = await turn_of(chunked + b"%x\r\n%b\r\n" % (len(TEXT), TEXT))
    assert (turn.text, turn.broken) == (
        "Hi",
        ("the connection broke before the answer's end",),
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        HEAD.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection") + b"no",
    ],
)
async def test_what_is_no_http_answer_is_reported_as_one_fault(reply: bytes) -> None:
    turn = await turn_of(reply)
    assert len(turn.broken) == 1
    async with scripted(reply) as url, Conversation(url, KEY) as conversation:
        with pytest.raises(NotAnswering, match="did not answer in HTTP"):
            await conversation.settings()


@pytest.mark.anyio
async def test_settings_nested_too_deeply_are_refused() -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    async with scripted(head + b"[" * 100_000) as url, Conversation(url, KEY) as conversation:
        with pytest.raises(Refused, match="aren't a JSON object"):
            await conversation.settings()


@pytest.mark.anyio
async def test_a_raw_proxy_response_is_no_event_stream() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    turn = await turn_of(head + json.dumps({"statusCode": 200, "body": ""}).encode())
    assert turn.broken == ("the answer is application/json, not text/event-stream",)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_events_are_read_however_their_bytes_are_split(line_end: str) -> None:
    lines = [": comment", "", "event: text", "data: é", "data:2", "id: 1", "", "data", "", ""]
    stream = line_end.join(lines).encode()
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            reader = EventReader()
            pieces = (stream[:first], stream[first:second], stream[second:])
            events = [event for piece in pieces for event in reader.feed(piece)]
            assert events == [("text", "é\n2"), ("message", "")]
