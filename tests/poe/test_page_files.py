"""Which files the chat page's server fetches for its page, and from where."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest
import trustme

from poe.asgi_server import listener
from poe.asgi_server import served as served_here
from poe.page import files
from poe.page.files import File, Files, NotAllowed, NotFetched, TooLarge, is_public
from poe.page.named import image_urls, same
from tests.support.bots import served

pytestmark = pytest.mark.anyio

PUBLIC = "93.184.216.34"
Reply = tuple[int, dict[str, str], bytes]


class Site:
    """Answers by path; remembers who asked for what."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.hosts: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.hosts.append(dict(scope["headers"])[b"host"].decode())
        status, headers, body = self.replies[scope["path"]]
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    with served(site, lifespan="off") as url:
        yield url


def fetcher(*own: str) -> Callable[[str], Awaitable[File]]:
    return Files(httpx.AsyncClient, own=[each.rstrip("/") for each in own]).fetch


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """What each name resolves to, one list after another; every other name as ever."""
    known: dict[str, list[list[str]]] = {}
    real = asyncio.BaseEventLoop.getaddrinfo

    async def resolve(loop: Any, host: Any, port: Any, **options: Any) -> Any:
        if host in known:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in known[host].pop(0)
            ]
        return await real(loop, host, port, **options)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    return known


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fc00::1", "fec0::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::1"),
        *("2002:7f00:1::", "2001:0:1:2:3:4:80ff:fffe", "2001:db8::1", "4000::1"),
    ],
)
async def test_addresses_of_this_machine_and_its_network_arent_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700::1111", "64:ff9b::5db8:d822"])
async def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"),
        *("0", "169.254.169.254", "10.0.0.1", "LOCALHOST.", "[fe80::1%25lo]"),
    ],
)
async def test_nothing_of_this_machine_or_its_network_is_fetched(
    site: Site, url: str, host: str
) -> None:
    port = httpx.URL(url).port
    with pytest.raises((NotAllowed, NotFetched), match="address of|resolved|invalid"):
        await fetcher()(f"http://{host}:{port}/")
    assert site.hosts == []


@pytest.mark.parametrize(
    "bad", ["ftp://a.example/", "file:///etc/passwd", "//a/b", "http:///x", "http://u:p@a.example/"]
)
async def test_other_urls_are_refused(bad: str) -> None:
    with pytest.raises(NotAllowed):
        await fetcher()(bad)


async def test_a_name_with_one_address_in_this_network_is_refused(
    names: dict[str, list[list[str]]],
) -> None:
    names["a.example"] = [[PUBLIC, "127.0.0.1"]]
    with pytest.raises(NotAllowed, match="a.example is an address of this machine"):
        await fetcher()("http://a.example/")


