"""Which bot a command talks to, and with which key."""

import json
import os
from pathlib import Path

import httpx

from infra.toolchain.errors import UserError
from poe.client.conversation import LOOPBACK

DEFAULT_URL = "http://127.0.0.1:9000/"
DEFAULT_KEY_FILE = Path("build/run/access-key")
KEY_VARIABLE = "POE_ACCESS_KEY"


class Unusable(UserError):
    """The command cannot begin; the text says why and what to do, in one line."""


def checked_url(text: str) -> str:
    """Raises Unusable."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise Unusable(f"URL={text} is invalid: use an address such as {DEFAULT_URL}")
    return str(url)


def access_key(key_file: Path | None = None, url: str = DEFAULT_URL) -> tuple[str, str]:
    """The bot's key and where it is from: the file that was asked for, else the environment,
    else what `make run` keeps of the bot at `url`, or of any. Raises Unusable."""
    key, source = os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLE
    if not key_file and not key:
        key, source = _key_of_run(httpx.URL(url))
    if key_file or not key:
        path = key_file or DEFAULT_KEY_FILE
        try:
            key, source = path.read_text(), str(path)
        except OSError as error:
            cure = f"start the bot with `make run`, or set {KEY_VARIABLE}"
            raise Unusable(f"no access key in {path} ({error.strerror}): {cure}") from None
    return checked_key(key, source), source


def _key_of_run(url: httpx.URL) -> tuple[str, str]:
    """The key of a bot that a running `make run` serves at this URL, and its file; or nothing."""
    file = Path("build", "run", str(url.port), "access-keys.json")
    if url.host not in LOOPBACK or not file.exists():
        return "", str(file)
    return json.loads(file.read_text()).get(url.path, ""), str(file)


def checked_key(key: str, source: str) -> str:
    """The key without white space around it. Raises Unusable for what no header can carry."""
    key = key.strip()
    if not (key.isascii() and key.isprintable() and key):
        raise Unusable(f"{source} has no access key")
    return key
