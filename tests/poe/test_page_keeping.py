"""A conversation that the chat page's browser kept goes on with a server that doesn't know it."""

from collections.abc import Iterator

import fastapi_poe as fp
import httpx
import pytest

from poe.page.message import MOST_MESSAGES
from tests.support.bots import served
from tests.support.closed import CLOSED
from tests.support.page import ScriptedBot, opened, served_page
from tests.support.page import answer_lines as lines

USER = "u-" + "0" * 32
CHAT = "c-" + "0" * 32


def said(role: str, content: str, number: int, **more) -> dict:
    identifier = f"m-{number:032x}"
    written = {"content_type": "text/markdown", "timestamp": number, "message_id": identifier}
    return {"role": role, "content": content, **written, **more}


@pytest.fixture(scope="module")
def bot() -> ScriptedBot:
    return ScriptedBot({}, fp.SettingsResponse())


@pytest.fixture(scope="module")
def http(bot, tmp_path_factory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("page")
    with (
        served(fp.make_app(bot)) as bot_url,
        served_page(bot_url, folder=folder, own=[f"http://{CLOSED}"]) as page,
        opened(page) as client,
    ):
        yield client


def go_on(http: httpx.Client, messages: object, identifier: str = CHAT, **more) -> httpx.Response:
    body = {"user_id": USER, "messages": messages, **more}
    return http.put(f"/conversations/{identifier}?bot=/", json=body)


def test_it_goes_on_with_the_same_identifiers_and_messages(http, bot):
    first = http.post("/conversations?bot=/").json()
    asked = lines(http.post(f"/conversations/{first['id']}/messages", json={"text": "a"}))[0]
    answered = said("bot", "You said a", 2, message_id=asked["answer_id"], metadata=None)
    reply = http.put(
        f"/conversations/{first['id']}?bot=/",
        json={"user_id": first["user_id"], "messages": [asked["asked"], answered]},
    )
    assert (reply.status_code, reply.json()) == (200, first)
    http.post(f"/conversations/{first['id']}/messages", json={"text": "b"})
    query = bot.told[-1]
    assert (query.conversation_id, query.user_id) == (first["id"], first["user_id"])
    assert [message.content for message in query.query] == ["a", "You said a", "b"]
    identifiers = [message.message_id for message in query.query]
    assert identifiers[:2] == [asked["asked"]["message_id"], asked["answer_id"]]


def test_an_edited_message_takes_the_place_of_all_after_it(http, bot):
    before = [said("user", "a", 1), said("bot", "b", 2)]
    go_on(http, [*before, said("user", "c", 3), said("bot", "d", 4)])
    go_on(http, before)
    http.post(f"/conversations/{CHAT}/messages", json={"text": "edited"})
    assert [message.content for message in bot.told[-1].query] == ["a", "b", "edited"]


def test_the_last_message_can_be_answered_again(http, bot):
    go_on(http, [said("user", "a", 1), said("bot", "b", 2)])
    assert lines(http.post(f"/conversations/{CHAT}/retry"))[-1]["turn"]["text"] == "You said a"
    assert [message.content for message in bot.told[-1].query] == ["a"]


def test_answers_alone_hold_nothing_to_answer_again(http):
    go_on(http, [said("bot", "b", 2)])
    assert http.post(f"/conversations/{CHAT}/retry").status_code == 409


def test_files_of_earlier_answers_are_fetched_again(http):
    url = f"http://{CLOSED}/f"
    file = {"url": url, "content_type": "a/b", "name": "f"}
    go_on(http, [said("user", "a", 1), said("bot", "b", 2, attachments=[file])])
    assert http.get(f"/conversations/{CHAT}/files", params={"url": url}).status_code == 502
    other = http.get(f"/conversations/{CHAT}/files", params={"url": url + "2"})
    assert other.status_code == 404


@pytest.mark.parametrize(
    "message",
    [
        said("system", "a", 1),
        said("user", "a", 1, more=1),
        said("user", "a", 1, feedback=[{}]),
        said("user", "a", 1, message_id="m-1"),
        said("user", "a", 1, message_id="m-" + "0" * 32 + "\n"),
        said("user", "a", -1, message_id="m-" + "0" * 32),
        said("user", "a", 1, content_type="text/html"),
        said("user", "a", 1, attachments=[{"url": "a"}]),
        said("user", "a", 1, attachments=[{"url": "a", "name": "b", "content_type": "c"}] * 101),
        "a",
    ],
)
def test_what_is_no_message_is_refused_with_a_reason(http, message):
    reply = go_on(http, [message])
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("This isn't a conversation: ")


@pytest.mark.parametrize("identifier", ["c-1", "c-" + "g" * 32, "x-" + "0" * 32])
def test_an_odd_identifier_is_refused(http, identifier):
    assert go_on(http, [], identifier).status_code == 404


def test_more_than_there_may_be_is_refused(http):
    assert go_on(http, [said("user", "a", 1)] * MOST_MESSAGES).status_code == 200
    assert go_on(http, [said("user", "a", 1)] * (MOST_MESSAGES + 1)).status_code == 400
    assert go_on(http, [said("user", "a" * 16_000_000, 1)]).status_code == 413
