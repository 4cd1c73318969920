"""A package, served in each of its three ways."""

import asyncio
import importlib.util
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import fastapi_poe as fp
import pytest

from infra.toolchain.pythons import runtime_python
from local.aws_lambda.service import FunctionConfig, LocalLambda
from tests.support.package import KEY

needs_awslambdaric = pytest.mark.skipif(
    importlib.util.find_spec("awslambdaric") is None,
    reason="awslambdaric has no wheel for this machine",
)
ENTRIES = ["bootstrap", pytest.param("awslambdaric", marks=needs_awslambdaric), "uvicorn"]


@asynccontextmanager
async def served_by(
    entry: str,
    package: Path,
    on_line: Callable[[str], object] = lambda line: None,
    **variables: str,
) -> AsyncIterator[str]:
    """Serve `package` by one of ENTRIES, with further variables; gives its URL. `on_line` gets what
    it writes, all of it by the end."""
    environment = {"POE_ACCESS_KEY": KEY, **variables}
    if entry == "uvicorn":
        async with _by_uvicorn(package, environment, on_line) as url:
            yield url
        return
    config = (
        FunctionConfig(package, runtime_python(), environment=environment)
        if entry == "bootstrap"
        else FunctionConfig(
            package,
            Path(sys.executable),
            wrapper=None,
            invoke_mode="BUFFERED",
            environment=environment,
        )
    )
    async with LocalLambda(config, on_line=on_line) as function:
        yield function.url
        await function.settled()


@asynccontextmanager
async def _by_uvicorn(
    package: Path, environment: Mapping[str, str], on_line: Callable[[str], object]
) -> AsyncIterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        # Its own script: unlike `-m uvicorn`, it puts "" on sys.path.
        *(Path(sys.executable).with_name("uvicorn"), "handler.asgi:app", "--port", str(port)),
        cwd=package,
        env={**environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout
    try:
        output = b""
        while b"Uvicorn running" not in output:
            line = await asyncio.wait_for(process.stdout.readline(), 20)
            assert line, output.decode()
            output += line
            on_line(line.decode().rstrip("\n"))
        yield f"http://127.0.0.1:{port}/"
    finally:
        if process.returncode is None:
            process.terminate()
        rest, _ = await process.communicate()
        for each in rest.decode().splitlines():
            on_line(each)


def query(text: str) -> fp.QueryRequest:
    """A user's first message."""
    return fp.QueryRequest(
        version="1.2",
        type="query",
        query=[fp.ProtocolMessage(role="user", content=text)],
        user_id="u",
        conversation_id="c",
        message_id="m",
    )


async def ask(url: str, text: str) -> str:
    """What the bot at `url` answers to Poe."""
    messages = fp.stream_request(query(text), "", KEY, base_url=url, num_tries=1)
    return "".join([message.text async for message in messages])
