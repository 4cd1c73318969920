"""uv, which installs the project's libraries and the bot's."""

import re
import shutil
import sys
from pathlib import Path

from infra.toolchain.errors import UserError
from infra.toolchain.pythons import environment_for_tools

_SECRET = re.compile("AWS_|KEY(?!RING)|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


class UvMissing(UserError):
    """uv is neither in .venv nor on PATH."""


def find_uv() -> str:
    """The path of uv: in .venv, else on PATH. Raises UvMissing."""
    in_venv = Path(sys.executable).with_name("uv")
    uv = in_venv if in_venv.exists() else shutil.which("uv")
    if uv is None:
        raise UvMissing("uv is missing: `make package` installs it into .venv")
    return str(uv)


def environment_for_builds() -> dict[str, str]:
    """This process's environment for a uv that may build a library, and so run its code.

    Without what would change how Python behaves, and without keys, tokens and secrets, but for
    those of the user's own package index.
    """
    kept = {
        name: value
        for name, value in environment_for_tools().items()
        if name.startswith("UV_INDEX_") or not _SECRET.search(name)
    }
    # uv breaks its lines at a terminal's width; the messages are searched for words.
    return kept | {"COLUMNS": "10000"}


def install_command(python: str, platform: str, folder: Path) -> list[str]:
    """Install a lock's entries, from stdin, as wheels for a minor version of Python and one of
    uv's platforms, into `folder`. `--no-binary NAME` allows one to be built."""
    return [
        find_uv(), "pip", "install", "--quiet", "--requirements", "-", "--target", str(folder),
        "--python", sys.executable, "--python-version", python, "--python-platform", platform,
        # A lock is complete, but for what the host's uv.toml leaves out on purpose.
        "--no-deps",
        # Building from source runs the library's own code, and may make binaries for this machine.
        "--only-binary", ":all:",
        # Files linked into uv's cache would get their modes and times changed there.
        "--link-mode", "copy",
    ]  # fmt: skip
