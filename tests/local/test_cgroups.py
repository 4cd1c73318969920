"""The limits of a memory size: by cgroups of the environment's own, or by looking."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from local.aws_lambda import isolation
from local.aws_lambda.cgroups import Cgroups
from local.aws_lambda.memory import MemoryWatch
from local.aws_lambda.reaper import remove_cgroup
from local.aws_lambda.service import InitError, LocalLambda, Outcome
from tests.support.local_lambda import function_config, write_package

pytestmark = pytest.mark.anyio

HOARD = """
def hoard():
    kept = []
    while True:
        kept.append(bytearray(b"x" * (1 << 20)))
        time.sleep(0.001)
"""
V1 = "4:memory:/\n1:cpu,cpuacct:/a\n0::/u\n"
V2 = "0::/a/session.scope\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def quiet(line: str) -> None:
    """Discards log lines."""


def v1_tree(root: Path) -> None:
    for group in ("memory", "memory/m", "cpu,cpuacct/a"):
        (root / group).mkdir(parents=True, exist_ok=True)
        (root / group / "cgroup.procs").touch()


def v2_tree(root: Path, passed_on: str = "cpu memory pids") -> None:
    (root / "a" / "session.scope").mkdir(parents=True)
    for group, controllers in (("a", passed_on), ("a/session.scope", "")):
        (root / group / "cgroup.procs").touch()
        (root / group / "cgroup.subtree_control").write_text(f"{controllers}\n")


def written(group: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in group.iterdir()}


@pytest.fixture
def real_memory_group() -> None:
    probe = Cgroups.create(f"local-lambda-test-{os.getpid()}", 512, ["memory"])
    if probe.memory is None:
        pytest.skip("this machine can't create memory cgroups")
    probe.remove()


@pytest.fixture(params=["by a cgroup", "by looking"])
def limited(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The memory limit is kept the one way and the other, as far as this machine can."""
    if request.param == "by a cgroup":
        request.getfixturevalue("real_memory_group")
    else:
        monkeypatch.setattr(Cgroups, "create", lambda *arguments: Cgroups())
    return request.param


async def test_too_much_memory_ends_the_environment(tmp_path: Path, limited: str):
    package = write_package(tmp_path / "package", HOARD + "next_invocation()\nhoard()\n")
    config = function_config(package, memory_mb=128)
    async with (
        LocalLambda(config, on_line=quiet) as local_lambda,
        httpx.AsyncClient(timeout=30) as client,
    ):
        assert (await client.get(local_lambda.url)).status_code == 502
        (record,) = local_lambda.records
        assert (record.outcome, record.error.type) == (
            Outcome.OUT_OF_MEMORY,
            "Runtime.OutOfMemory",
        )
        assert record.max_memory_mb == 128
        assert local_lambda.pids == ()


async def test_too_much_memory_in_a_child_process_ends_the_environment(
    tmp_path: Path, limited: str
):
    package = write_package(
        tmp_path / "package",
        HOARD + "next_invocation()\nif os.fork():\n    time.sleep(60)\nhoard()\n",
    )
    config = function_config(package, memory_mb=128)
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        answer = await local_lambda.invoke(b"{}")
        assert answer.error.type == "Runtime.OutOfMemory"


async def test_too_much_memory_in_the_init_is_said(tmp_path: Path, limited: str):
    package = write_package(tmp_path / "package", HOARD + "hoard()\n")
    config = function_config(package, memory_mb=128, init_timeout_s=60)
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        with pytest.raises(InitError, match=r"Runtime\.OutOfMemory"):
            await local_lambda.warm()


async def test_another_kill_is_not_taken_for_a_want_of_memory(tmp_path: Path, limited: str):
    package = write_package(
        tmp_path / "package", "next_invocation()\nos.kill(os.getpid(), 9)\ntime.sleep(60)\n"
    )
    async with LocalLambda(function_config(package), on_line=quiet) as local_lambda:
        answer = await local_lambda.invoke(b"{}")
        await local_lambda.settled()
        assert local_lambda.records[0].outcome is Outcome.EXIT
    assert answer.error.type == "Runtime.ExitError"


