"""SnapStart as the local Lambda imitates it."""

import json
import re
from pathlib import Path

import httpx
import pytest

from local.aws_lambda.credentials import CredentialsEndpoint
from local.aws_lambda.service import InitError, LocalLambda
from tests.support.local_lambda import function_config, write_package

pytestmark = pytest.mark.anyio

# A thread notices the longest time for which the process stood still.
FUNCTION = """
import threading, urllib.request

stood_still = [0.0]

def watch():
    last = time.monotonic()
    while True:
        time.sleep(0.005)
        now = time.monotonic()
        stood_still[0] = max(stood_still[0], now - last)
        last = now

def credentials():
    address = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    token = os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    request = urllib.request.Request(address, headers={"Authorization": token})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)

def restore_next():
    poll.request("GET", BASE + "/restore/next")
    reply = poll.getresponse()
    reply.read()
    poll.close()
    return reply.status

threading.Thread(target=watch, daemon=True).start()
print("started")
"""

KEYS = {
    "AWS_ACCESS_KEY_ID": "ASIA1",
    "AWS_SECRET_ACCESS_KEY": "the-secret",
    "AWS_SESSION_TOKEN": "the-session",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def config(folder: Path, rest: str, **changes: object):
    return function_config(write_package(folder / "package", FUNCTION + rest), **changes)


async def test_an_environment_stands_still_and_goes_on_with_credentials_from_an_endpoint(tmp_path):
    serving = """
status = restore_next()
print("restored")
while True:
    id, event, headers = next_invocation()
    respond(id, {
        "status": status, "still": stood_still[0], "variables": dict(os.environ),
        "credentials": credentials()})
"""
    lines: list[str] = []
    function = config(tmp_path, serving, snapstart=True, environment=KEYS)
    async with LocalLambda(function, on_line=lines.append) as local_lambda:
        found = json.loads((await local_lambda.invoke(b"{}")).payload)
        await local_lambda.invoke(b"{}")
        await local_lambda.settled()
        first, second = local_lambda.records
    assert found["status"] == 200
    assert found["still"] > 0.1
    assert found["variables"]["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
    assert not KEYS.keys() & found["variables"].keys()
    assert found["credentials"].pop("Expiration")
    assert list(found["credentials"].values()) == list(KEYS.values())
    started, restoring, restored = map(lines.index, ["started", _restore_start(lines), "restored"])
    assert started < restoring < restored
    reports = [line for line in lines if line.startswith("REPORT")]
    assert re.search(r"\tRestore Duration: [\d.]+ ms\tBilled Restore Duration: \d+ ms", reports[0])
    assert "Init Duration" not in reports[0]
    assert "Restore Duration" not in reports[1]
    assert (first.init_ms, second.restore_ms) == (None, None)
    assert first.restore_ms


def _restore_start(lines: list[str]) -> str:
    [line] = [line for line in lines if line.startswith("RESTORE_START Runtime Version: python:3.")]
    return line


async def test_each_environment_passes_a_snapshot_of_its_own(tmp_path):
    serving = """
restore_next()
while True:
    respond(next_invocation()[0], 1)
"""
    lines: list[str] = []
    function = config(tmp_path, serving, snapstart=True, idle_s=0.01)
    async with LocalLambda(function, on_line=lines.append) as local_lambda:
        await local_lambda.warm()
        await local_lambda.replace(local_lambda.config)
        await local_lambda.warm()
    assert sum(line.startswith("RESTORE_START") for line in lines) == 2


FAILURES = {
    "restore_next(); sys.exit(65)": ("Runtime.ExitError", "exit status 65"),
    'restore_next(); post(\'/restore/error\', b\'{"errorType": "Runtime.AfterRestoreError",'
    ' "errorMessage": "a hook"}\'); sys.exit(65)': ("Runtime.AfterRestoreError", "a hook"),
    'post(\'/init/error\', b\'{"errorType": "Runtime.BeforeSnapshotError",'
    ' "errorMessage": "a hook"}\'); sys.exit(64)': ("Runtime.BeforeSnapshotError", "a hook"),
    "next_invocation()": ("Runtime.ExitError", "exit status 1"),
}


@pytest.mark.parametrize(("end", "error"), FAILURES.items())
async def test_a_start_that_fails_before_or_after_its_snapshot(tmp_path, end, error):
    lines: list[str] = []
    function = config(tmp_path, end, snapstart=True)
    async with LocalLambda(function, on_line=lines.append) as local_lambda:
        with pytest.raises(InitError) as raised:
            await local_lambda.warm()
        assert local_lambda.pids == ()
    kind, words = error
    assert raised.value.error_type == kind
    assert words in raised.value.message
    phase = "restore" if "restore_next" in end else "init"
    [report] = [line for line in lines if "_REPORT" in line]
    assert report.startswith(f"{phase.upper()}_REPORT {phase.capitalize()} Duration: ")
    assert report.endswith(f"Phase: {phase}\tStatus: error\tError Type: {kind}")


async def test_the_credentials_are_for_those_who_have_the_token():
    endpoint = CredentialsEndpoint(KEYS)
    found = await endpoint.start()
    address = found["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    token = {"Authorization": found["AWS_CONTAINER_AUTHORIZATION_TOKEN"]}
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(address, headers=token)).status_code == 200
            for headers, status in [
                ({}, 401),
                ({"Authorization": "another"}, 401),
                ({"Authorization": "ä"}, 401),
                ({**token, "Host": "bot.example"}, 403),
                ({**token, "Origin": "http://bot.example"}, 403),
            ]:
                encoded = {name: value.encode("latin-1") for name, value in headers.items()}
                reply = await client.get(address, headers=encoded)
                assert reply.status_code == status
                assert "the-secret" not in reply.text
            assert (await client.get(f"{address}/more", headers=token)).status_code == 404
            assert (await client.post(address, headers=token)).status_code == 404
    finally:
        await endpoint.close()
