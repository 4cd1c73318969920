"""How often a process holds a request while the bot answers it: counted by blocks of memory, one
for each large text, in the real package."""

import asyncio
import json

import pytest

from tests.support.package import KEY, started
from tests.support.runtime_api import function_url_event

pytestmark = pytest.mark.anyio

# Whoever comes last counts for all, while each of them has its request.
BOT = """
import asyncio, gc, json, tracemalloc
import fastapi_poe as fp

tracemalloc.start()
here, counted = [], asyncio.Event()

def count():
    gc.collect()
    blocks = [trace.size for trace in tracemalloc.take_snapshot().traces if trace.size > 90_000]
    parsed = [each for each in gc.get_objects() if type(each) is dict and "unknown to Poe" in each]
    return {"blocks": len(blocks), "parsed": len(parsed)}

class Bot(fp.PoeBot):
    async def ANSWER:
        at_once = int(request.user_id)
        here.append(1)
        if len(here) % at_once:
            await counted.wait()
            return
        yield fp.PartialResponse(text=json.dumps(count()))
        counted.set()
        counted.clear()

bot = Bot()
"""
PLAIN = BOT.replace("ANSWER", "get_response(self, request)")
SEES_HTTP = BOT.replace("ANSWER", "get_response_with_context(self, request, context)")


FAULTS = """
import resource
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        yield fp.PartialResponse(text=str(faults))

bot = Bot()
"""


def event(text, at_once):
    """A query whose one large text is in a message of its own."""
    large = {"role": "user", "content": text * 100_000, "unknown to Poe": []}
    document = {
        "type": "query",
        "version": "1.2",
        "query": [large, {"role": "user", "content": "hi"}],
        "user_id": str(at_once),
        "conversation_id": "c",
        "message_id": "m",
    }
    headers = {"authorization": f"Bearer {KEY}"}
    return function_url_event(headers=headers, body=json.dumps(document))


async def counted(package, python, text, at_once):
    """What the bot has counted, when it is asked for the second time."""
    environment = {"POE_ACCESS_KEY": KEY, "AWS_LAMBDA_MAX_CONCURRENCY": str(at_once)}
    async with started(package, python, environment, concurrency=at_once) as process:
        for _ in range(2):
            await process.double.idle(at_once)
            asked = [process.double.ask(event(text, at_once)) for _ in range(at_once)]
            answers = await asyncio.gather(*asked)
    [found] = [found for each in answers for found in texts(each)]
    return json.loads(found)


def texts(answer):
    """What the bot has said, event by event."""
    data = [line.removeprefix(b"data: ") for line in answer.body.splitlines() if b'"text"' in line]
    return [json.loads(each)["text"] for each in data]


@pytest.mark.parametrize("text", ["x", "ж", "😀"])
@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_request_is_held_once_as_the_bots_query(
    build_with_bot, runtime_python, at_once, text
):
    found = await counted(build_with_bot(PLAIN), runtime_python, text, at_once)
    assert found == {"blocks": at_once, "parsed": 0}


@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_bot_that_is_given_the_http_request_holds_its_body_too(
    build_with_bot, runtime_python, at_once
):
    found = await counted(build_with_bot(SEES_HTTP), runtime_python, "x", at_once)
    assert found == {"blocks": 2 * at_once, "parsed": 0}


async def test_a_large_request_uses_the_memory_that_the_one_before_it_has_freed(
    build_with_bot, runtime_python
):
    """Every page that the kernel has to hand out is a fault: without that, a thousand of them."""
    large = event('"a" is 1\n', 1)
    async with started(build_with_bot(FAULTS), runtime_python) as process:
        answers = [await process.invoke(large) for _ in range(5)]
    faults = [int(text) for each in answers for text in texts(each)]
    assert faults[-1] - faults[-2] < 100
