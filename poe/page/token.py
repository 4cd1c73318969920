"""The token of the chat page's address, kept from run to run as the access key is.

So a page that is open, or a bookmarked address, still works after `make run` was started again.
A user who can read the file can read the access key next to it, and doesn't need the token.
"""

import re
import secrets
import stat
from pathlib import Path

from infra.toolchain.private import write_private

NAME = "page-token"

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FORM = re.compile(r"[\w-]{43}", re.ASCII)  # 256 bits in base64


def kept_token(file: Path) -> str:
    """The token in `file`; a new one if it is missing, or if others could read it.

    Raises OSError.
    """
    token = _kept(file)
    if not _FORM.fullmatch(token):
        token = secrets.token_urlsafe(32)
        write_private(file, token)
    return token


def _kept(file: Path) -> str:
    try:
        with file.open(errors="replace") as opened:
            readable_by_others = stat.S_IMODE(file.stat().st_mode) & _OTHERS
            return "" if readable_by_others else opened.read().strip()
    except FileNotFoundError:
        return ""
