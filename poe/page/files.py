"""Fetches files that a bot's answers name, and nothing of this machine or its network.

An answer may be written by a stranger, and this machine reaches what strangers don't: other
programs' ports, a router, a cloud's metadata. So a name is resolved once, every address has to be
public, and the connection goes to that very address: a name that leads elsewhere a moment later
(DNS rebinding) changes nothing. Redirects are checked alike.
"""

import asyncio
import ipaddress
import re
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from poe.standin.standin import HOSTS, PoeStandIn

FILE_LIMIT = 50_000_000  # bytes
UNKNOWN_TYPE = "application/octet-stream"

_SECONDS = 30
_HOPS = 5
_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)  # RFC 6838, 4.2
_UNICAST = ipaddress.ip_network("2000::/3")  # the only part of IPv6 that is given to hosts
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotFetched(Exception):
    """The file can't be fetched; the text is the reason."""


class NotAllowed(NotFetched):
    """The address isn't one to fetch from."""


class TooLarge(Exception):
    """More bytes than a limit; the text names it."""


@dataclass(frozen=True)
class File:
    content: bytes
    content_type: str


class Files:
    """Fetches from public addresses, from Poe's stand-in, and from this run's own servers.

    poe   gives a client that reaches the stand-in by Poe's names
    own   the origins of this run's own servers, such as "http://127.0.0.1:9000"
    """

    def __init__(self, poe: Callable[[], httpx.AsyncClient], own: Collection[str]) -> None:
        self._poe = poe
        self._own = own

    async def fetch(self, url: str) -> File:
        """The file at an http or https URL. Raises NotFetched, and TooLarge for more than
        FILE_LIMIT bytes."""
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._follow(_checked(url))
        except TimeoutError:
            raise NotFetched(f"it didn't arrive within {_SECONDS} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NotFetched(type(error).__name__) from None

    async def _follow(self, url: httpx.URL) -> File:
        for _ in range(_HOPS):
            async with self._answer(url) as reply:
                if not reply.has_redirect_location:
                    reply.raise_for_status()
                    return File(await within(reply.aiter_bytes(), FILE_LIMIT), _type(reply))
                url = _checked(str(url.join(reply.headers["location"])))
        raise NotFetched("it redirects too often")

    @asynccontextmanager
    async def _answer(self, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        if url.host in HOSTS and url.scheme == "https" and url.port is None:
            async with self._poe() as client, client.stream("GET", url) as reply:
                yield reply
            return
        async with httpx.AsyncClient(trust_env=False, timeout=_SECONDS) as client:
            reply = await self._directly(client, url)
            try:
                yield reply
            finally:
                await reply.aclose()

    async def _directly(self, client: httpx.AsyncClient, url: httpx.URL) -> httpx.Response:
        if _origin(url) in self._own:
            return await client.send(client.build_request("GET", url), stream=True)
        *others, last = await _public_addresses(url)
        for address in others:
            try:
                return await client.send(_request(client, url, address), stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await client.send(_request(client, url, last), stream=True)


def file_client(poe: PoeStandIn) -> httpx.AsyncClient:
    """A client that reaches the stand-in under Poe's names, as the bot does."""
    authorities = ssl.create_default_context(cafile=str(poe.ca_file))
    return httpx.AsyncClient(proxy=poe.proxy_url, verify=authorities, timeout=_SECONDS)


async def within(chunks: AsyncIterable[bytes], limit: int) -> bytes:
    """All chunks in one. Raises TooLarge where that is more than `limit` bytes."""
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > limit:
            raise TooLarge(f"This is too large: the limit is {limit // 1_000_000} MB.")
    return bytes(content)


def is_public(address: Address) -> bool:
    """Whether it belongs to the Internet, and to one host of it."""
    if isinstance(address, ipaddress.IPv6Address):
        address = _embedded(address) or address
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a gateway makes of this one."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]


async def _public_addresses(url: httpx.URL) -> list[str]:
    """Each address of the URL's host. Raises NotAllowed if one isn't public."""
    host, port = url.raw_host.decode(), url.port or {"http": 80, "https": 443}[url.scheme]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port)
    except (OSError, UnicodeError):
        raise NotFetched(f"{host} can't be resolved") from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not all(is_public(ipaddress.ip_address(address)) for address in addresses):
        raise NotAllowed(f"{host} is an address of this machine or its network")
    return addresses


def _request(client: httpx.AsyncClient, url: httpx.URL, address: str) -> httpx.Request:
    """For the URL, at this address. TLS still proves the name."""
    return client.build_request(
        "GET",
        url.copy_with(host=address),
        headers={"Host": url.netloc.decode()},
        extensions={"sni_hostname": url.raw_host.decode()},
    )


def _checked(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        raise NotAllowed("its URL is invalid") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise NotAllowed("its URL isn't http or https")
    if url.userinfo:
        raise NotAllowed("its URL has a user or a password")
    return url


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode()}"


def _type(reply: httpx.Response) -> str:
    """The media type alone, if it is one."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind if _TYPE.fullmatch(kind) else UNKNOWN_TYPE
