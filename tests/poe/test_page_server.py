"""What the chat page's server answers: to the page, to other sites, to what is wrong."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import fastapi_poe as fp
import httpx
import pytest

from poe.page import server
from poe.page.server import ChatPage
from tests.support.bots import KEY, served
from tests.support.closed import CLOSED
from tests.support.page import ScriptedBot, opened, served_page
from tests.support.page import answer_lines as lines

PAGE = Path(server.__file__).with_name("static")
SCRIPTS = {
    "file": [
        fp.PartialResponse(
            text="",
            attachment=fp.Attachment(url=f"http://{CLOSED}/f", content_type="a/b", name="f"),
        )
    ],
    "slow": ["one ", 30],
}


@pytest.fixture(scope="module")
def bot() -> ScriptedBot:
    return ScriptedBot(SCRIPTS, fp.SettingsResponse(introduction_message="Hello"))


@pytest.fixture(scope="module")
def page(bot, tmp_path_factory) -> Iterator[ChatPage]:
    folder = tmp_path_factory.mktemp("page")
    with (
        served(fp.make_app(bot)) as bot_url,
        served_page(bot_url, folder=folder, own=[f"http://{CLOSED}"]) as page,
    ):
        yield page


@pytest.fixture
def url(page) -> str:
    return page.url


@pytest.fixture
def http(page) -> Iterator[httpx.Client]:
    with opened(page) as client:
        yield client


def begin(http: httpx.Client) -> str:
    return f"/conversations/{http.post('/conversations', params={'bot': '/'}).json()['id']}"


def test_the_page_takes_nothing_from_elsewhere(http):
    reply = http.get("/")
    policy = reply.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "http" not in reply.headers["content-security-policy"]
    own = [*PAGE.glob("*.html"), *PAGE.glob("*.css"), *PAGE.glob("*.js")]
    written = "".join(file.read_text() for file in own)
    assert re.findall(r"""(?:src=|href=|url\(|from )["']?\w+:""", written) == []


def test_an_answer_is_a_line_for_each_event_and_one_for_the_whole(http):
    reply = http.post(begin(http) + "/messages", json={"text": "hello"})
    first, *events, last = lines(reply)
    assert (first["asked"]["content"], first["answer_id"][:2]) == ("hello", "m-")
    assert [line["event"]["name"] for line in events] == ["text", "done"]
    assert events[0]["event"]["data"] == '{"text": "You said hello"}'
    assert events[0]["event"]["bytes"] == 26
    assert 0 < events[0]["event"]["seconds"] <= last["turn"]["seconds"]
    assert (last["turn"]["text"], last["turn"]["error"], last["turn"]["broken"]) == (
        "You said hello",
        None,
        [],
    )


def test_a_retry_replaces_the_last_answer(http, bot):
    chat = begin(http)
    http.post(chat + "/messages", json={"text": "hello"})
    assert lines(http.post(chat + "/retry"))[-1]["turn"]["text"] == "You said hello"
    assert [message.content for message in bot.told[-1].query] == ["hello"]


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Host": "evil.example:9001"}, "This server answers at http://127.0.0.1"),
        ({"Origin": "http://evil.example"}, "to its own page only"),
        ({"Origin": "null"}, "to its own page only"),
        ({"Sec-Fetch-Site": "cross-site"}, "to its own page only"),
        ({"Sec-Fetch-Site": "same-site"}, "to its own page only"),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, "to its own page only"),
    ],
)
def test_other_sites_are_refused(http, headers, words):
    reply = http.post("/conversations?bot=/", headers=headers)
    assert reply.status_code == 403
    assert words in reply.text