async def test_the_kernel_keeps_a_limit_that_is_filled_at_once(
    tmp_path: Path, real_memory_group: None
):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        filled = bytearray(b"x") * (160 << 20)
        respond(id, "filled")
        next_invocation()
        """,
    )
    async with LocalLambda(function_config(package, memory_mb=128), on_line=quiet) as function:
        assert (await function.invoke(b"{}")).error.type == "Runtime.OutOfMemory"


async def test_a_memory_group_ends_with_its_environment_and_all_that_runs_in_it(
    tmp_path: Path, real_memory_group: None
):
    package = write_package(
        tmp_path / "package",
        """
        import subprocess
        stray = subprocess.Popen(["sleep", "60"], start_new_session=True)
        id, event, headers = next_invocation()
        respond(id, [stray.pid, open("/proc/self/cgroup").read()])
        next_invocation()
        """,
    )
    async with LocalLambda(function_config(package), on_line=quiet) as local_lambda:
        stray, groups = json.loads((await local_lambda.invoke(b"{}")).payload)
        assert f"local-lambda-{os.getpid()}-environment-1" in groups
    state = Path(f"/proc/{stray}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


async def test_a_function_can_have_its_memorys_share_of_the_cpu(tmp_path: Path):
    probe = Cgroups.create(f"local-lambda-test-{os.getpid()}", 512, ["cpu"])
    if probe.cpu is None:
        pytest.skip("this machine can't create CPU cgroups")
    probe.remove()
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        respond(id, open("/proc/self/cgroup").read())
        next_invocation()
        """,
    )
    config = function_config(package, memory_mb=512, cpu_share=True)
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        groups = json.loads((await local_lambda.invoke(b"{}")).payload)
        directory = next(probe.cpu.parent.glob(f"local-lambda-{os.getpid()}-*"))
        assert directory.name in groups
        limit = directory / "cpu.cfs_quota_us"
        quota = limit if limit.exists() else directory / "cpu.max"
        assert quota.read_text().split()[0] == "5788"
        await local_lambda.settled()
        await local_lambda.replace(config)
        assert not directory.exists()


def test_no_group_outlives_a_server_that_is_killed(tmp_path: Path):
    probe = Cgroups.create(f"local-lambda-test-{os.getpid()}", 512)
    if probe.cpu is None:
        pytest.skip("this machine can't create CPU cgroups")
    probe.remove()
    write_package(tmp_path / "package", "next_invocation()\n")
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVER), str(tmp_path / "package")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    name = f"local-lambda-{server.pid}-environment-1"
    groups = {directory.parent / name for directory in probe.directories}
    with server:
        server.stdout.readline()
        assert all(group.is_dir() for group in groups)
        server.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(group.exists() for group in groups) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(group.exists() for group in groups)


SERVER = """
    import asyncio, sys
    from pathlib import Path
    from tests.support.local_lambda import function_config
    from local.aws_lambda.service import LocalLambda

    async def main():
        config = function_config(Path(sys.argv[1]), cpu_share=True)
        async with LocalLambda(config, on_line=lambda line: None) as local_lambda:
            await local_lambda.warm()
            print("warm", flush=True)
            await asyncio.sleep(60)

    asyncio.run(main())
"""


def test_v1_has_a_group_for_each_controller(tmp_path: Path):
    v1_tree(tmp_path)
    made = Cgroups.create("one", 885, root=tmp_path, own_groups=V1)
    assert made == Cgroups(cpu=tmp_path / "cpu,cpuacct/a/one", memory=tmp_path / "memory/one")
    assert written(made.cpu) == {"cpu.cfs_period_us": "20000", "cpu.cfs_quota_us": "10005"}
    assert written(made.memory) == {
        "memory.limit_in_bytes": "927989760",
        "memory.memsw.limit_in_bytes": "927989760",
    }


def test_v2_has_one_group_for_both(tmp_path: Path):
    v2_tree(tmp_path)
    made = Cgroups.create("one", 885, root=tmp_path, own_groups=V2)
    assert made == Cgroups(cpu=tmp_path / "a/one", memory=tmp_path / "a/one")
    assert made.directories == (tmp_path / "a/one",)
    assert written(made.memory) == {
        "cpu.max": "10005 20000",
        "memory.max": "927989760",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
    }


