"""Execution environments: how they start, are reused, limited, frozen, and how they end."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from local.aws_lambda.service import InitError, LocalLambda, Outcome
from tests.support.local_lambda import function_config, write_package

pytestmark = pytest.mark.anyio

ECHO_PID = """
while True:
    id, event, headers = next_invocation()
    time.sleep(event.get("sleep", 0) if isinstance(event, dict) else 0)
    respond(id, os.getpid())
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def quiet(line: str) -> None:
    """Discards log lines."""


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
    return stat.stdout.strip()[:1] not in (b"", b"Z")


async def test_a_config_that_cannot_start_leaves_the_one_before_and_its_environment(
    tmp_path: Path,
):
    good = function_config(write_package(tmp_path / "good", ECHO_PID))
    bad = function_config(write_package(tmp_path / "bad", "sys.exit(1)"))
    other = function_config(write_package(tmp_path / "other", ECHO_PID))
    async with LocalLambda(good, on_line=quiet) as local_lambda:
        await local_lambda.warm()
        [first] = pids = local_lambda.pids
        with pytest.raises(InitError):
            await local_lambda.warm(bad)
        assert (local_lambda.pids, local_lambda.config) == (pids, good)
        assert (await local_lambda.invoke(b"{}")).payload == str(first).encode()
        await local_lambda.settled()
        await local_lambda.warm(other)
        [second] = local_lambda.pids
        assert (second != first, local_lambda.config) == (True, other)
        assert (await local_lambda.invoke(b"{}")).payload == str(second).encode()


async def test_an_environment_is_started_on_demand_and_reused(tmp_path: Path):
    config = function_config(write_package(tmp_path / "package", ECHO_PID))
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        assert local_lambda.pids == ()
        answers = {(await local_lambda.invoke(b"{}")).payload for _ in range(5)}
        assert answers == {str(local_lambda.pids[0]).encode()}
        await local_lambda.settled()
        assert [record.init_ms is None for record in local_lambda.records] == [False] + 4 * [True]


async def test_a_warm_environment_serves_the_next_request(tmp_path: Path):
    config = function_config(write_package(tmp_path / "package", ECHO_PID))
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        await local_lambda.warm()
        (pid,) = local_lambda.pids
        assert (await local_lambda.invoke(b"{}")).payload == str(pid).encode()


