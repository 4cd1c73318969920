"""What an environment can't touch: anything but /tmp; and what is its own alone: /tmp."""

import asyncio
import json
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local.aws_lambda import sandbox
from local.aws_lambda.sandbox import Sandbox
from local.aws_lambda.service import LocalLambda
from tests.support.local_lambda import function_config, write_package

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]

# Answers with what a function finds at the event's path, then writes to it.
NOTES = """
import tempfile
while True:
    id, event, headers = next_invocation()
    time.sleep(event.get("sleep", 0))
    try:
        found = open(event["path"]).read()
    except OSError as error:
        found = error.strerror
    try:
        event.get("write", True) and open(event["path"], "w").write("mine")
    except OSError as error:
        found = error.strerror
    respond(id, [found, tempfile.gettempdir(), os.environ.get("TMPDIR")])
"""


# Answers with what multiprocessing can do.
PROCESSES = """
import multiprocessing
id, event, headers = next_invocation()
try:
    multiprocessing.Pool(1)
except OSError as error:
    pool = str(error)
mine, other = multiprocessing.Pipe()
process = multiprocessing.get_context("fork").Process(target=other.send, args=("from a process",))
process.start()
respond(id, {"devices": sorted(os.listdir("/dev")), "pool": pool, "piped": mine.recv()})
process.join()
next_invocation()
"""
DEVICES = ("full", "null", "random", "tty", "urandom", "zero")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def only(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_WAYS", (way,))
    if Sandbox.find(ROOT, []) is None:
        pytest.skip(f"the way {way!r} is unavailable here")


@pytest.fixture(params=["root", "user"])
def fenced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one way and the other, as far as this machine and user can."""
    only(request.param, monkeypatch)


@pytest.fixture
def landlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    only("landlock", monkeypatch)


@pytest.fixture
def unfenced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_WAYS", ())


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder of this machine's that is not below /tmp."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def note() -> Iterator[Path]:
    """A file directly below /tmp that doesn't exist."""
    handle, name = tempfile.mkstemp(dir="/tmp")
    os.close(handle)
    os.unlink(name)
    yield Path(name)
    Path(name).unlink(missing_ok=True)


def unexpected(line: str) -> None:
    assert not line.startswith("local Lambda: "), line


async def ask(local_lambda: LocalLambda, path: Path | str, **event: object) -> list[str]:
    answer = await local_lambda.invoke(json.dumps({"path": str(path), **event}).encode())
    return json.loads(answer.payload)


async def test_what_is_written_below_tmp_stays_for_the_environments_next_invocation_alone(
    tmp_path: Path, note: Path, fenced: None
):
    config = function_config(write_package(tmp_path / "package", NOTES))
    async with LocalLambda(config, on_line=unexpected) as local_lambda:
        assert await ask(local_lambda, note) == ["No such file or directory", "/tmp", None]
        assert await ask(local_lambda, note) == ["mine", "/tmp", None]
        kept = local_lambda.directory / "environment-1" / note.name
        assert kept.read_text() == "mine"
        both = await asyncio.gather(*(ask(local_lambda, note, sleep=0.5) for _ in range(2)))
        assert sorted(found for found, _, _ in both) == ["No such file or directory", "mine"]
        assert not note.exists()
        await local_lambda.settled()
        await local_lambda.replace(replace(config))
        assert os.listdir(local_lambda.directory) == []
        assert (await ask(local_lambda, note))[0] == "No such file or directory"
    assert not local_lambda.directory.exists()
    assert not note.exists()


async def test_the_package_is_read_only_for_the_function(tmp_path: Path, fenced: None):
    package = write_package(tmp_path / "package", NOTES)
    async with LocalLambda(function_config(package), on_line=unexpected) as local_lambda:
        for path in ("new", package / "new", package / "function.py"):
            assert (await ask(local_lambda, path))[0] == "Read-only file system"
    assert not (package / "new").exists()


async def test_everything_but_tmp_is_read_only_for_the_function(
    tmp_path: Path, outside: Path, fenced: None
):
    package = write_package(tmp_path / "package", NOTES)
    async with LocalLambda(function_config(package), on_line=unexpected) as local_lambda:
        for folder in (outside, Path.home(), sysconfig.get_path("purelib"), "/dev", tmp_path):
            assert (await ask(local_lambda, f"{folder}/new"))[0] == "Read-only file system", folder
    assert os.listdir(outside) == []


async def test_there_is_no_shared_memory_but_processes_and_pipes_work(tmp_path: Path, fenced: None):
    package = write_package(tmp_path / "package", PROCESSES)
    async with LocalLambda(function_config(package), on_line=unexpected) as local_lambda:
        answer = json.loads((await local_lambda.invoke(b"{}")).payload)
    assert answer["devices"] == [*sorted(["fd", "stderr", "stdin", "stdout", *DEVICES])]
    assert answer["pool"] == "[Errno 2] No such file or directory"
    assert answer["piped"] == "from a process"


async def test_a_module_that_a_function_imports_leaves_no_pycache(tmp_path: Path, fenced: None):
    package = write_package(tmp_path / "package", NOTES)
    async with LocalLambda(function_config(package), on_line=unexpected) as local_lambda:
        await ask(local_lambda, "/tmp/x")
    assert not (package / "__pycache__").exists()


async def test_the_groups_are_joined_all_the_same(tmp_path: Path, fenced: None):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        respond(id, open("/proc/self/cgroup").read())
        next_invocation()
        """,
    )
    config = function_config(package, cpu_share=True)
    lines: list[str] = []
    async with LocalLambda(config, on_line=lines.append) as local_lambda:
        groups = json.loads((await local_lambda.invoke(b"{}")).payload)
    if any("can't write cgroups" in line for line in lines):
        pytest.skip("cgroups can't be written here")
    assert f"local-lambda-{os.getpid()}-environment-1" in groups


async def test_where_mounts_are_forbidden_landlock_keeps_writes_below_tmp(
    tmp_path: Path, outside: Path, landlocked: None
):
    package = write_package(outside / "package", NOTES)
    lines: list[str] = []
    async with LocalLambda(function_config(package), on_line=lines.append) as local_lambda:
        own = local_lambda.directory / "environment-1"
        for folder in (outside, Path("/var"), package, "/dev/shm"):
            assert (await ask(local_lambda, f"{folder}/new"))[0] == "Permission denied", folder
        await ask(local_lambda, own / "x")
        assert await ask(local_lambda, own / "x") == ["mine", str(own), str(own)]
        (tmp_path / "x").write_text("mine")
        assert (await ask(local_lambda, tmp_path / "x"))[0] == "mine"
        assert (await ask(local_lambda, "/dev/null"))[0] == ""
    said = [line for line in lines if line.startswith("local Lambda: ")]
    assert len(said) == 1
    assert "fails with [Errno 13] instead of 30; to change that" in said[0]


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl kernel.apparmor_"),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1`"),
        ("user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=15000`"),
        ("kernel/apparmor_restrict_unprivileged_userns", "0", "`--cap-add SYS_ADMIN "),
    ],
)
def test_what_forbids_the_mounts_is_named_with_what_allows_them(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, remedy: str
):
    monkeypatch.setattr(sandbox, "_setting", lambda name: value if name == setting else "")
    assert remedy in sandbox.shortcoming(None)


async def test_what_lies_below_the_machines_tmp_and_is_needed_stays_there(note: Path, fenced: None):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        (folder / "certificates.pem").write_text("trust")
        (folder / "venv").symlink_to(sys.prefix)
        note.write_text("certificate")
        config = function_config(
            write_package(folder / "package", NOTES),
            environment={"SSL_CERT_FILE": str(folder / "certificates.pem"), "MORE": str(note)},
        )
        config = replace(config, python=folder / "venv" / "bin" / "python")
        async with LocalLambda(config, on_line=unexpected) as local_lambda:
            for path, text in ((folder / "certificates.pem", "trust"), (note, "certificate")):
                assert (await ask(local_lambda, path, write=False))[0] == text
                assert (await ask(local_lambda, path))[0] == "Read-only file system"
            assert (await ask(local_lambda, folder / "package" / "new"))[0] == (
                "Read-only file system"
            )
        assert (folder / "package" / "function.py").exists()
        assert (folder / "venv" / "bin").is_dir()


async def test_a_package_elsewhere_finds_an_empty_tmp(fenced: None):
    """As on Lambda, but for what leads to the interpreter and the runtime, if they lie there."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        package = write_package(
            Path(folder) / "package",
            """
            id, event, headers = next_invocation()
            respond(id, os.listdir("/tmp"))
            next_invocation()
            """,
        )
        config = function_config(package)
        async with LocalLambda(config, on_line=unexpected) as local_lambda:
            found = json.loads((await local_lambda.invoke(b"{}")).payload)
    needed = (package, *config.needed_paths)
    assert [f"/tmp/{name}" for name in found] == [*map(str, sandbox._entries_of_tmp(needed))]


async def test_where_nothing_can_be_fenced_in_tmpdir_is_the_environments_own(
    tmp_path: Path, unfenced: None
):
    package = write_package(tmp_path / "package", NOTES)
    lines: list[str] = []
    async with LocalLambda(function_config(package), on_line=lines.append) as local_lambda:
        path = local_lambda.directory / "environment-1"
        assert await ask(local_lambda, path / "x") == [
            "No such file or directory",
            str(path),
            str(path),
        ]
        assert (await ask(local_lambda, path / "x"))[0] == "mine"
    assert not path.exists()
    said = [line for line in lines if line.startswith("local Lambda: ")]
    assert len(said) == 1
    assert "can write everywhere and has a /dev/shm, unlike on Lambda; to change that" in said[0]


def test_a_package_that_is_all_of_tmp_is_not_fenced_in(fenced: None):
    assert Sandbox.find(Path("/tmp"), []) is None


def test_a_fence_that_would_hide_what_is_needed_is_none(tmp_path: Path, monkeypatch, fenced: None):
    monkeypatch.setattr(sandbox, "_entries_of_tmp", lambda paths: ())
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        assert Sandbox.find(ROOT / "tests", [Path(folder)]) is None