async def test_the_connection_goes_to_the_address_that_was_checked(
    site: Site, url: str, names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here loopback's address passes for a public one, so that something answers."""
    checked = []
    monkeypatch.setattr(files, "is_public", lambda address: not checked.append(str(address)))
    site.replies["/a"] = (200, {"content-type": "image/png; x=1"}, b"png")
    names["a.example"] = [["127.0.0.1"]]  # asked a second time, it would have no answer
    port = httpx.URL(url).port
    assert await fetcher()(f"http://a.example:{port}/a") == File(b"png", "image/png")
    assert checked == ["127.0.0.1"]
    assert site.hosts == [f"a.example:{port}"]


async def test_tls_proves_the_name_though_the_address_is_what_is_dialled(
    site: Site,
    names: dict[str, list[list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(files, "is_public", lambda address: True)
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "ca.pem"))
    authority.issue_cert("a.example").configure_cert(tls)
    site.replies["/"] = (200, {}, b"x")
    names.update({"a.example": [["127.0.0.1"]], "b.example": [["127.0.0.1"]]})
    sockets = listener(0)
    port = sockets.getsockname()[1]
    async with served_here(site, sockets, tls):
        assert (await fetcher()(f"https://a.example:{port}/")).content == b"x"
        with pytest.raises(NotFetched, match="ConnectError"):
            await fetcher()(f"https://b.example:{port}/")


async def test_an_address_that_doesnt_answer_gives_way_to_the_next(
    site: Site, url: str, names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "is_public", lambda address: True)
    site.replies["/"] = (200, {}, b"x")
    names["a.example"] = [["127.0.0.9", "127.0.0.1"]]
    port = httpx.URL(url).port
    assert (await fetcher()(f"http://a.example:{port}/")).content == b"x"


async def test_this_runs_own_servers_are_asked_but_no_redirect_of_theirs_leads_elsewhere_here(
    site: Site, url: str
) -> None:
    site.replies["/there"] = (302, {"location": "/file"}, b"")
    site.replies["/file"] = (200, {"content-type": "text/html"}, b"<b>")
    assert await fetcher(url)(f"{url}there") == File(b"<b>", "text/html")
    with served(site, lifespan="off") as other:
        for location in (other, other.replace("http:", ""), "http://2130706433/", "file:///etc"):
            site.replies["/away"] = (302, {"location": location}, b"")
            with pytest.raises(NotAllowed):
                await fetcher(url)(f"{url}away")
    assert len(site.hosts) == 2 + 4


async def test_a_circle_of_redirects_ends(site: Site, url: str) -> None:
    site.replies["/"] = (302, {"location": "/"}, b"")
    with pytest.raises(NotFetched, match="redirects too often"):
        await fetcher(url)(url)


async def test_an_error_a_silence_and_too_much_are_no_file(
    site: Site, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.replies["/none"] = (404, {}, b"")
    with pytest.raises(NotFetched, match="HTTPStatusError"):
        await fetcher(url)(f"{url}none")
    monkeypatch.setattr(files, "FILE_LIMIT", 10)
    site.replies["/big"] = (200, {}, b"x" * 11)
    with pytest.raises(TooLarge):
        await fetcher(url)(f"{url}big")
    monkeypatch.setattr(files, "_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        quiet = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NotFetched, match=r"arrive within|ReadTimeout"):
            await fetcher(quiet)(quiet)


@pytest.mark.parametrize("kind", ["", "image", "image/png\x80x", "image/é", "a/b/c", "image/p,x/y"])
async def test_a_type_that_is_none_becomes_bytes(site: Site, url: str, kind: str) -> None:
    site.replies["/"] = (200, {"content-type": kind}, b"x")
    assert (await fetcher(url)(url)).content_type == "application/octet-stream"


A = "http://a.example/"


@pytest.mark.parametrize(
    ("markdown", "urls"),
    [
        (f"![x]({A}1)", [f"{A}1"]),
        (f"![x]( <{A}a b> 'title')", [f"{A}a b"]),
        (f'![a [b] c]({A}x(1)y "title") and ![]({A}2)', [f"{A}x(1)y", f"{A}2"]),
        (f"[![x]({A}1)]({A}2)", [f"{A}1"]),
        (f"![x][ref]\n\n[ref]: {A}3 'title'\n", [f"{A}3"]),
        (f"![x][ref]\n\n[ref]:\n  <{A}3>\n", [f"{A}3"]),
        (rf"![x]({A}a\_b&amp;c)", [f"{A}a_b&c"]),
        (f"{A}1 and [a link]({A}2) and `{A}3`", []),
    ],
)
async def test_an_answers_images_are_found(markdown: str, urls: list[str]) -> None:
    assert list(image_urls(markdown)) == urls


async def test_a_url_is_named_as_a_whole_or_not_at_all() -> None:
    [named] = image_urls("![x](http://a.example/1?u=http://b.example/)")
    assert same(named) != same("http://a.example/1")
    assert same(named) != same("http://b.example/")
    assert same("http://münchen.example/ä b") == same("http://xn--mnchen-3ya.example/%C3%A4%20b")
    for odd in ("http://[", "\ud800", "", "http://a\x00b/"):
        assert same(odd) == same(odd)


async def test_many_brackets_cost_little() -> None:
    for text in ("![" * 50_000, "![a" * 30_000 + "](", "[" * 100_000, "![x](" + "(" * 99_000):
        assert len(list(image_urls(text))) <= 1
