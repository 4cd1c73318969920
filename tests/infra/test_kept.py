"""Which installed libraries are kept for the next build, and which make room."""

import os
import time
from pathlib import Path

import pytest

from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.kept import KEPT, LEAST_AGE, mark_used, remove_unused
from infra.package.target import Target
from tests.support.bot_folder import write_folder


def add(cache: Path, name: str, age: float) -> Path:
    """A folder that was last used `age` seconds ago."""
    folder = write_folder(cache / name, {"lib.py": ""})
    os.utime(folder, (time.time() - age,) * 2)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Full, and nothing in it was used today."""
    for number in range(KEPT):
        add(tmp_path / "cache", f"old-{number}", LEAST_AGE + 100 + number)
    return tmp_path / "cache"


def names(cache: Path) -> set[str]:
    return {folder.name for folder in cache.iterdir()}


def test_the_folder_that_was_not_used_for_longest_makes_room(cache: Path) -> None:
    before = names(cache)
    remove_unused(cache)
    assert names(cache) == before
    add(cache, "new", 0)
    remove_unused(cache)
    assert names(cache) == before - {f"old-{KEPT - 1}"} | {"new"}


def test_a_folder_that_was_used_today_stays_since_another_build_may_need_it(cache: Path) -> None:
    recent = {f"new-{number}" for number in range(KEPT + 5)}
    for name in recent:
        add(cache, name, LEAST_AGE - 100)
    remove_unused(cache)
    assert names(cache) == recent


def test_a_use_counts_as_of_today(cache: Path) -> None:
    mark_used(cache / f"old-{KEPT - 1}")
    mark_used(cache / "missing")
    add(cache, "new", 0)
    remove_unused(cache)
    assert f"old-{KEPT - 2}" not in names(cache)
    assert {f"old-{KEPT - 1}", "new"} < names(cache)


def test_what_an_interrupted_build_left_goes_after_a_day(cache: Path) -> None:
    before = names(cache)
    add(cache, ".3.13-x86_64-abc-tmp", LEAST_AGE + 1)
    add(cache, ".3.13-x86_64-def-tmp", 10)
    remove_unused(cache)
    assert names(cache) == before | {".3.13-x86_64-def-tmp"}


def test_a_build_marks_what_it_uses_and_makes_room(cache: Path, tmp_path: Path) -> None:
    bot = BotFolder.at(str(write_folder(tmp_path / "bot", {"bot.py": "bot = None\n"})))
    build(bot, Target.here(), tmp_path / "package", cache=cache)
    ours = [folder for folder in cache.iterdir() if not folder.name.startswith("old-")]
    assert len(ours) == 2  # the libraries, and the host
    assert len(names(cache)) == KEPT + 1  # the host's was added last
    for folder in ours:
        os.utime(folder, (0, 0))
    build(bot, Target.here(), tmp_path / "package", cache=cache)
    assert all(folder.stat().st_mtime > time.time() - 100 for folder in ours)
