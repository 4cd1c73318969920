"""The stand-in for Poe, met by what else a bot may call it with, and other hosts through it."""

import asyncio
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import certifi
import httpx
import httpx2
import pytest
import requests
import trustme
from botocore.exceptions import ClientError

from poe.standin.standin import PoeStandIn

pytestmark = pytest.mark.anyio

KEY = "k" * 32


def by_urllib(url: str) -> int:
    try:
        # urlopen's own opener keeps the proxies that a test before this one had.
        with urllib.request.build_opener().open(url) as reply:
            status: int = reply.status
            return status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def by_botocore(url: str) -> int:
    options = {"region_name": "eu-west-1", "endpoint_url": url}
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = botocore.session.get_session().create_client("s3", **options, **keys)
    try:
        answer = client.list_buckets()
    except ClientError as error:
        answer = error.response
    status: int = answer["ResponseMetadata"]["HTTPStatusCode"]
    return status


def by_curl(url: str) -> int:
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", url]
    return int(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)


CLIENTS: list[Any] = [
    lambda url: httpx.get(url).status_code,
    lambda url: httpx2.get(url).status_code,  # OpenAI's and Anthropic's
    lambda url: requests.get(url).status_code,
    by_urllib,
    by_botocore,
    pytest.param(by_curl, marks=pytest.mark.skipif(not shutil.which("curl"), reason="no curl")),
]


@pytest.mark.parametrize(
    "get", CLIENTS, ids=["httpx", "httpx2", "requests", "urllib", "botocore", "curl"]
)
async def test_every_client_trusts_the_stand_in_and_public_authorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, get: Callable[[str], int]
) -> None:
    public = trustme.CA()  # as if it were one
    public.cert_pem.write_to_path(str(tmp_path / "public.pem"))
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "public.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    public.issue_cert("127.0.0.2").configure_cert(tls)
    async with (
        PoeStandIn(access_key=KEY, folder=tmp_path, on_line=lambda line: None) as poe,
        # Its end would wait 30 s for a client that closes without TLS's own farewell.
        await asyncio.start_server(
            teapot, "127.0.0.2", 0, ssl=tls, ssl_shutdown_timeout=0.1
        ) as server,
    ):
        for name, value in poe.environment.items():
            monkeypatch.setenv(name, value)
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.to_thread(get, "https://api.poe.com") == 404
        assert await asyncio.to_thread(get, f"https://127.0.0.2:{port}") == 418


async def teapot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()
