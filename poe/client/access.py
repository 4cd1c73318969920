"""Which bot a command talks to, and with which key."""

import json
import os
import re
from pathlib import Path

import httpx

from infra.package.bot_folder import BotFolder
from infra.toolchain.errors import UserError
from infra.toolchain.folders import BUILD

HOST = "127.0.0.1"  # where `make run` listens
DEFAULT_URL = f"http://{HOST}:9000/"
KEY_VARIABLE = "POE_ACCESS_KEY"


class Unusable(UserError):
    """The command can't begin; the text has the reason and what to do, in one line."""


class NoKey(Unusable):
    """No key is known for a bot that isn't on this machine."""


def checked_url(text: str) -> str:
    """The bot's URL; `localhost` is 127.0.0.1, where `make run` listens. Raises Unusable."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.userinfo:
        # HTTP's own login would take the access key's place; and what looks like a host isn't one.
        raise Unusable("URL= has a user or a password: leave out everything before the @")
    if url.scheme not in ("http", "https") or not url.host or (url.port or 1) > 65_535:
        raise Unusable(f"URL={text} is invalid: {_meant(text)}")
    if url.host == "localhost":
        # It can stand for ::1, where any other user may listen: the key is for `make run` alone.
        url = url.copy_with(host=HOST)
    return str(url)


def _meant(text: str) -> str:
    """What to use instead: a port, or an address without its scheme, is completed."""
    if text.strip().isdecimal() and 0 < int(text) <= 65_535:
        return f"did you mean http://{HOST}:{int(text)}/ ?"
    if re.fullmatch(r"(localhost|127\.0\.0\.1)(:\d{1,5})?(/[\w./-]*)?", text):
        return f"did you mean http://{text} ?"
    if re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d{1,5})?(/[\w./-]*)?", text):
        return f"did you mean https://{text} ?"
    return f"use an address such as {DEFAULT_URL}"


def kept_key_file(bot: BotFolder) -> Path:
    """Where `make run` keeps the access key of the folder's bot, from run to run."""
    return BUILD / "run" / "access-key" if bot.is_default else bot.output / "access-key"


def access_key(url: str, *, kept: Path) -> tuple[str, str]:
    """The key of the bot at `url`, and where it is from: the environment or, for a bot on this
    machine alone, what `make run` has for that URL, else the file `kept`. Raises Unusable, and
    NoKey for a bot elsewhere."""
    if given := os.environ.get(KEY_VARIABLE):
        return checked_key(given, KEY_VARIABLE), KEY_VARIABLE
    address = httpx.URL(url)
    if address.host != HOST:  # nothing else gets the key that is kept here, not even [::1]
        raise NoKey(f"no access key for {address.host}: set {KEY_VARIABLE}")
    of_run = folder_of_run(address) / "access-keys.json"
    if key := _key_of_run(of_run, address.path):
        return key, str(of_run)
    try:
        return checked_key(kept.read_text(), str(kept)), str(kept)
    except OSError as error:
        remedy = f"start the bot with `make run`, or set {KEY_VARIABLE}"
        raise Unusable(
            f"no access key in {os.path.relpath(kept)} ({error.strerror}): {remedy}"
        ) from None


def folder_of_run(address: httpx.URL) -> Path:
    """What the `make run` at this address of this machine keeps, while it runs."""
    return BUILD / "run" / str(address.port)


def _key_of_run(file: Path, path: str) -> str:
    """The key of the bot that a running `make run` serves on this path; empty without one."""
    return str(json.loads(file.read_text()).get(path, "")) if file.exists() else ""


def checked_key(key: str, source: str) -> str:
    """The key without white space around it. Raises Unusable for what no header can carry."""
    key = key.strip()
    if not (key.isascii() and key.isprintable() and key):
        raise Unusable(f"{source} holds no access key: use the key from the bot's form on Poe")
    return key
