"""Who gets an answer of the chat page's server, and what others find of it on the disk."""

import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import fastapi_poe as fp
import httpx
import pytest

from poe.page.guard import NO_TOKEN
from poe.page.proof import proof
from poe.page.server import ChatPage
from poe.page.token import kept_token
from tests.support.bots import served
from tests.support.page import TOKEN, ScriptedBot, served_page

ENDPOINTS = [
    ("GET", "/"),
    ("HEAD", "/"),
    ("OPTIONS", "/"),
    ("GET", "/app.js"),
    ("GET", "/vendor/dompurify/purify.min.js"),
    ("GET", "/state"),
    ("GET", "/settings?bot=/"),
    ("POST", "/conversations?bot=/"),
    ("POST", "/conversations/c-1/messages"),
    ("PUT", "/conversations/c-1?bot=/"),
    ("POST", "/conversations/c-1/retry"),
    ("GET", "/conversations/c-1/files?url=http://a.example/"),
    ("POST", "/attachments?name=a.txt"),
    ("GET", "/attachments/0123456789abcdef0123456789abcdef/a.txt"),
    ("GET", "/nowhere"),
    ("GET", "/proof/"),
    ("GET", "/proof/../state"),
    ("GET", f"/proof/{'0' * 33}"),
    ("POST", f"/proof/{'0' * 32}"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("run") / "page"
    made.mkdir(mode=0o755)  # as an earlier version left it
    return made


@pytest.fixture(scope="module")
def page(folder) -> Iterator[ChatPage]:
    bot = ScriptedBot({}, fp.SettingsResponse())
    with served(fp.make_app(bot)) as bot_url, served_page(bot_url, folder=folder) as page:
        yield page


@pytest.fixture
def stranger(page) -> Iterator[httpx.Client]:
    """Another user of this machine, who can send any request."""
    with httpx.Client(base_url=page.url, trust_env=False) as client:
        yield client


def cookie_name(page: ChatPage) -> str:
    return f"poe-bot-page-{urlsplit(page.url).port}"


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize(
    "given",
    ["", TOKEN[:-1], TOKEN + "A", TOKEN.swapcase(), "é" * 43],
    ids=["none", "shorter", "longer", "other case", "not ASCII"],
)
def test_without_the_token_nothing_is_answered(stranger, page, method, path, given):
    cookie = f"{cookie_name(page)}={given}".encode()
    separator = "&" if "?" in path else "?"
    for request in (
        {"url": path},
        {"url": path, "headers": {"Cookie": cookie}},
        {"url": f"{path}{separator}token={given}"},
        {"url": path, "headers": {"Authorization": f"Bearer {TOKEN}"}},
    ):
        reply = stranger.request(method, **request)
        assert reply.status_code == 403
        assert reply.text == ("" if method == "HEAD" else NO_TOKEN)
        assert "set-cookie" not in reply.headers


def test_a_wrong_body_isnt_read_without_the_token(stranger):
    reply = stranger.post("/conversations/c-1/messages", content=b"{")
    assert (reply.status_code, reply.text) == (403, NO_TOKEN)


def test_the_address_becomes_a_cookie_and_leaves_the_bar(stranger, page):
    reply = stranger.get(page.address)
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    [cookie] = reply.headers.get_list("set-cookie")
    name, *attributes = cookie.split("; ")
    assert name == f"{cookie_name(page)}={TOKEN}"
    assert {each.lower() for each in attributes} == {"httponly", "path=/", "samesite=strict"}
    assert stranger.get("/").status_code == 200
    assert TOKEN not in stranger.get("/").text


def test_the_cookie_counts_among_others_of_its_name(stranger, page):
    # Another server on this machine may have set it, for a longer path.
    both = f"{cookie_name(page)}=theirs; {cookie_name(page)}={TOKEN}; other=1"
    assert stranger.get("/", headers={"Cookie": both}).status_code == 200


def test_a_redirect_leads_nowhere_else_and_keeps_the_rest_of_the_address(stranger, page):
    for path, location in (
        ("/settings?bot=%2F&token={}", "/settings?bot=%2F"),
        ("//evil.example/?token={}", "/evil.example/"),
        ("/a%0d%0ab?token={}", "/a%0D%0Ab"),
    ):
        reply = stranger.get(f"{page.url}{path[1:]}".format(TOKEN))
        assert (reply.status_code, reply.headers["location"]) == (303, location)


def test_a_bot_needs_no_token_for_what_was_attached_and_nobody_can_guess_it(stranger, page):
    made = stranger.post("/attachments", params={"name": "a.txt", "token": TOKEN}, content=b"x")
    url = made.json()["url"]
    with httpx.Client(trust_env=False) as bot:
        assert bot.get(url).content == b"x"
        assert bot.get(url + "x").status_code == 403
        assert bot.get(url.replace("/attachments/", "/attachments/0")).status_code == 403
        assert bot.post(url).status_code == 403


def test_a_server_proves_itself_to_whoever_asks_for_its_own_port_alone(stranger, page):
    challenge = "0123456789abcdef" * 2
    port = urlsplit(page.url).port
    given = stranger.get(f"/proof/{challenge}").text
    assert given == proof(TOKEN, port, challenge)
    assert given != proof(TOKEN, port + 1, challenge)
    assert given != stranger.get(f"/proof/{challenge[::-1]}").text
    assert TOKEN not in given


@pytest.mark.parametrize("path", ["/", "/app.js", "/state", "/nowhere"])
@pytest.mark.parametrize("has_token", [True, False])
def test_every_answer_tells_the_browser_to_keep_others_out(stranger, page, path, has_token):
    if has_token:
        stranger.get(page.address)
    headers = stranger.get(path).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("dest", "status"), [("document", 200), ("iframe", 403), ("embed", 403)])
@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_another_site_may_lead_to_the_page_and_not_contain_it(stranger, page, site, dest, status):
    stranger.get(page.address)
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": dest}
    assert stranger.get("/", headers=headers).status_code == status


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_attached_lies_in_a_folder_of_its_owner_alone(stranger, folder):
    stranger.post("/attachments", params={"name": "a.txt", "token": TOKEN}, content=b"x")
    assert mode(folder) == 0o700
    assert list(folder.iterdir())


def test_a_page_left_open_goes_on_after_a_restart(tmp_path):
    token = kept_token(tmp_path / "page-token")
    assert kept_token(tmp_path / "page-token") == token
    assert mode(tmp_path / "page-token") == 0o600
    assert kept_token(tmp_path / "another") != token


@pytest.mark.parametrize("spoil", ["readable", "empty", "odd"])
def test_a_token_that_others_may_know_or_that_is_spoilt_is_replaced(tmp_path, spoil):
    file = tmp_path / "page-token"
    before = kept_token(file)
    if spoil == "readable":
        file.chmod(0o644)
    else:
        file.write_bytes(b"" if spoil == "empty" else b"\xff\x00a")
    assert kept_token(file) not in (before, "")
    assert mode(file) == 0o600
