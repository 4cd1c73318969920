"""A bot's lock: when it is written, what is in it, and which errors explain why it can't be."""

import os
import re
import socket
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import infra.package.lock.new
import infra.toolchain.uv
from infra.package.libraries import install_libraries
from infra.package.lock.file import entries, versions
from infra.package.lock.lock import Lock
from infra.package.target import PackageError, Target
from tests.support.bot_folder import write_folder
from tests.support.lock_project import METADATA, Project
from tests.support.wheelhouse import Wheelhouse


def without_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.toolchain.uv, "find_uv", lambda: "/nowhere/uv")
    monkeypatch.setattr(infra.package.lock.resolution, "find_uv", lambda: "/nowhere/uv")


def test_a_lock_holds_what_the_bot_requires_and_the_hosts_pins_with_their_hashes(
    project: Project,
) -> None:
    project.requires("words")
    lock = project.lock()
    assert lock == Lock(project.bot.path / "requirements.lock")
    text = lock.file.read_text()
    # The newest starlette is 1.2; the host was tested with 1.0.
    assert versions(text) == {"fastapi-poe": "0.0.83", "starlette": "1.0", "words": "1.0"}
    for name, version in versions(text).items():
        assert f"--hash=sha256:{project.house.digest(name, version)}" in entries(text)[name]
    assert project.said == ["Locked 3 libraries: my bot/requirements.lock"]


def test_a_bot_that_requires_nothing_has_the_hosts_lock_and_gets_no_file(project: Project) -> None:
    project.requires("# nothing")
    assert project.lock(again=True) == Lock(project.host / "requirements.txt")
    assert {path.name for path in project.bot.path.iterdir()} == {"bot.py", "requirements.txt"}


