"""What an environment can't touch: its package; and what is its own alone: /tmp."""

import asyncio
import json
import os
import sys
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
AS_ROOT, AS_USER = sandbox._NAMESPACES

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
        open(event["path"], "w").write("mine")
    except OSError as error:
        found = error.strerror
    respond(id, [found, tempfile.gettempdir(), os.environ.get("TMPDIR")])
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[AS_ROOT, AS_USER], ids=["as root", "as a user"])
def fenced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one way and the other, as far as this machine and user can."""
    monkeypatch.setattr(sandbox, "_NAMESPACES", (request.param,))
    if Sandbox.find(ROOT, []) is None:
        pytest.skip("no mount namespace can be had here")


@pytest.fixture
def unfenced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_NAMESPACES", ())


@pytest.fixture
def note() -> Iterator[Path]:
    """A file directly below /tmp that nobody has."""
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
                assert (await ask(local_lambda, path))[0] == text
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
    said = "local Lambda: can't make the package read-only and /tmp its own, as Lambda would"
    assert lines.count(said) == 1


def test_a_package_that_is_all_of_tmp_is_not_fenced_in():
    assert Sandbox.find(Path("/tmp"), []) is None


def test_a_fence_that_would_hide_what_is_needed_is_none(tmp_path: Path, monkeypatch, fenced: None):
    monkeypatch.setattr(sandbox, "_entries_of_tmp", lambda paths: ())
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        assert Sandbox.find(ROOT / "tests", [Path(folder)]) is None
