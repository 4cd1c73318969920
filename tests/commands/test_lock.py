"""`make lock` as a user meets it."""

from pathlib import Path

import pytest

from commands.command import run_command
from commands.lock import main
from infra.package.lock.lock import HOST
from tests.support.bot_folder import write_folder
from tests.support.wheelhouse import Wheelhouse


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheelhouse:
    """What there is: the host's pins and another library."""
    house = Wheelhouse(tmp_path / "house")
    house.use(monkeypatch)
    for line in (HOST / "requirements.txt").read_text().splitlines():
        name, pinned, version = line.removesuffix(" \\").partition("==")
        if pinned and " " not in line.removesuffix(" \\"):
            house.wheel(name, version)
    house.wheel("words")
    return house


def test_the_lock_is_written_into_the_bots_folder(
    tmp_path: Path, packages: Wheelhouse, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path / "a bot", {"requirements.txt": "words\n"})
    main(["--bot-dir", str(folder)])
    assert "words==1.0" in (folder / "requirements.lock").read_text()
    packages.wheel("words", "2.0")
    main(["--bot-dir", "a bot", "--caller", str(tmp_path), "--upgrade", "words"])
    assert "words==2.0" in (folder / "requirements.lock").read_text()
    assert capsys.readouterr().out.count(" libraries: a bot/requirements.lock\n") == 2


def test_a_bot_without_requirements_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--bot-dir", str(tmp_path)])
    assert "requires no libraries of its own" in capsys.readouterr().out


def test_what_cannot_be_locked_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path, {"requirements.txt": "./lib\n"})
    assert run_command(main, ["--bot-dir", str(folder)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: requirements.txt:1: `./lib` is a path")
    assert error.count("\n") == 1
