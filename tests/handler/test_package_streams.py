"""The real package in a local Lambda, asked by fastapi_poe's own client as Poe would."""

import asyncio
import json
import shutil
import time
from pathlib import Path

import fastapi_poe as fp
import httpx
import pytest
from fastapi_poe.client import BotErrorNoRetry

from local.aws_lambda.service import FunctionConfig, LocalLambda
from tests.support.entries import query
from tests.support.package import KEY, started
from tests.support.runtime_api import function_url_event

pytestmark = pytest.mark.anyio

BOT = """
import asyncio, os, sys, time
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        word = request.query[-1].content
        if word == "paced":
            for number in range(4):
                yield fp.PartialResponse(text=str(time.time()) + " ")
                await asyncio.sleep(0.2)
        elif word == "think":
            await asyncio.sleep(0.5)
            yield fp.PartialResponse(text="thought")
        elif word == "burst":
            for number in range(2000):
                yield fp.PartialResponse(text=f"{number} ")
        elif word == "fail":
            yield fp.PartialResponse(text="half")
            raise ValueError(word)
        elif word == "print":
            print("printed", end="")
            print(" and flushed", end="")
            yield fp.PartialResponse(text="x")
        elif word == "modules":
            yield fp.PartialResponse(text="\\n".join(
                getattr(module, "__file__", None) or "" for module in list(sys.modules.values())))
        elif word == "import":
            import layered, boto3
            yield fp.PartialResponse(text=f"{layered.__file__} {boto3.__file__}")
        else:
            yield fp.PartialResponse(text=f"echo {word}")

bot = Bot()
"""


@pytest.fixture(scope="module")
def echo_package(build_with_bot):
    return build_with_bot(BOT)


@pytest.fixture(scope="module")
async def bot_url(echo_package, runtime_python):
    config = FunctionConfig(echo_package, runtime_python, environment={"POE_ACCESS_KEY": KEY})
    async with LocalLambda(config, on_line=lambda line: None) as function:
        yield function.url


async def ask(url, word):
    """(text, seconds since the epoch of its arrival) for each message."""
    messages = fp.stream_request(query(word), "", KEY, base_url=url, num_tries=1)
    return [(message.text, time.time()) async for message in messages]


async def test_each_message_reaches_the_client_before_the_next_is_made(bot_url):
    messages = await ask(bot_url, "paced")
    made = [float(text) for text, _ in messages]
    arrived = [at for _, at in messages]
    assert len(messages) == 4
    for arrival, next_made in zip(arrived, made[1:], strict=False):
        assert arrival < next_made


async def test_the_client_gets_a_first_byte_while_the_bot_still_thinks(bot_url):
    await ask(bot_url, "warm")
    body = json.dumps(query("think").model_dump())
    async with (
        httpx.AsyncClient() as http,
        http.stream("POST", bot_url, content=body, headers={"Authorization": f"Bearer {KEY}"}) as r,
    ):
        pieces = [(piece, time.monotonic()) async for piece in r.aiter_raw()]
    assert pieces[0][0] == b":\r\n\r\n"
    assert pieces[1][1] - pieces[0][1] > 0.3


async def test_a_burst_arrives_whole_and_in_order(bot_url):
    messages = await ask(bot_url, "burst")
    assert "".join(text for text, _ in messages).split() == [str(n) for n in range(2000)]


async def test_a_bot_that_fails_midway_says_so_and_the_next_request_is_served(bot_url):
    with pytest.raises(BotErrorNoRetry, match="unexpected issue"):
        await ask(bot_url, "fail")
    assert [text for text, _ in await ask(bot_url, "hello")] == ["echo hello"]


async def test_nothing_is_imported_but_python_and_the_package(
    bot_url, echo_package, runtime_python
):
    [(text, _)] = await ask(bot_url, "modules")
    files = [file for file in text.splitlines() if file]
    standard = json.loads(
        await _run(
            runtime_python,
            "import json, sysconfig; print(json.dumps(sysconfig.get_path('stdlib')))",
        )
    )
    assert any(file.startswith(str(echo_package)) for file in files)
    assert not [
        file
        for file in files
        if not file.startswith((str(echo_package), standard)) or "site-packages" in file
    ]
    assert not [file for file in files if "botocore" in file or "/uvicorn/" in file]


async def _run(python, code):
    process = await asyncio.create_subprocess_exec(
        python, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output


def poe_event(word):
    return function_url_event(
        headers={"authorization": f"Bearer {KEY}"}, body=query(word).model_dump_json()
    )


async def test_what_a_bot_prints_leaves_at_once_without_any_python_variable(
    echo_package, runtime_python
):
    async with started(echo_package, runtime_python) as process:
        await process.invoke(poe_event("print"))
        assert await process.line() == "printed and flushed"


async def test_a_path_after_the_runtime_apis_address_is_kept(echo_package, runtime_python):
    async with started(echo_package, runtime_python, prefix="/a/b") as process:
        request = await process.invoke(poe_event("hello"))
    assert b"echo hello" in request.body
    assert list(request.frames[1:3]) == [b"\0" * 8, b":\r\n\r\n"]


async def test_a_layers_module_and_the_runtimes_boto3_are_found(
    echo_package, runtime_python, tmp_path, layer
):
    (layer / "layered.py").write_text("")
    (tmp_path / "boto3.py").write_text("")
    (tmp_path / "fastapi_poe.py").write_text("raise ImportError('the package comes first')")
    environment = {"POE_ACCESS_KEY": KEY, "LAMBDA_RUNTIME_DIR": str(tmp_path)}
    async with started(echo_package, runtime_python, environment) as process:
        request = await process.invoke(poe_event("import"))
    assert f"{layer}/layered.py {tmp_path}/boto3.py".encode() in request.body


@pytest.fixture
def layer():
    """Lambda's folder for layers, where this machine allows to create it."""
    folder = Path("/opt/python")
    if folder.exists():
        pytest.skip("/opt/python is in use on this machine")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("/opt/python can't be created without root")
    yield folder
    shutil.rmtree(folder)
