"""What makes a start fast leaves nothing switched off behind it."""

import json

import pytest

from tests.support.entries import query
from tests.support.package import KEY, started
from tests.support.runtime_api import function_url_event

pytestmark = pytest.mark.anyio

LOOKING = """
import gc, json, os, sys
EARLY = sorted({"h11", "boto3", "encodings.idna", "mangum"} & set(sys.modules))
import fastapi_poe as fp
import httpx
from pydantic import BaseModel

class Own(BaseModel):
    text: str

HOT = (Own, fp.QueryRequest, fp.RequestContext, fp.PartialResponse)
BUILT = [model.__pydantic_complete__ for model in HOT]  # before a user waits for it

class Bot(fp.PoeBot):
    async def get_response(self, request):
        async with httpx.AsyncClient() as client:
            pool = client._transport._pool
            stats = pool._ssl_context.cert_store_stats()
        found = {
            "gc": [gc.isenabled(), gc.get_freeze_count() > 10_000],
            "built": BUILT,
            "directory": os.environ.get("SSL_CERT_DIR"),
            "authorities read": stats["x509_ca"],
            "early": EARLY,
        }
        yield fp.PartialResponse(text=json.dumps(found))

bot = Bot()
"""


async def look(package, python, environment):
    body = query("hello").model_dump_json()
    event = function_url_event(headers={"authorization": f"Bearer {KEY}"}, body=body)
    async with started(package, python, {"POE_ACCESS_KEY": KEY, **environment}) as process:
        answer = await process.invoke(event)
    first = next(line for line in answer.body.split(b"\r\n") if line.startswith(b"data: "))
    return json.loads(json.loads(first.removeprefix(b"data: "))["text"])


@pytest.fixture(scope="module")
def package(build_with_bot):
    return build_with_bot(LOOKING)


async def test_garbage_is_collected_and_models_are_built_after_the_start(package, runtime_python):
    found = await look(package, runtime_python, {})
    assert found["gc"] == [True, True]
    assert found["built"] == [True] * 4


async def test_a_start_imports_no_client_that_it_does_without(package, runtime_python):
    found = await look(package, runtime_python, {})
    assert found["early"] == ["mangum"]  # which shows that others would be seen


async def test_a_bots_clients_look_authorities_up_one_by_one(package, runtime_python):
    found = await look(package, runtime_python, {})
    assert found["directory"] == str(package / "certificates")
    assert found["authorities read"] == 0


async def test_authorities_that_a_user_names_are_left_alone(package, runtime_python):
    bundle = str(package / "certifi" / "cacert.pem")
    found = await look(package, runtime_python, {"SSL_CERT_FILE": bundle})
    assert found["directory"] is None
    assert found["authorities read"] > 100
    found = await look(package, runtime_python, {"SSL_CERT_DIR": "/etc/ssl/certs"})
    assert found["directory"] == "/etc/ssl/certs"


async def test_a_start_that_leaves_poe_too_little_time_is_warned_of(build_with_bot, runtime_python):
    package = build_with_bot(f"import time\ntime.sleep(4.1)\n{LOOKING}")
    async with started(package, runtime_python) as process:
        line = json.loads(await process.line())
    assert line["level"] == "WARN"
    assert line["message"].startswith("the start took ")
    assert "give the function more memory" in line["message"]