def test_an_unchanged_lock_is_read_without_uv_and_without_a_word(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.house.sources("tongue")
    project.requires("words", "tongue")
    made, said = project.lock(), list(project.said)
    assert made.built_here == ("tongue",)
    without_uv(monkeypatch)
    project.requires("# a comment", "words  # another", "", "tongue")
    for name in ("requirements.in", "uv.toml"):
        text = (project.host / name).read_text()
        (project.host / name).write_text(f"# a comment of the host's\n{text}")
    assert project.lock() == made
    assert project.said == said


@pytest.mark.parametrize(
    "change",
    [
        lambda project: project.requires("-r base.txt", "click"),
        lambda project: write_folder(project.bot.path, {"base.txt": "words\nclick\n"}),
        lambda project: write_folder(project.bot.path, {"limits.txt": "words<3\n"}),
        lambda project: project.pin("0.0.84", "1.0"),
        lambda project: write_folder(project.host, {"uv.toml": METADATA.format(version="0.0.9")}),
    ],
    ids=["requirements", "included file", "constraints", "host's pins", "host's metadata"],
)
def test_a_lock_is_written_again_when_its_inputs_changed(
    project: Project, change: Callable[[Project], object]
) -> None:
    write_folder(project.bot.path, {"base.txt": "words\n", "limits.txt": "words<2\n"})
    project.requires("-r base.txt", "-c limits.txt")
    project.lock()
    assert len(project.said) == 1
    change(project)
    project.lock()
    assert len(project.said) == 2


def test_versions_stay_until_an_upgrade_is_asked_for(project: Project) -> None:
    project.requires("words", "click")
    project.lock()
    for name in ("words", "click"):
        project.house.wheel(name, "2.0")
    assert project.versions(again=True) | {"starlette": "1.0"} == project.versions()
    assert project.versions()["words"] == "1.0"
    assert project.versions(upgrade="Words")["words"] == "2.0"
    assert project.versions()["click"] == "1.0"
    newest = project.versions(upgrade="1")
    assert (newest["click"], newest["starlette"]) == ("2.0", "1.2")


def test_constraints_hold_for_an_upgrade_too(project: Project) -> None:
    project.house.wheel("words", "2.0")
    write_folder(project.bot.path, {"limits.txt": "words<2\nclick==7\n"})
    project.requires("words", "-c limits.txt")
    found = project.versions(upgrade="1")
    assert found["words"] == "1.0"
    assert "click" not in found


def test_new_pins_of_the_host_bring_the_versions_that_they_were_tested_with(
    project: Project,
) -> None:
    project.requires("words")
    assert project.versions(upgrade="starlette")["starlette"] == "1.2"
    project.requires("words", "click")
    assert project.versions()["starlette"] == "1.2"
    project.pin("0.0.84", "1.1")
    found = project.versions()
    assert (found["fastapi-poe"], found["starlette"]) == ("0.0.84", "1.1")


@pytest.mark.parametrize(
    ("upgrade", "complaint"),
    [
        ("flask", "UPGRADE=flask: the lock has no such library"),
        ("fastapi_poe", "UPGRADE=fastapi-poe: the host pins it: update the host's checkout"),
    ],
)
def test_an_upgrade_of_what_is_not_the_bots_is_refused(
    project: Project, upgrade: str, complaint: str
) -> None:
    project.requires("words")
    with pytest.raises(PackageError, match=complaint):
        project.lock(upgrade=upgrade)


@pytest.mark.parametrize("asked", ["fastapi_poe==0.0.36", "Fastapi-POE<0.0.50"])
@pytest.mark.parametrize("where", ["requirements", "constraints"])
def test_another_fastapi_poe_gives_one_line_and_the_hosts(
    project: Project, asked: str, where: str
) -> None:
    write_folder(project.bot.path, {"limits.txt": f"{asked}\nwords<2\n"})
    project.requires(*([asked] if where == "requirements" else ["words", "-c limits.txt"]))
    assert project.versions()["fastapi-poe"] == "0.0.83"
    [line, _] = project.said
    assert line == f"requirements.txt asks for {asked}: the host's own 0.0.83 is used"


@pytest.mark.parametrize("asked", ["fastapi_poe", "fastapi_poe>=0.0.40", "fastapi_poe[dev]"])
def test_a_requirement_that_the_hosts_fastapi_poe_meets_gives_no_line(
    project: Project, asked: str
) -> None:
    project.requires(asked)
    assert project.versions()["fastapi-poe"] == "0.0.83"
    assert len(project.said) == 1


def test_versions_that_the_hosts_fastapi_poe_cannot_run_with_give_way_to_the_hosts(
    project: Project,
) -> None:
    """A `pip freeze` of the past. Where nothing contradicts, the bot's versions stay."""
    files = {
        "uv.toml": METADATA.format(version="0.0.83").replace('"starlette"', '"starlette>=1.0"')
    }
    write_folder(project.host, files)
    project.house.wheel("starlette", "0.9")
    project.requires("fastapi_poe==0.0.40", "starlette==0.9", "words")
    assert project.versions() == {"fastapi-poe": "0.0.83", "starlette": "1.0", "words": "1.0"}
    assert project.said[:-1] == [
        "requirements.txt asks for fastapi_poe==0.0.40: the host's own 0.0.83 is used",
        "requirements.txt asks for starlette==0.9: the host's own 1.0 is used",
    ]
    project.requires("starlette==1.1")
    assert project.versions()["starlette"] == "1.1"


def test_uvicorn_ships_where_the_bot_or_one_of_its_libraries_wants_it(project: Project) -> None:
    project.house.wheel("server", requires=["uvicorn"])
    project.requires("server")
    assert {"uvicorn", "click"} <= project.versions().keys()


def test_a_lock_is_for_every_python_unless_the_requirements_need_a_newer_one(
    project: Project,
) -> None:
    project.house.wheel("words", "3.0", ["python>=3.12"])
    project.requires("words")
    assert "python_full_version < '3.12'" in project.lock().file.read_text()
    project.requires("words==3.0")
    assert project.versions()["words"] == "3.0"
    assert "for Python 3.12 or newer" in project.said[-1]


def test_a_lock_with_bytes_that_are_not_utf_8_is_installed_by_its_entries(
    project: Project, tmp_path: Path
) -> None:
    project.requires("words")
    lock = project.lock()
    lock.file.write_bytes(lock.file.read_bytes() + b"# caf\xe9\n")
    assert (
        install_libraries(project.lock(), Target.here(), tmp_path / "cache") / "words.py"
    ).exists()


def test_a_lock_in_the_middle_of_a_merge_is_written_again_and_keeps_versions(
    project: Project,
) -> None:
    project.requires("words", "click")
    file = project.lock().file
    file.write_text(f"{file.read_text()}<<<<<<< ours\nwords==9\n=======\n>>>>>>> theirs\n")
    project.house.wheel("click", "2.0")
    assert project.versions()["click"] == "1.0"
    assert "<<<" not in file.read_text()


def test_a_folder_that_cannot_be_written_has_its_lock_elsewhere_and_that_is_said(
    project: Project,
) -> None:
    # Root may write anywhere, but not over a folder.
    (project.bot.path / "requirements.lock").mkdir()
    project.requires("words")
    lock = project.lock()
    assert lock.file.parent.parent == project.locks
    assert re.fullmatch(r"my bot-[0-9a-f]{8}", lock.file.parent.name)
    assert project.said == [
        f"Locked 3 libraries: {lock.file}, because {project.bot.path} can't be written"
    ]
    assert project.lock() == lock
    assert len(project.said) == 1


def test_an_interrupted_lock_leaves_the_one_that_was_there_and_nothing_else(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.requires("words")
    before = project.lock().file.read_bytes()
    names = {path.name for path in project.bot.path.iterdir()}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    project.requires("words", "click")
    with pytest.raises(KeyboardInterrupt):
        project.lock()
    assert (project.bot.path / "requirements.lock").read_bytes() == before
    assert {path.name for path in project.bot.path.iterdir()} == names


def test_two_at_once_write_one_whole_lock(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.requires("words", "click")
    both_have_written, replace = threading.Barrier(2, timeout=60), Path.replace

    def replace_together(aside: Path, target: Path) -> Path:
        both_have_written.wait()
        return replace(aside, target)

    monkeypatch.setattr(Path, "replace", replace_together)
    threads = [threading.Thread(target=project.lock) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = project.lock()
    assert versions(found.file.read_text()).keys() == {"click", "fastapi-poe", "starlette", "words"}
    assert len(project.said) == 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["wrods"], ["Is the name spelled right?", "wrods was not found"]),
        (["words==7"], ["Does that version exist?", "no version of words==7"]),
        (["words>1", "words<1"], ["Loosen one of these requirements.", "words"]),
        (["words words"], ["Each line is a name", "words words"]),
    ],
)
def test_what_cannot_be_solved_is_said_in_few_lines(
    project: Project, lines: list[str], said: list[str]
) -> None:
    project.requires(*lines)
    with pytest.raises(PackageError) as refused:
        project.lock()
    text = str(refused.value)
    assert text.startswith("requirements.txt can't be locked. ")
    assert all(words in text for words in said)
    assert len(text.splitlines()) < 8
    assert not (project.bot.path / "requirements.lock").exists()


def test_changed_requirements_without_a_network_give_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed_port = server.getsockname()[1]
    settings = Path(os.environ["XDG_CONFIG_HOME"], "uv/uv.toml")
    settings.write_text("")
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{closed_port}/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    project.requires("words")
    with pytest.raises(PackageError) as refused:
        project.lock()
    place_of_index = f"127.0.0.1:{closed_port}"
    assert str(refused.value) == (
        f"requirements.txt can't be locked without a network: {place_of_index} can't be reached"
    )


def test_an_index_of_the_requirements_is_used_for_the_installation_too(
    project: Project, tmp_path: Path
) -> None:
    other = Wheelhouse(tmp_path / "other")
    other.wheel("private")
    handler = partial(QuietHandler, directory=str(other.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            project.requires(f"--find-links http://127.0.0.1:{server.server_port}/", "private")
            lock = project.lock()
            assert "private" in versions(lock.file.read_text())
            libraries = install_libraries(lock, Target.here(), tmp_path / "cache")
        finally:
            server.shutdown()
            thread.join()
    assert (libraries / "private.py").exists()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass
