"""SnapStart: what comes before the snapshot, and what a restored environment does first."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from local.aws_lambda.config import KEY_VARIABLES
from local.aws_lambda.credentials import CredentialsEndpoint
from local.secrets_manager import secret
from tests.support.entries import query
from tests.support.package import KEY, Process, started
from tests.support.runtime_api import function_url_event

pytestmark = pytest.mark.anyio

NEW = "n" * 32

# Answers what the message, an expression, comes to.
BOT = """
import asyncio, os, random, sys
import fastapi_poe as fp
from snapshot_restore_py import register_after_restore, register_before_snapshot

order = []

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text=f"<{eval(request.query[-1].content)}>")

bot = Bot()
"""


@pytest.fixture
def runtime(tmp_path) -> Path:
    """Stands for /var/runtime, which brings the package with the hooks."""
    spec = find_spec("snapshot_restore_py")
    assert spec
    assert spec.origin
    shutil.copy(spec.origin, tmp_path)
    return tmp_path


@pytest.fixture
def start(build_with_bot, runtime_python, runtime):
    """Starts BOT, with more code after it, for a snapshot."""

    def start_it(code="", environment=None, files=None):
        variables = {"LAMBDA_RUNTIME_DIR": str(runtime), **(environment or {"POE_ACCESS_KEY": KEY})}
        return started(build_with_bot(BOT + code, files), runtime_python, variables, snapstart=True)

    return start_it


class Stored:
    """A secret, and the endpoint with the credentials for it. `close` ends the secret's server."""

    def __init__(self, put, environment, close) -> None:
        self.put, self.environment, self.close = put, environment, close


@asynccontextmanager
async def stored(**members: str) -> AsyncIterator[Stored]:
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(secret(members))
        endpoint = CredentialsEndpoint(served.environment)
        found = served.environment | await endpoint.start()
        for name in KEY_VARIABLES:
            del found[name]
        try:
            yield Stored(served.put, found, stack.aclose)
        finally:
            await endpoint.close()


async def answer(process: Process, expression: str, key: str = KEY) -> str:
    """What BOT finds; or the status of the refusal."""
    headers = {"authorization": f"Bearer {key}"}
    body = query(expression).model_dump_json()
    request = await process.invoke(function_url_event(headers=headers, body=body))
    if request.prelude["statusCode"] != 200:
        return str(request.prelude["statusCode"])
    return request.body.partition(b"<")[2].partition(b">")[0].decode()


async def failure(process: Process, path: str, kind: str, status: int) -> str:
    """The message of the one error that the process reports; then it ends with `status`."""
    assert (await process.end())[0] == status
    [request] = process.double.requests
    document = json.loads(request.body)
    assert request.path == path
    assert request.headers["lambda-runtime-function-error-type"] == kind
    assert document["errorType"] == kind
    return document["errorMessage"]


async def test_no_event_is_asked_for_before_the_restore(start):
    async with start() as process:
        await asyncio.wait_for(process.double.before_snapshot.wait(), 20)
        await asyncio.sleep(0.2)
        assert process.double.polls == 0
        await process.double.restore()
        assert await answer(process, "1 + 1") == "2"
        assert await answer(process, "1 + 2") == "3"
        await process.double.asked_for_the_next()
        await process.double.ends()
        assert process.double.open == 1, "the one that waits for an event"


async def test_a_start_without_snapstart_passes_no_snapshot(build_with_bot, runtime_python):
    """Its double refuses `restore/next`."""
    code = BOT.replace("from snapshot_restore_py import", "#")
    async with started(build_with_bot(code), runtime_python) as process:
        assert await answer(process, "1 + 1") == "2"


async def test_hooks_run_in_the_order_and_with_the_arguments_of_awss_runtime(start):
    hooks = """
register_before_snapshot(order.append, "before 1")
register_before_snapshot(order.append, "before 2")
register_after_restore(order.append, "after 1")

@register_after_restore
def after(number=2):
    order.append(f"after {number}")
"""
    async with start(hooks) as process:
        await process.double.restore()
        found = await answer(process, "' '.join(order)")
    assert found == "before 2 before 1 after 1 after 2"


async def test_a_hook_may_run_a_loop_or_be_a_coroutine_of_the_bots_own_loop(start):
    hooks = """
@register_before_snapshot
def runs_a_loop():
    asyncio.run(asyncio.sleep(0))
    order.append("ran")

@register_after_restore
async def on_the_bots_loop():
    order.append(asyncio.get_running_loop())
"""
    async with start(hooks) as process:
        await process.double.restore()
        found = await answer(process, "order[0], order[1] is asyncio.get_running_loop()")
    assert found == "('ran', True)"


FAILS = "raise ValueError('a text that is secret')"
EXITS = "sys.exit(0)"
IS_CANCELLED = "raise asyncio.CancelledError"


# The two run hooks in the same way, so that each of the six kinds comes once.
@pytest.mark.parametrize(
    "hook",
    [f"def hook(): {FAILS}", f"async def hook(): {EXITS}", f"def hook(): {IS_CANCELLED}"],
)
async def test_a_hook_that_fails_before_the_snapshot(start, hook):
    async with start(f"@register_before_snapshot\n{hook}") as process:
        message = await failure(process, "init/error", "Runtime.BeforeSnapshotError", 64)
    assert "in hook" in message
    assert "secret" not in message
    assert not process.double.before_snapshot.is_set()


@pytest.mark.parametrize(
    "hook",
    [f"async def hook(): {FAILS}", f"def hook(): {EXITS}", f"async def hook(): {IS_CANCELLED}"],
)
async def test_a_hook_that_fails_after_the_restore(start, hook):
    async with start(f"@register_after_restore\n{hook}") as process:
        await process.double.restore()
        message = await failure(process, "restore/error", "Runtime.AfterRestoreError", 65)
    assert "in hook" in message
    assert "secret" not in message
    assert process.double.polls == 0


HURRIED = "sys.modules['handler.runtime.snapshot'].RESTORE = 0.5\nimport time\n"


@pytest.mark.parametrize(
    "hook", ["def hook(): time.sleep(60)", "async def hook(): await asyncio.sleep(60)"]
)
async def test_a_hook_that_hangs_is_named_before_lambda_ends_the_restore(start, hook):
    async with start(f"{HURRIED}@register_after_restore\n{hook}") as process:
        await process.double.restore()
        message = await failure(process, "restore/error", "Runtime.AfterRestoreError", 65)
    assert message.startswith("the hook `hook` isn't done, and a restore may take 10 s in all")


async def test_a_hooks_own_timeout_is_not_taken_for_that(start):
    hook = "@register_after_restore\ndef hook(): raise TimeoutError"
    async with start(hook) as process:
        await process.double.restore()
        message = await failure(process, "restore/error", "Runtime.AfterRestoreError", 65)
    assert message.startswith("TimeoutError")  # asyncio before 3.13 loses its place


async def test_a_shutdown_that_hangs_does_not_hold_up_a_failed_restore(start):
    code = """
import contextlib
import fastapi

@contextlib.asynccontextmanager
async def lifespan(app):
    yield
    await asyncio.sleep(60)

app = fastapi.FastAPI(lifespan=lifespan)

@register_after_restore
def hook(): raise ValueError
"""
    async with start(code) as process:
        await process.double.restore()
        await failure(process, "restore/error", "Runtime.AfterRestoreError", 65)


async def test_a_refused_snapshot_is_reported(start):
    async with start() as process:
        process.double.next_status = 500
        message = await failure(process, "init/error", "Runtime.BeforeSnapshotError", 64)
    assert message == "the Runtime API answered 500 to `restore/next`"


