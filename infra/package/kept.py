"""What builds keep for the next time: the folders that were used last."""

import contextlib
import os
import shutil
import time
from pathlib import Path

KEPT = 12  # about six times the libraries, and the host compiled for each of them
# Another process may be copying what was used a moment ago.
LEAST_AGE = 24 * 3600  # seconds


def mark_used(folder: Path) -> None:
    """Keep `folder`, if it is there, for another day at least."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(folder)


def remove_unused(cache: Path) -> None:
    """Remove the folders in `cache` that others have been used after, and what builds left that
    were interrupted."""
    folders = {folder: _last_use(folder) for folder in cache.iterdir()}
    whole = [folder for folder in folders if not folder.name.startswith(".")]
    kept = sorted(whole, key=folders.__getitem__)[-KEPT:]
    for folder, last_use in folders.items():
        if folder not in kept and last_use < time.time() - LEAST_AGE:
            _remove(folder)


def _last_use(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # another process has removed it
        return time.time()


def _remove(folder: Path) -> None:
    """Under another name first: half of it would pass for the whole."""
    aside = folder.with_name(f".{folder.name.lstrip('.')}-unused")
    with contextlib.suppress(OSError):
        folder.rename(aside)
        shutil.rmtree(aside)
