"""Whatever is sent to the chat page's server, it answers, and never with an error of its own."""

import http.client
import json
import random
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import fastapi_poe as fp
import httpx
import pytest

from poe.page.strict_json import DEEPEST, NotStrict, parse
from tests.support.bots import served
from tests.support.page import TOKEN, ScriptedBot, served_page
from tests.support.text import BIDI, FORGED

ROUNDS = 300  # for each seed
NAMES = [
    *("", ".", "..", "../a", "a/b", "/etc/passwd", "a\\b", "a\x00b", "a\nb", "n" * 300, "é" * 200),
    *(f"a{mark}b.txt" for mark in BIDI),
]
NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400, "9" * 5000]
BODIES = [
    *(f'{{"text": "a", "parameters": {{"x": {number}}}}}' for number in NUMBERS),
    *(f'{{"text": {value}}}' for value in ("null", "1", "[]", "{}", "true", '"\\ud800"')),
    *(
        f'{{"text": "a", "attachments": {value}}}'
        for value in ("1", '"a"', "[1]", "[[]]", '{"a": 1}')
    ),
    *(f'{{"text": "a", "parameters": {value}}}' for value in ("1", '"a"', "[]", "null")),
    '{"text": "a", "text": "b"}',
    '{"text": "a", "parameters": {"x": {"y": 1, "y": 2}}}',
    '{"text": "a", "parameters": {"\\udc00": 1}}',
    '{"text": "a", "parameters": {"x": ' + "[" * 100 + "]" * 100 + "}}",
    "[" * 100_000,
    '{"a":' * 50_000,
    *("", "{", "[]", "1", '"a"', "null", "\ufeff{}", '{"text": "a"} {}', "{'text': 'a'}"),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("page")
    bot = ScriptedBot({}, fp.SettingsResponse())
    with (
        served(fp.make_app(bot)) as bot_url,
        served_page(bot_url, folder=folder) as page,
        httpx.Client(base_url=page.url, trust_env=False, timeout=20) as client,
    ):
        client.get(page.address)
        yield client


def begin(client: httpx.Client) -> str:
    return f"/conversations/{client.post('/conversations?bot=/').json()['id']}"


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_file_name_is_refused_with_a_reason(client, name):
    reply = client.post("/attachments", params={"name": name}, content=b"x")
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("The file")


@pytest.mark.parametrize("written", ["%ED%A0%80.txt", "%FF", "a%80b"])
def test_a_file_name_that_isnt_utf_8_is_refused(client, written):
    reply = client.post(f"/attachments?name={written}", content=b"x")
    assert (reply.status_code, list(reply.json())) == (400, ["error"])


@pytest.mark.parametrize(
    "name", ["a.txt", "fée 👩‍💻.png", "a?b#c%d", "n" * 255, "a+b&c=d", ".hidden"]
)
def test_any_other_file_name_leads_to_its_file(client, name):
    made = client.post("/attachments", params={"name": name}, content=b"x")
    assert (made.status_code, made.json()["name"]) == (200, name)
    assert client.get(made.json()["url"]).content == b"x"


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_body_that_is_no_message_is_refused_with_a_reason(client, body):
    reply = client.post(begin(client) + "/messages", content=body.encode())
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("This isn't a message: ")
    assert len(reply.text) < 300


@pytest.mark.parametrize("deep", [DEEPEST, DEEPEST + 1])
def test_json_may_be_so_deep_and_no_deeper(deep):
    body = b"[" * deep + b"]" * deep
    if deep == DEEPEST:
        assert parse(body) == json.loads(body)
    else:
        with pytest.raises(NotStrict, match="more than 64 levels deep"):
            parse(body)


def test_what_is_usual_passes():
    value = {"text": "fée 👩‍💻 \u0000", "parameters": {"a": [1, 1.5, None, True, -(2**70), {}]}}
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize("seed", range(4))
def test_no_request_makes_the_server_fail(client, seed):
    chance = random.Random(seed)
    chat = begin(client)
    client.post(chat + "/messages", json={"text": "hello"})
    address = urlsplit(str(client.base_url))
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    [cookie] = [f"{name}={value}" for name, value in client.cookies.items()]
    statuses = set()
    for _ in range(ROUNDS):
        path, body = odd_path(chance, chat), chance.choice([*BODIES, *FORGED, "x" * 1000])
        method = chance.choice(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
        headers = {"Cookie": cookie, "Content-Type": chance.choice(["application/json", "a/b", ""])}
        connection.request(method, path, body.encode("utf-8", "replace"), headers)
        reply = connection.getresponse()
        text = reply.read()
        statuses.add(reply.status)
        assert reply.status < 500, (method, path, body[:100], text)
        if reply.status >= 400 and method != "HEAD":
            assert json.loads(text)["error"], (method, path, text)
    connection.close()
    assert {200, 400, 404, 405} <= statuses


def odd_path(chance: random.Random, chat: str) -> str:
    odd = chance.choice([*NAMES, *FORGED, "/", "a", "http://127.0.0.1/", "http://[", TOKEN])
    odd = quote(odd.encode("utf-8", "surrogatepass"), safe=chance.choice(["", "/.\\"]))
    kinds = [
        *(f"{chat}/messages", f"{chat}/messages?x={odd}", f"{chat}/retry", f"{chat}/{odd}"),
        *(f"{chat}/files?url={odd}", f"{chat}/files", f"/conversations/{odd}/messages"),
        *(f"/conversations?bot={odd}", "/conversations", "/state", f"/settings?bot={odd}"),
        *(f"/attachments?name={odd}", f"/attachments/{odd}/{odd}", f"/attachments/{odd}"),
        *(f"/{odd}", f"/vendor/{odd}", f"/?{odd}={odd}", f"/%00{odd}", f"/{odd}/../{odd}"),
        *("/%ff%fe", "/a%2f..%2f..%2fserver.py", f"/?token={odd}", "//", "/" + "n" * 3000),
    ]
    return chance.choice(kinds)