async def test_a_restored_environment_has_the_secret_as_it_is_now(start):
    members = "{name: os.environ.get(name) for name in ('KEPT', 'CHANGED', 'GONE', 'ADDED')}"
    hook = f"\n@register_after_restore\ndef hook(): order.append({members})\n"
    async with (
        stored(POE_ACCESS_KEY=KEY, KEPT="0", CHANGED="1", GONE="2") as kept,
        start(hook, kept.environment) as process,
    ):
        await process.double.before_snapshot.wait()
        kept.put({"POE_ACCESS_KEY": NEW, "KEPT": "0", "CHANGED": "3", "ADDED": "4"})
        await process.double.restore()
        expected = {"KEPT": "0", "CHANGED": "3", "GONE": None, "ADDED": "4"}
        # First, so that no other key can have led to a read.
        assert await answer(process, "1", KEY) == "401"
        assert await answer(process, members, NEW) == str(expected)
        assert await answer(process, "order[0]", NEW) == str(expected), "a hook comes later"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"POE_ACCESS_KEY": NEW}, "the bot on path / refuses every caller: OWN_KEY is gone"),
        ({"OWN_KEY": NEW}, "there is no POE_ACCESS_KEY (`make set-key`)"),
        ({"POE_ACCESS_KEY": NEW, "OWN_KEY": "short"}, "OWN_KEY: the access key has 5 characters"),
    ],
)
async def test_a_key_that_is_gone_ends_the_restore(start, members, words):
    code = "bot.access_key = os.environ['OWN_KEY']"
    async with (
        stored(POE_ACCESS_KEY=NEW, OWN_KEY=KEY) as kept,
        start(code, kept.environment) as process,
    ):
        await process.double.before_snapshot.wait()
        kept.put(members)
        await process.double.restore()
        message = await failure(process, "restore/error", "Runtime.AfterRestoreError", 65)
    assert words in message
    assert process.double.polls == 0


async def test_a_secret_that_cannot_be_read_again_ends_the_restore(start):
    """An environment that runs keeps its key in such a case; a snapshot's may have been revoked."""
    async with AsyncExitStack() as stack:
        kept = await stack.enter_async_context(stored(POE_ACCESS_KEY=KEY))
        process = await stack.enter_async_context(start("", kept.environment))
        await process.double.before_snapshot.wait()
        await kept.close()
        await process.double.restore()
        message = await failure(process, "restore/error", "Runtime.AfterRestoreError", 65)
    assert "cannot read the secret arn:" in message
    assert "Secrets Manager does not answer" in message


async def test_the_token_for_credentials_is_looked_up_at_each_read(start):
    hook = """
@register_before_snapshot
def forget():
    os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "another"
"""
    async with stored(POE_ACCESS_KEY=KEY) as kept, start(hook, kept.environment) as process:
        await process.double.restore()
        message = await failure(process, "restore/error", "Runtime.AfterRestoreError", 65)
    assert "Lambda gives no credentials (asked 3 times, at last status 401)" in message
    assert "another" not in message


async def test_no_two_restored_environments_draw_the_same_numbers(start):
    numpy = {
        "numpy/__init__.py": "",
        "numpy/random.py": """
seeds = []
def seed(*seed):
    seeds.append(seed)
    raise TypeError("can only re-seed a MT19937 BitGenerator")  # the bot has set another one
""",
    }
    seeded = """
import ssl
import numpy.random
random.seed(1)
ssl.RAND_add = lambda seed, entropy: order.append((len(seed), entropy))
"""
    async with start(seeded, files=numpy) as process:
        await process.double.restore()
        assert await answer(process, "random.random() == random.Random(1).random()") == "False"
        assert await answer(process, "sys.modules['numpy.random'].seeds") == "[()]"
        assert await answer(process, "order") == "[(48, 48.0)]"


async def test_a_snapshot_holds_what_is_otherwise_built_at_its_first_use(start):
    """The libraries' models, and fastapi_poe's app."""
    models = "sys.modules['fastapi.openapi.models'].OpenAPI.__pydantic_complete__"
    recording = """
dispatch = sys.modules["handler.app.dispatch"]
original = dispatch.FastAPI
def built(**options):
    order.append("app")
    return original(**options)
dispatch.FastAPI = built
register_before_snapshot(order.append, "snapshot")
"""
    async with start(recording) as process:
        await process.double.restore()
        assert await answer(process, models) == "True"
        assert await answer(process, "order") == "['app', 'snapshot']"