def test_the_page_itself_and_links_to_it_are_served(http, url):
    own = {"Origin": url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert http.post("/conversations?bot=/", headers=own).status_code == 200
    by_name = {"Host": f"localhost:{urlsplit(url).port}"}
    assert http.get("/", headers=by_name).status_code == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert http.get("/", headers=link).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "{chat}/messages", b"{", 400, "This isn't a message"),
        ("POST", "{chat}/messages", b"{}", 400, "text: Field required"),
        ("POST", "{chat}/messages", b'{"text": "a", "more": 1}', 400, "more: Extra inputs"),
        ("POST", "{chat}/messages", b'{"text": " "}', 400, "needs a text or an attachment"),
        ("POST", "{chat}/messages", b'{"text": "a", "attachments": ["b"]}', 400, "attach it again"),
        ("POST", "{chat}/retry", b"", 409, "There is no message to answer again"),
        ("POST", "/conversations/c-1/messages", b'{"text": "a"}', 404, "start a new chat"),
        (
            "POST",
            "/conversations?bot=/none",
            b"",
            404,
            "No bot has this path. The paths are: /",
        ),
        ("GET", "{chat}/files?url=http://127.0.0.1:1/", b"", 404, "names this file"),
        ("POST", "/attachments", b"content", 400, "has no name"),
        ("GET", "/attachments/none/a.txt", b"", 404, "no such attachment"),
        ("GET", "/..%2fpage_server.py", b"", 404, ""),
    ],
)
def test_what_is_wrong_is_answered_clearly(http, method, path, body, status, words):
    reply = http.request(method, path.format(chat=begin(http)), content=body)
    assert reply.status_code == status
    assert words in reply.text


def test_too_much_is_refused(http, monkeypatch):
    monkeypatch.setattr(server, "FILE_LIMIT", 1_000_000)
    reply = http.post("/attachments?name=a", content=b"a" * 1_000_001)
    assert reply.status_code == 413
    assert reply.json() == {"error": "This is too large: the limit is 1 MB."}


def test_an_attachment_can_be_had_again_and_runs_nothing(http, url):
    made = http.post("/attachments", params={"name": "a b.html"}, content=b"<b>x").json()
    assert made["url"].startswith(f"{url}attachments/")
    assert made["url"].endswith("/a%20b.html")
    reply = httpx.get(made["url"])
    assert reply.content == b"<b>x"
    assert reply.headers["content-security-policy"].startswith("sandbox;")


def test_a_named_file_that_cannot_be_had_is_told(http):
    chat = begin(http)
    http.post(chat + "/messages", json={"text": "file"})
    reply = http.get(chat + "/files", params={"url": f"http://{CLOSED}/f"})
    assert reply.status_code == 502
    assert reply.json() == {"error": "The file can't be fetched: ConnectError."}


def test_a_named_file_that_is_no_image_is_only_downloaded(bot, tmp_path):
    async def app(scope, receive, send):
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<b>x"})

    with (
        served(fp.make_app(bot)) as bot_url,
        served(app, lifespan="off") as file_url,
        served_page(bot_url, folder=tmp_path, own=[file_url]) as page,
        opened(page) as http,
    ):
        bot.scripts["link"] = [f"![a page]({file_url})"]
        chat = begin(http)
        http.post(chat + "/messages", json={"text": "link"})
        reply = http.get(chat + "/files", params={"url": file_url})
    assert (reply.content, reply.headers["content-disposition"]) == (b"<b>x", "attachment")
    assert reply.headers["content-security-policy"].startswith("sandbox;")


def test_a_users_own_file_that_the_bot_gives_back_is_shown(http):
    made = http.post("/attachments", params={"name": "a?b é.svg"}, content=b"<svg/>").json()
    chat = begin(http)
    http.post(chat + "/messages", json={"text": f"![mine]({made['url']})"})
    reply = http.get(chat + "/files", params={"url": made["url"]}, follow_redirects=True)
    assert (reply.status_code, reply.content) == (200, b"<svg/>")
    assert reply.headers["content-type"] == "image/svg+xml"
    assert reply.headers["content-security-policy"].startswith("sandbox;")


def test_only_whole_urls_that_an_answer_names_are_fetched(http):
    chat = begin(http)
    whole = f"http://{CLOSED}/a/b.png?c=http://{CLOSED}/d"
    http.post(chat + "/messages", json={"text": f"![x]({whole}) http://{CLOSED}/said"})
    statuses = {
        url: http.get(chat + "/files", params={"url": url}).status_code
        for url in (whole, whole[:-1], f"http://{CLOSED}/d", f"http://{CLOSED}/said", "")
    }
    assert statuses.pop(whole) == 502  # it was tried
    assert set(statuses.values()) == {404}
    assert http.get(begin(http) + "/files", params={"url": whole}).status_code == 404


