"""Which bot a command talks to, and with which key."""

import json
import os
from pathlib import Path

import httpx

from infra.package.bot_folder import BotFolder
from infra.toolchain.errors import UserError
from infra.toolchain.folders import BUILD
from poe.client.conversation import LOOPBACK

DEFAULT_URL = "http://127.0.0.1:9000/"
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


def kept_key_file(bot: BotFolder) -> Path:
    """Where `make run` keeps the access key of the folder's bot, from run to run."""
    return BUILD / "run" / "access-key" if bot.is_default else bot.output / "access-key"


def access_key(
    key_file: Path | None = None, url: str = DEFAULT_URL, *, kept: Path
) -> tuple[str, str]:
    """The bot's key and where it is from: the file that was asked for, else the environment,
    else what `make run` says of the bot at `url`, else the file `kept`. Raises Unusable."""
    key, source = os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLE
    if not key_file and not key:
        key, source = _key_of_run(httpx.URL(url))
    if key_file or not key:
        path = key_file or kept
        try:
            key, source = path.read_text(), str(path)
        except OSError as error:
            remedy = f"start the bot with `make run`, or set {KEY_VARIABLE}"
            raise Unusable(
                f"no access key in {os.path.relpath(path)} ({error.strerror}): {remedy}"
            ) from None
    return checked_key(key, source), source


def _key_of_run(url: httpx.URL) -> tuple[str, str]:
    """The key of a bot that a running `make run` serves at this URL, and its file; or nothing."""
    file = BUILD / "run" / str(url.port) / "access-keys.json"
    if url.host not in LOOPBACK or not file.exists():
        return "", str(file)
    return json.loads(file.read_text()).get(url.path, ""), str(file)


def checked_key(key: str, source: str) -> str:
    """The key without white space around it. Raises Unusable for what no header can carry."""
    key = key.strip()
    if not (key.isascii() and key.isprintable() and key):
        raise Unusable(f"{source} holds no access key: use the key from the bot's form on Poe")
    return key
