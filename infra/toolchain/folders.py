"""Folders that are swapped in whole, with the same modes and times wherever they are created."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"

FIXED_TIME = 315_705_600  # 1980-01-03: zip can't store a time before 1980, whatever the time zone.


@contextlib.contextmanager
def made_aside(output: Path, *, replace: bool = True) -> Iterator[Path]:
    """An empty folder that becomes `output` once the block is through.

    A folder that is at `output` by then gives way, or stays where `replace` is False.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as aside:
        new, old = Path(aside, "new"), Path(aside, "old")
        new.mkdir()
        yield new
        with _locked(output.parent, fcntl.LOCK_EX):
            if output.exists() and replace:
                output.rename(old)
            if not output.exists():
                new.rename(output)


@contextlib.contextmanager
def kept(output: Path) -> Iterator[None]:
    """While the block reads `output`, `made_aside` waits before it swaps another in, and so it must
    not be called in the block."""
    with _locked(output.parent, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Keep other processes from swapping in `folder`; the lock ends with this process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def fix_modes_and_times(folder: Path) -> None:
    """Make 644 of every file's mode, whatever the umask, and 755 of executables' and folders'."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(parent, name)
            fix_entry(path, 0o755 if path.stat().st_mode & 0o100 else 0o644)
        fix_entry(Path(parent), 0o755)


def is_untouched(folder: Path) -> bool:
    """Whether a folder with fixed times is there, and none of its files was changed since."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return folder.is_dir() and all(path.stat().st_mtime == FIXED_TIME for path in files)


def link_or_copy(source: str, copy: str) -> None:
    """A hard link is 15 times as quick as a copy, but can't reach another file system."""
    try:
        os.link(source, copy)
    except OSError:
        shutil.copy2(source, copy)


def copy_contents(source: Path, copy: Path) -> None:
    """Contents alone: modes differ between file systems."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, copy)


def fix_entry(path: Path, mode: int) -> None:
    path.chmod(mode)
    os.utime(path, (FIXED_TIME, FIXED_TIME))