@pytest.mark.parametrize(
    "url", ["http://localhost:{}/", "http://2130706433:{}/", "http://[::1]:{}/"]
)
def test_an_answer_opens_no_way_to_what_listens_on_this_machine(http, url):
    asked = []

    async def secret(scope, receive, send):
        asked.append(scope["path"])

    with served(secret, lifespan="off") as other:
        named = url.format(urlsplit(other).port)
        chat = begin(http)
        http.post(chat + "/messages", json={"text": f"![x]({named})"})
        reply = http.get(chat + "/files", params={"url": named})
    assert (reply.status_code, asked) == (403, [])
    assert "is an address of this machine or its network" in reply.json()["error"]


@pytest.mark.parametrize("value", ["NaN", "1e999"])
def test_settings_that_hold_no_number_are_told(bot, tmp_path, value):
    async def app(scope, receive, send):
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = f'{{"introduction_message": "half \\ud83d", "x": {value}}}'
        await send({"type": "http.response.body", "body": body.encode()})

    with (
        served(app, lifespan="off") as bot_url,
        served_page(bot_url, folder=tmp_path) as page,
        opened(page) as http,
    ):
        reply = http.get("/settings", params={"bot": urlsplit(bot_url).path})
    assert reply.status_code == 502
    assert reply.json() == {"error": "The bot's settings hold NaN or infinity."}


def test_a_browser_that_leaves_ends_the_bots_work(http, bot):
    bot.was_left.clear()
    with http.stream("POST", begin(http) + "/messages", json={"text": "slow"}) as reply:
        lines = reply.iter_lines()
        assert '"asked"' in next(lines)
        assert "one" in next(lines)
    assert bot.was_left.wait(5)


def test_the_key_stays_with_the_server(http, url):
    chat = begin(http)
    answers = [
        *(http.get(path) for path in ("/", "/state", "/settings?bot=/")),
        http.post(chat + "/messages", json={"text": "hello"}),
    ]
    assert [reply.status_code for reply in answers] == [200] * 4
    assert not [reply for reply in answers if KEY in reply.text + str(reply.headers)]


def test_a_refused_key_is_told(bot, tmp_path):
    with (
        served(fp.make_app(bot)) as bot_url,
        served_page(bot_url, folder=tmp_path, key="w" * 32) as page,
        opened(page) as http,
    ):
        settings = http.get("/settings?bot=/")
        answer = http.post(begin(http) + "/messages", json={"text": "hello"})
    assert settings.status_code == 502
    assert "status 401" in settings.text
    assert "status 401" in lines(answer)[-1]["failure"]


def test_only_the_latest_conversations_are_kept(http):
    first = begin(http)
    for _ in range(50):
        last = begin(http)
    assert http.post(first + "/retry").status_code == 404
    assert http.post(last + "/retry").status_code == 409


def test_a_taken_port_is_left_for_a_free_one(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for impossible in (port, 65536):
            with (
                served_page(f"http://{CLOSED}/", folder=tmp_path, port=impossible) as page,
                opened(page) as http,
            ):
                assert urlsplit(page.url).port != impossible
                assert http.get("/").status_code == 200


def test_without_a_browser_its_tests_are_skipped_but_not_in_ci(tmp_path):
    def outcome(**variables: str) -> str:
        command = "from tests.support.page import browser_path; browser_path()"
        environment = {"PATH": str(tmp_path), "PYTHONPATH": "tests:.", **variables}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", command],
            env=environment,
            cwd=PAGE.parents[2],
            capture_output=True,
            text=True,
        )
        return done.stderr.splitlines()[-1]

    reason = "the chat page's tests need a browser"
    assert outcome().startswith(f"Skipped: {reason}")
    assert outcome(CI="true").startswith(f"Failed: {reason}")
