"""A package that is too large for Lambda: refused before anything is uploaded, and explained."""

import asyncio
from pathlib import Path

import pytest

import commands.package
from commands.running_bot import Packages
from infra.package import bot_folder
from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.size import check_size, library_sizes, size_of
from infra.package.target import PackageError, Target
from tests.support.bot_folder import write_folder

LIMIT = 262_144_000  # bytes, as in AWS's error


def add(folder: Path, size: int) -> Path:
    """A file of `size` bytes, which take no place on the disk."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.open("wb") as file:
        file.truncate(size)
    return folder


def add_library(package: Path, name: str, size: int) -> None:
    """A module, its .pyc and another file."""
    record = f'{name}.py,,\n"{name}.libs/a,b.so",sha256=x,1\n{name}-1.0.dist-info/RECORD,,\n'
    write_folder(package, {f"{name}.py": "x", f"{name}-1.0.dist-info/RECORD": record})
    add(package / "__pycache__" / f"{name}.cpython-313.pyc", 100)
    file = add(package / f"{name}.libs" / "a,b.so", 0)
    rest = sum(each.stat().st_size for each in package.rglob(f"{name}*/RECORD")) + 101
    add(file, size - rest)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for number in range(1, 12):
        add_library(tmp_path / "package", f"lib_{number}", number * 1_048_576)
    return tmp_path / "package"


def test_a_library_counts_with_all_its_files_and_what_is_compiled_of_them(package: Path) -> None:
    assert library_sizes(package)["lib-3"] == 3 * 1_048_576
    assert size_of(package) == sum(range(1, 12)) * 1_048_576


def test_a_package_over_the_limit_is_refused_with_the_ten_largest_and_what_to_do(
    package: Path,
) -> None:
    add(package / "bot/model.bin", LIMIT + 1 - size_of(package))
    with pytest.raises(PackageError) as refused:
        check_size(package)
    text = str(refused.value)
    assert "\n" not in text
    assert text.startswith("the package is 250.0 MB unpacked; Lambda takes 250 MB, layers included")
    largest = ", ".join(f"lib-{number} {number}.0 MB" for number in range(11, 2, -1))
    assert f"The largest: bot/ 184.0 MB, {largest}." in text
    for advice in ("Drop a library", "extras", "opencv-python-headless", "Container images"):
        assert advice in text


@pytest.mark.parametrize(
    ("size", "warnings"), [(200_000_000, 0), (200_000_001, 1), (LIMIT, 1)], ids=str
)
def test_a_package_near_the_limit_gets_a_warning(
    package: Path, size: int, warnings: int, capsys: pytest.CaptureFixture[str]
) -> None:
    add(package / "bot/model.bin", size - size_of(package))
    check_size(package)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == warnings
    assert all(line.startswith("warning: the package is ") for line in lines)
    assert all("The largest: bot/ 1" in line for line in lines)


def test_what_runs_here_alone_gets_a_warning_that_it_cannot_be_deployed(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(package / "bot/model.bin", LIMIT)
    check_size(package, deployable=False)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: this runs here, but can't be deployed: the package is ")


def test_a_build_that_is_too_large_leaves_the_package_that_was_there(tmp_path: Path) -> None:
    bot = write_folder(tmp_path / "bot", {"bot.py": "bot = None\n"})
    output = tmp_path / "package"
    build(BotFolder.at(str(bot)), Target.here(), output)
    add(bot / "model.bin", LIMIT)
    with pytest.raises(PackageError, match="The largest: bot/ 250"):
        build(BotFolder.at(str(bot)), Target.here(), output)
    assert not (output / "bot/model.bin").exists()


def test_make_run_runs_what_is_too_large_to_be_deployed_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bot = write_folder(tmp_path / "bot", {"bot.py": "bot = None\n"})
    add(bot / "model.bin", LIMIT)
    package = asyncio.run(Packages(tmp_path / "run", BotFolder.at(str(bot))).build())
    assert (package / "bot/model.bin").exists()
    assert "warning: this runs here, but can't be deployed: " in capsys.readouterr().err


def test_the_command_prints_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bot_folder, "BUILD", tmp_path)
    bot = write_folder(tmp_path / "bot", {"bot.py": "bot = None\n"})
    commands.package.main(["--bot-dir", str(bot), "--caller", str(tmp_path)])
    line, place = capfd.readouterr().out.splitlines()
    size = sum(each.stat().st_size for each in Path(place).rglob("*") if each.is_file())
    assert line.startswith(f"{place} is {size / 1_048_576:.1f} MB unpacked; Lambda takes 250 MB")
