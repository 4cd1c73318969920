"""What `make lint` and `make test` look at: never at a user's bot, wherever it lies."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from infra.toolchain.folders import ROOT
from tests.conftest import LONG_FILES
from tests.support.bot_folder import write_folder

UGLY = {
    "bot.py": "import os,nowhere\ndef f(:",
    "conftest.py": "raise SystemExit('the bot was read')",
    "tests/test_fail.py": "def test_it(): assert 0",
    "handler/requirements.txt": "fastapi_poe==0.0.1",
}
CHECKED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project's settings, a module in each folder, and bots that no tool likes."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "pyproject.toml", folder)
    write_folder(folder, {f"{name}/module.py": "" for name in CHECKED})
    write_folder(folder, {"tests/test_one.py": "def test_one() -> None:\n    pass\n"})
    for place in ("bot", "another-bot"):
        write_folder(folder / place, UGLY)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check"),
        ("ruff", "format", "--check"),
        ("mypy",),
        ("pytest", "--collect-only"),
    ],
    ids=" ".join,
)
def test_an_ugly_bot_leaves_every_check_green(checkout: Path, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=checkout, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_make_lint_runs_is_what_is_tried_here() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    tools = [line.split(" -m ")[1] for line in recipe.splitlines() if " -m " in line]
    assert tools == ["ruff check", "ruff format --check", "mypy"]


def test_the_files_that_start_first_are_there() -> None:
    assert [name for name in LONG_FILES if not (ROOT / "tests" / name).exists()] == []
