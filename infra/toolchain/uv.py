"""uv, which installs the project's libraries and the bot's."""

import shutil
import sys
from pathlib import Path

from infra.toolchain.errors import UserError


class UvMissing(UserError):
    """uv is neither in .venv nor on PATH."""


def find_uv() -> str:
    """The path of uv: in .venv, else on PATH. Raises UvMissing."""
    in_venv = Path(sys.executable).with_name("uv")
    uv = in_venv if in_venv.exists() else shutil.which("uv")
    if uv is None:
        raise UvMissing("uv is missing: `make package` installs it into .venv")
    return str(uv)
