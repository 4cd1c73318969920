"""Starts that fail: one init error with what to do, and exit status 1."""

import json

import pytest

from handler.__main__ import BadEnvironment, _concurrency
from tests.support.closed import CLOSED
from tests.support.entries import query
from tests.support.package import KEY, started
from tests.support.runtime_api import function_url_event

pytestmark = pytest.mark.anyio

ECHO = """
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text="hello")

bot = Bot()
"""


async def init_error(package, python, environment=None):
    """The one error document that the start reports, with its lines in the log."""
    async with started(package, python, environment) as process:
        status, lines = await process.end()
        assert status == 1
        [request] = process.double.requests
        assert request.path == "init/error"
        document = json.loads(request.body)
        assert request.headers["lambda-runtime-function-error-type"] == document["errorType"]
        assert process.double.polls == 0
    assert lines[-1]["level"] == "FATAL"
    assert document["errorMessage"] in lines[-1]["message"]
    return document


# The words for each kind of failure are in test_bot_folder.
@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("raise ValueError('a secret text')", "ValueError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("from asyncio import *; raise CancelledError", "CancelledError"),
    ],
)
async def test_a_bot_that_cannot_be_imported(build_with_bot, runtime_python, source, kind):
    document = await init_error(build_with_bot(source), runtime_python)
    assert document["errorType"] == f"Runtime.{kind}"
    assert document["errorMessage"] == f"{kind} (bot.py:1 in <module>)"
    assert "a secret text" not in json.dumps(document)


async def test_a_library_that_was_built_for_another_machine(build_with_bot, runtime_python):
    """What reports it doesn't need any: the first that is missing is pydantic's parser."""
    package = build_with_bot(ECHO)
    [compiled] = (package / "pydantic_core").glob("_pydantic_core*.so")
    compiled.unlink()
    document = await init_error(package, runtime_python)
    assert document["errorType"] == "Runtime.ImportError"


@pytest.mark.parametrize("kind", ["ValueError", "SystemExit", "KeyboardInterrupt"])
async def test_a_startup_of_the_bots_app_that_fails(build_with_bot, runtime_python, kind):
    source = f"""
import contextlib
import fastapi

@contextlib.asynccontextmanager
async def lifespan(app):
    raise {kind}("a secret text")
    yield

app = fastapi.FastAPI(lifespan=lifespan)
{ECHO}"""
    document = await init_error(build_with_bot(source), runtime_python)
    assert document["errorType"] == f"Runtime.{kind}"
    assert document["errorMessage"] == f"{kind} (bot.py:7 in lifespan)"


@pytest.mark.parametrize(
    ("end", "kind"),
    [("raise SystemExit", "SystemExit"), ("asyncio.get_running_loop().stop()", "RuntimeError")],
)
async def test_a_bots_task_that_would_end_the_process_ends_itself_alone(
    build_with_bot, runtime_python, end, kind
):
    source = f"""
import asyncio

async def end():
    await asyncio.sleep(0.1)
    {end}

TASK = asyncio.get_event_loop().create_task(end())
{ECHO}"""
    async with started(build_with_bot(source), runtime_python) as process:
        line = json.loads(await process.line())
        assert (line["level"], line["errorType"]) == ("ERROR", kind)
        assert (await process.invoke(function_url_event("GET"))).prelude["statusCode"] == 200


async def test_a_failed_start_waits_for_nothing_that_the_bot_left_behind(
    build_with_bot, runtime_python
):
    source = """
import atexit, concurrent.futures, threading

threading.Thread(target=threading.Event().wait).start()
concurrent.futures.ThreadPoolExecutor().submit(threading.Event().wait)
atexit.register(threading.Event().wait)
raise ValueError
"""
    document = await init_error(build_with_bot(source), runtime_python)
    assert document["errorType"] == "Runtime.ValueError"


async def test_no_key_at_all(package, runtime_python):
    document = await init_error(package, runtime_python, {})
    assert "ACCESS_KEY_SECRET_ARN" in document["errorMessage"]


async def test_a_secret_that_cannot_be_reached(package, runtime_python):
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:poe-AbCdEf"
    document = await init_error(
        package,
        runtime_python,
        {
            "ACCESS_KEY_SECRET_ARN": arn,
            "POE_ACCESS_KEY": KEY,  # no way round the secret
            "AWS_ENDPOINT_URL": f"http://{CLOSED}",
        },
    )
    assert document["errorType"] == "Runtime.SecretUnreadable"
    assert arn in document["errorMessage"]


async def test_a_wrong_number_of_invocations_at_a_time_is_refused(package, runtime_python):
    document = await init_error(
        package, runtime_python, {"POE_ACCESS_KEY": KEY, "AWS_LAMBDA_MAX_CONCURRENCY": "0"}
    )
    assert "AWS_LAMBDA_MAX_CONCURRENCY" in document["errorMessage"]


@pytest.mark.parametrize("value", ["-1", "4.5", "many", "", "10000", "1\n", chr(0x661)])
def test_a_number_of_invocations_is_a_whole_one_from_1_to_9999(value):
    assert _concurrency({"AWS_LAMBDA_MAX_CONCURRENCY": "9999"}) == 9999
    with pytest.raises(BadEnvironment):
        _concurrency({"AWS_LAMBDA_MAX_CONCURRENCY": value})


async def test_the_key_is_read_from_secrets_manager_and_one_invocation_at_a_time_is_served(
    build_with_bot, runtime_python
):
    from local.secrets_manager import secret

    members = {"POE_ACCESS_KEY": f"  {KEY}\n", "OTHER": "x"}
    body = query("hi").model_dump_json()
    event = function_url_event(headers={"authorization": f"Bearer {KEY}"}, body=body)
    async with secret(members) as held:
        package = build_with_bot(ECHO + "\nimport os; os.environ['OTHER']")
        environment = {**held.environment, "AWS_LAMBDA_MAX_CONCURRENCY": "1"}
        async with started(package, runtime_python, environment) as process:
            request = await process.invoke(event)
    assert b"hello" in request.body