async def test_requests_at_the_same_time_get_environments_of_their_own_up_to_the_limit(
    tmp_path: Path,
):
    package = write_package(
        tmp_path / "package",
        """
        while True:
            id, event, headers = next_invocation()
            time.sleep(1)
            respond(id, os.getpid())
        """,
    )
    config = function_config(package, max_environments=2, invoke_mode="BUFFERED")
    async with (
        LocalLambda(config, on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        replies = await asyncio.gather(*(client.get(local_lambda.url) for _ in range(3)))
        assert sorted(reply.status_code for reply in replies) == [200, 200, 429]
        throttled = next(reply for reply in replies if reply.status_code == 429)
        assert throttled.json() == {"Message": "Rate Exceeded."}
        served = {int(reply.text) for reply in replies if reply.status_code == 200}
        assert served == set(local_lambda.pids)


async def test_an_idle_environment_is_ended(tmp_path: Path):
    config = function_config(write_package(tmp_path / "package", ECHO_PID), idle_s=0.1)
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        await local_lambda.warm()
        (pid,) = local_lambda.pids
        await until(lambda: not local_lambda.pids and not runs(pid))
        await until(lambda: os.listdir(local_lambda.directory) == [])


async def test_after_replace_a_busy_environment_finishes_and_new_requests_see_the_new_config(
    tmp_path: Path,
):
    package = write_package(
        tmp_path / "package",
        """
        while True:
            id, event, headers = next_invocation()
            time.sleep(event["sleep"])
            respond(id, os.environ["EDITION"])
        """,
    )
    config = function_config(package, environment={"EDITION": "old"})
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        await local_lambda.warm()
        (old_pid,) = local_lambda.pids
        busy = asyncio.create_task(local_lambda.invoke(b'{"sleep": 0.5}'))
        await asyncio.sleep(0.1)
        await local_lambda.replace(replace(config, environment={"EDITION": "new"}))
        assert (await local_lambda.invoke(b'{"sleep": 0}')).payload == b'"new"'
        assert (await busy).payload == b'"old"'
        await until(lambda: not runs(old_pid))
        assert old_pid not in local_lambda.pids


async def test_an_init_error_that_the_runtime_posts_reaches_warm(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        body = {"errorType": "ImportError", "errorMessage": "no such bot", "stackTrace": ["a", "b"]}
        post("/init/error", json.dumps(body).encode())
        print("posted")
        sys.exit(1)
        """,
    )
    lines: list[str] = []
    async with LocalLambda(function_config(package), on_line=lines.append) as local_lambda:
        with pytest.raises(InitError) as caught:
            await local_lambda.warm()
        error = caught.value
        assert (error.error_type, error.message) == ("ImportError", "no such bot")
        assert error.stack_trace == ("a", "b")
        assert local_lambda.pids == ()
    assert lines[0] == "posted"
    assert lines[1].startswith("INIT_REPORT")
    assert lines[1].endswith("Phase: init\tStatus: error\tError Type: ImportError")


@pytest.mark.parametrize(
    ("function", "limit", "error_type", "message"),
    [
        ("sys.exit(3)", 10, "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("time.sleep(60)", 0.5, "Sandbox.Timeout", "the init took longer than 0.5 seconds"),
    ],
)
async def test_an_init_that_never_asks_for_an_event_fails(
    tmp_path: Path, function: str, limit: float, error_type: str, message: str
):
    config = function_config(write_package(tmp_path / "package", function), init_timeout_s=limit)
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        with pytest.raises(InitError) as caught:
            await local_lambda.warm()
    assert (caught.value.error_type, caught.value.message) == (error_type, message)


@pytest.mark.parametrize(("mode", "said"), [(0o644, "needs mode 755"), (None, "doesn't exist")])
async def test_a_wrapper_that_cannot_run_is_named(tmp_path: Path, mode: int | None, said: str):
    package = write_package(tmp_path / "package", "")
    if mode is None:
        (package / "bootstrap").unlink()
    else:
        (package / "bootstrap").chmod(mode)
    async with LocalLambda(function_config(package), on_line=quiet) as local_lambda:
        with pytest.raises(InitError, match=said):
            await local_lambda.warm()


async def test_an_environment_that_died_while_idle_is_not_used(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        import threading
        id, event, headers = next_invocation()
        respond(id, os.getpid())
        threading.Timer(0.1, os._exit, [0]).start()
        next_invocation()
        """,
    )
    config = function_config(package, freeze=False)
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        first = int((await local_lambda.invoke(b"{}")).payload)
        await until(lambda: not runs(first))
        await asyncio.sleep(0.1)  # for the server to notice
        second = await local_lambda.invoke(b"{}")
        assert second.error is None
        assert int(second.payload) != first


async def test_a_failing_init_is_502_and_the_next_request_starts_afresh(tmp_path: Path):
    broken = tmp_path / "broken"
    broken.touch()
    package = write_package(
        tmp_path / "package", f"os.path.exists({str(broken)!r}) and sys.exit(1)\n" + ECHO_PID
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        assert (await client.get(local_lambda.url)).status_code == 502
        assert local_lambda.records[0].outcome is Outcome.INIT_ERROR
        broken.unlink()
        assert (await client.get(local_lambda.url)).status_code == 200


async def test_an_init_that_is_too_slow_starts_again_within_the_functions_own_time(
    tmp_path: Path,
):
    package = write_package(tmp_path / "package", "time.sleep(0.8)" + ECHO_PID)
    lines: list[str] = []
    config = function_config(package, init_timeout_s=0.3)
    async with LocalLambda(config, on_line=lines.append) as local_lambda:
        assert int((await local_lambda.invoke(b"{}")).payload) in local_lambda.pids
    assert lines[0].endswith("Phase: init\tStatus: timeout")


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os._exit(7)", "Runtime exited with error: exit status 7"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    ],
)
async def test_a_crash_is_502_and_the_next_request_gets_a_fresh_environment(
    tmp_path: Path, end: str, said: str
):
    package = write_package(
        tmp_path / "package",
        f"""
        while True:
            id, event, headers = next_invocation()
            if event["rawPath"] == "/crash":
                {end}
            respond(id, os.getpid())
        """,
    )
    lines: list[str] = []
    async with (
        LocalLambda(function_config(package), on_line=lines.append) as local_lambda,
        httpx.AsyncClient(base_url=local_lambda.url) as client,
    ):
        before = (await client.get("/")).json()
        crashed = await client.get("/crash")
        assert (crashed.status_code, crashed.text) == (502, "Internal Server Error")
        assert (await client.get("/")).json() != before
        record = local_lambda.records[1]
        assert (record.outcome, record.error.type) == (Outcome.EXIT, "Runtime.ExitError")
    assert f"RequestId: {record.id} Error: {said}" in lines


async def test_a_crash_in_the_middle_cuts_the_body(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        stream = Stream(id)
        stream.head()
        stream.chunk(b"begun")
        os._exit(1)
        """,
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(local_lambda.url)
        await local_lambda.settled()
        assert local_lambda.records[0].outcome is Outcome.EXIT


@pytest.mark.parametrize("begun", [False, True])
async def test_the_deadline_ends_the_environment(tmp_path: Path, begun: bool):
    package = write_package(
        tmp_path / "package",
        f"""
        id, event, headers = next_invocation()
        if {begun}:
            stream = Stream(id)
            stream.head()
            stream.chunk(b"begun")
        time.sleep(60)
        """,
    )
    lines: list[str] = []
    config = function_config(package, timeout_s=0.8)
    async with (
        LocalLambda(config, on_line=lines.append) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        if begun:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(local_lambda.url)
        else:
            assert (await client.get(local_lambda.url)).status_code == 502
        await local_lambda.settled()
        (record,) = local_lambda.records
        assert record.outcome is Outcome.TIMEOUT
        assert not runs(record.pid)
        assert local_lambda.pids == ()
    assert any(line.endswith(f"{record.id} Task timed out after 0.80 seconds") for line in lines)
    assert lines[-1].endswith("Status: timeout")


async def test_the_process_has_lambdas_variables_and_none_of_the_shells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", "/leak")
    monkeypatch.setenv("HOME", "/leak")
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        respond(id, [dict(os.environ), os.getcwd()])
        next_invocation()
        """,
    )
    config = function_config(package, environment={"MINE": "1"}, memory_mb=512, name="bot")
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        variables, directory = json.loads((await local_lambda.invoke(b"{}")).payload)
    shell = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE", "__CF_USER_TEXT_ENCODING"}
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    runtime_dir = variables["LAMBDA_RUNTIME_DIR"]
    assert directory == str(package)
    assert variables.pop("AWS_LAMBDA_RUNTIME_API").startswith("127.0.0.1:")
    variables.pop("TMPDIR", None)  # where the environment can't have a /tmp of its own
    assert variables.pop("AWS_LAMBDA_LOG_STREAM_NAME")
    assert {name: value for name, value in variables.items() if name not in shell} == {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}",
        "AWS_LAMBDA_EXEC_WRAPPER": str(package / "bootstrap"),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_FUNCTION_NAME": "bot",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/bot",
        "AWS_REGION": "us-east-1",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SESSION_TOKEN": "testing",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
        "LAMBDA_RUNTIME_DIR": runtime_dir,
        "LAMBDA_TASK_ROOT": str(package),
        "LANG": "en_US.UTF-8",
        "LD_LIBRARY_PATH": f"{package}:{package}/lib:/opt/lib",
        "MINE": "1",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "TZ": ":UTC",
        "_HANDLER": "handler.function.handler",
    }


async def test_between_invocations_the_processes_stand_still(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        import threading
        count = 0
        def work():
            global count
            while True:
                count += 1
                time.sleep(0.01)
        threading.Thread(target=work, daemon=True).start()
        while True:
            id, event, headers = next_invocation()
            respond(id, count)
        """,
    )
    async with LocalLambda(function_config(package), on_line=quiet) as local_lambda:
        before = int((await local_lambda.invoke(b"{}")).payload)
        await asyncio.sleep(1)
        after = int((await local_lambda.invoke(b"{}")).payload)
    assert after - before < 50


async def test_lines_are_passed_on_between_start_and_end(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        print("init")
        while True:
            id, event, headers = next_invocation()
            print("out")
            print("err", file=sys.stderr)
            respond(id, 1)
            for number in range(20_000):
                print("after the answer", number)
        """,
    )
    lines: list[str] = []
    async with LocalLambda(function_config(package), on_line=lines.append) as local_lambda:
        await local_lambda.invoke(b"{}")
        await local_lambda.settled()
        (record,) = local_lambda.records
    assert lines[:-1] == [
        "init",
        f"START RequestId: {record.id} Version: 1",
        "out",
        "err",
        *(f"after the answer {number}" for number in range(20_000)),
        f"END RequestId: {record.id}",
    ]
    assert lines[-1].startswith(f"REPORT RequestId: {record.id}\tDuration: ")


async def test_closing_ends_every_process_that_the_function_started(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        import subprocess
        child = subprocess.Popen(["sleep", "60"])
        id, event, headers = next_invocation()
        respond(id, [os.getpid(), child.pid])
        next_invocation()
        """,
    )
    async with LocalLambda(function_config(package), on_line=quiet) as local_lambda:
        pids = json.loads((await local_lambda.invoke(b"{}")).payload)
        assert all(runs(pid) for pid in pids)
    await until(lambda: not any(runs(pid) for pid in pids))


@pytest.mark.parametrize("impatient", [False, True])
async def test_a_cancelled_server_leaves_no_process(tmp_path: Path, impatient: bool):
    config = function_config(write_package(tmp_path / "package", ECHO_PID))
    pids: list[int] = []

    async def serve() -> None:
        async with LocalLambda(config, on_line=quiet) as local_lambda:
            await local_lambda.warm()
            pids.extend(local_lambda.pids)
            await local_lambda.invoke(b'{"sleep": 60}')

    server = asyncio.create_task(serve())
    await until(lambda: pids)
    server.cancel()
    if impatient:
        await asyncio.sleep(0)
        server.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server
    await until(lambda: not runs(pids[0]))


@pytest.mark.parametrize("sleep", [0, 60])
def test_nothing_outlives_a_server_that_is_killed(tmp_path: Path, sleep: int):
    write_package(tmp_path / "package", ECHO_PID)
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVER), str(tmp_path / "package"), str(sleep)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with server:
        pid, directory = int(server.stdout.readline()), Path(server.stdout.readline().strip())
        assert runs(pid)
        assert directory.is_dir()
        server.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (runs(pid) or directory.exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(pid)
    assert not directory.exists()


SERVER = """
    import asyncio, sys, tempfile
    from pathlib import Path
    from tests.support.local_lambda import function_config
    from local.aws_lambda.service import LocalLambda

    async def main():
        config = function_config(Path(sys.argv[1]))
        async with LocalLambda(config, on_line=lambda line: None) as local_lambda:
            await local_lambda.warm()
            print(*local_lambda.pids)
            print(local_lambda.directory, flush=True)
            await local_lambda.invoke(b'{"sleep": %s}' % sys.argv[2].encode())
            await asyncio.sleep(60)

    asyncio.run(main())
"""


async def test_a_port_in_use_is_an_os_error_with_its_number(tmp_path: Path):
    config = function_config(write_package(tmp_path / "package", ECHO_PID))
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        port = httpx.URL(local_lambda.url).port
        with pytest.raises(OSError, match="address already in use") as caught:
            async with LocalLambda(config, port=port, on_line=quiet):
                pass
    assert caught.value.errno == errno.EADDRINUSE
