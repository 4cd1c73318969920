"""`make new`: what it writes, what it refuses, and that the folder's Makefile reaches the host."""

import json
import os
import runpy
import shutil
import subprocess
from pathlib import Path

import fastapi_poe as fp
import pytest

from commands import new
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT

FILES = {"bot.py", "requirements.txt", "cdk.json", ".gitignore", "Makefile", "README.md"}
# Prints the variables that it was given, and by `make both` that two goals arrive.
HOST = """
all:; @echo help
quoted = '$(subst ','\\'',$(value $(1)))'
%: FORCE; @printf '%s\\n' '$@' $(call quoted,BOT_DIR) $(call quoted,CALLER) $(call quoted,TEXT)
FORCE:;
Makefile:;
"""


def make(folder: Path, *arguments: str) -> list[str]:
    """The lines that it prints."""
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    return (done.stdout + done.stderr).splitlines()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a host that only prints what it is given."""
    host = tmp_path / "home" / "the host's"
    host.mkdir(parents=True)
    (host / "Makefile").write_text(HOST)
    monkeypatch.setattr(new, "ROOT", host)
    return host.parent


@pytest.fixture(params=["my-bot", "zoë's bot", "a$b#c (2)", 'say "hi"'])
def bot(request: pytest.FixtureRequest, home: Path) -> Path:
    folder = home / request.param
    new.write(folder)
    return folder


def test_a_folder_has_all_that_a_bot_needs(home: Path) -> None:
    new.write(home / "some" / "bot")
    folder = home / "some" / "bot"
    assert {path.name for path in folder.iterdir()} == FILES
    assert json.loads((folder / "cdk.json").read_text()) == {"context": {}}
    assert "/secrets.json" in (folder / ".gitignore").read_text().splitlines()
    assert isinstance(runpy.run_path(str(folder / "bot.py"))["bot"], fp.PoeBot)
    assert (folder / "README.md").read_text().startswith("# bot\n")


def test_every_verb_reaches_the_host_with_the_bots_folder_and_the_variables(bot: Path) -> None:
    (bot / "logs").mkdir()
    (bot / "run.sh").touch()
    assert make(bot, "logs", "TEXT=a $b") == ["logs", str(bot), str(bot), "a $b"]
    assert make(bot, "run") == ["run", str(bot), str(bot), ""]


def test_bare_make_is_the_hosts(bot: Path) -> None:
    assert make(bot) == ["help"]


def test_a_neighbour_of_the_host_is_found_after_both_moved(bot: Path) -> None:
    moved = bot.parent.rename(bot.parent.with_name("moved"))
    assert make(moved / bot.name) == ["help"]


def test_a_folder_elsewhere_finds_the_host_after_both_moved(home: Path) -> None:
    new.write(home / "some" / "bots" / "bot")
    moved = home.rename(home.with_name("moved"))
    assert make(moved / "some" / "bots" / "bot") == ["help"]


def test_without_its_host_a_bots_make_says_where_it_looked(home: Path) -> None:
    new.write(home / "bot")
    shutil.rmtree(home / "the host's")
    error = "error: the bot's host isn't in ../the host's: clone it there, or correct HOST in"
    assert make(home / "bot", "run")[0].startswith(error)


def test_another_host_can_be_named(home: Path) -> None:
    new.write(home / "bot")
    (home / "the host's").rename(home / "other")
    assert make(home / "bot", "HOST=../other") == ["help"]


def test_a_repository_without_files_is_filled(home: Path) -> None:
    (home / "bot" / ".git").mkdir(parents=True)
    new.write(home / "bot")
    assert (home / "bot" / "bot.py").exists()


def test_a_folder_with_files_is_left_alone(home: Path) -> None:
    (home / "bot").mkdir()
    (home / "bot" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="has files in it: use a folder that is new or empty"):
        new.write(home / "bot")
    assert [path.name for path in (home / "bot").iterdir()] == ["notes.txt"]


def test_a_folder_below_a_file_gets_one_line(home: Path) -> None:
    (home / "file").touch()
    with pytest.raises(UserError, match=r"can't create .*/file/bot: not a directory; use another"):
        new.write(home / "file" / "bot")
    with pytest.raises(UserError, match=r"can't create .*/file: file exists; use another"):
        new.write(home / "file")


def test_a_folder_that_may_not_be_written_gets_one_line() -> None:
    with pytest.raises(UserError, match="can't create /proc/bot: "):
        new.write(Path("/proc/bot"))


def test_it_is_relative_to_where_the_user_stands_and_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new.main(["--dir", "it's/bot", "--caller", str(tmp_path)])
    steps = ["""cd 'it'"'"'s/bot'""", "make run", "make deploy"]
    assert capsys.readouterr().out == "\n  ".join(["Created it's/bot. Next:", *steps]) + "\n"
    assert (tmp_path / "it's" / "bot" / "bot.py").exists()


def test_without_a_folder_it_says_how_to_name_one() -> None:
    with pytest.raises(UserError, match=r"DIR is missing: run `make new DIR=\.\./my-bot`"):
        new.main([])


def test_a_new_folders_make_lists_the_hosts_commands(tmp_path: Path) -> None:
    new.write(tmp_path / "bot")
    assert make(tmp_path / "bot") == make(ROOT)
