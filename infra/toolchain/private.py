"""Files and folders for their owner alone, whatever the umask is and whatever mode they had."""

import os
import tempfile
from pathlib import Path

OWNER_ALONE = 0o700


def private_folder(path: Path) -> Path:
    """Create the folder, or close an existing one to others; gives `path`. Raises OSError."""
    path.mkdir(mode=OWNER_ALONE, parents=True, exist_ok=True)
    path.chmod(OWNER_ALONE)
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 600, instead of any that is there. Raises OSError.

    It is a new file: a program that opened a readable old one doesn't see what is written now.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 600
    try:
        with open(descriptor, "w") as file:
            file.write(text)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