@pytest.mark.parametrize(
    ("passed_on", "made"),
    [("memory pids", {"memory"}), ("cpu", {"cpu"}), ("pids", set()), ("", set())],
)
def test_v2_gives_what_is_passed_on(tmp_path: Path, passed_on: str, made: set[str]):
    v2_tree(tmp_path, passed_on)
    cgroups = Cgroups.create("one", 512, root=tmp_path, own_groups=V2)
    assert {name for name in ("cpu", "memory") if getattr(cgroups, name)} == made


def test_only_what_is_asked_for_is_limited(tmp_path: Path):
    v2_tree(tmp_path)
    made = Cgroups.create("one", 885, ["cpu"], root=tmp_path, own_groups=V2)
    assert made == Cgroups(cpu=tmp_path / "a/one")
    assert written(made.cpu) == {"cpu.max": "10005 20000"}


def test_a_v1_memory_group_that_somebody_put_us_in_is_left_alone(tmp_path: Path):
    v1_tree(tmp_path)
    made = Cgroups.create("one", 512, root=tmp_path, own_groups="4:memory:/m\n")
    assert made == Cgroups()
    assert os.listdir(tmp_path / "memory" / "m") == ["cgroup.procs"]


def test_a_group_that_exists_is_left_alone(tmp_path: Path):
    v2_tree(tmp_path)
    (tmp_path / "a/one").mkdir()
    assert Cgroups.create("one", 512, root=tmp_path, own_groups=V2) == Cgroups()
    assert written(tmp_path / "a/one") == {}


@pytest.mark.parametrize("own_groups", ["0::/\n", "0::/../elsewhere\n", "1:cpu:/..\n", ""])
def test_where_cgroups_cannot_be_written_there_are_none(tmp_path: Path, own_groups: str):
    assert Cgroups.create("one", 1769, root=tmp_path, own_groups=own_groups) == Cgroups()
    assert Cgroups().prefix == ()


@pytest.mark.parametrize(
    ("file", "head"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 9\noom 9\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n"),
    ],
)
def test_the_kernels_own_count_tells_a_want_of_memory(tmp_path: Path, file: str, head: str):
    cgroups = Cgroups(memory=tmp_path)
    assert not cgroups.ran_out_of_memory
    (tmp_path / file).write_text(f"{head}oom_kill 0\n")
    assert not cgroups.ran_out_of_memory
    (tmp_path / file).write_text(f"{head}oom_kill 1\n")
    assert cgroups.ran_out_of_memory


async def test_what_the_kernel_counted_ends_the_processes_and_outlives_the_group(tmp_path: Path):
    ended = asyncio.Event()
    watch = MemoryWatch(os.getpid(), 1, Cgroups(memory=tmp_path), ended.set)
    watch.active.set()
    running = asyncio.create_task(watch.run())
    await asyncio.sleep(0.1)
    assert not ended.is_set()  # we hold far more than 1 MB: where the kernel counts, it decides
    (tmp_path / "memory.events").write_text("oom_kill 2\n")
    await running
    assert ended.is_set()
    (tmp_path / "memory.events").unlink()
    assert watch.exceeded


def test_a_process_that_left_its_process_group_is_ended_with_its_cgroup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    killed: list[int] = []
    remove: Callable[[str], None] = os.rmdir

    def rmdir(directory: str) -> None:
        if killed:
            Path(directory, "cgroup.procs").unlink()
        remove(directory)

    monkeypatch.setattr(os, "rmdir", rmdir)
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(pid))
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "cgroup.procs").write_text("0\n4711\n")
    remove_cgroup(str(tmp_path / "group"))
    assert killed == [4711]
    assert not (tmp_path / "group").exists()


async def test_limits_that_cannot_be_had_are_said_once_where_a_memory_size_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Cgroups, "create", lambda *arguments: Cgroups())
    isolations = isolation.Isolations(tmp_path, (lines := []).append)
    package = write_package(tmp_path / "package", "")
    isolations.make(function_config(package))
    assert lines == []
    for _ in range(2):
        isolations.make(function_config(package, cpu_share=True))
    assert lines == [
        "local Lambda: can't write cgroups, so the function has the whole CPU",
        "local Lambda: can't write memory cgroups, so the function can exceed its memory for a "
        "moment",
    ]
