"""The secret of a bot that runs here: its access keys, and the members of `secrets.json`.

`secrets.json` lies in the bot's folder, never ships, and holds what the secret on AWS holds:
`{"OPENAI_API_KEY": "…"}`. So a bot finds the same variables here and there.
"""

import hashlib
import hmac
import secrets
import shlex
import stat
from collections.abc import Iterable
from pathlib import Path

from infra.aws.secret_members import (
    KEY_LENGTH,
    BadMember,
    check_key,
    check_name,
    check_value,
    parse,
)
from infra.package.bot_folder import BotFolder
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT
from infra.toolchain.json_file import parse_object, read_text
from infra.toolchain.private import private_folder, write_private

NAME = "secrets.json"

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FORM = '{"OPENAI_API_KEY": "…"}'


class BadSecrets(UserError):
    """`secrets.json` can't be used; the text has the reason and what to do, and never a value."""


def secrets_file(bot: BotFolder) -> Path:
    return bot.path / NAME


def misplaced(bot: BotFolder, old: Path = ROOT / NAME) -> str:
    """A line about a file where earlier versions had it, which isn't read any more; or ""."""
    if secrets_file(bot).exists() or not old.exists():
        return ""
    return f"{old} isn't read: a bot's secrets belong in its own folder. Move it to {bot.path}"


def read_members(file: Path) -> dict[str, str]:
    """The members in `file`; an empty dict without such a file. Raises UserError."""
    try:
        open_to_others = file.stat().st_mode & _OTHERS
        text = read_text(file)
    except FileNotFoundError:
        return {}
    if open_to_others:
        raise BadSecrets(f"others can read {file}: run `chmod 600 {shlex.quote(str(file))}`")
    parse_object(text, file)
    members = parse(text)
    if members is None:
        raise BadSecrets(f"{file} has a member twice: write each once, as in {_FORM}")
    for name, value in members.items():
        try:
            check_value(check_name(name), value)
        except BadMember as error:
            raise BadSecrets(f"{file}: {error}") from None
    return members


def kept_key(file: Path, given: str | None) -> str:
    """The access key that `file` keeps from run to run: a tunnel's bot on Poe goes on working.

    `given` replaces it: the key of Poe's form, for a bot that is there already. Raises BadMember.
    """
    kept = file.read_text().strip() if file.exists() else ""
    key = kept if given is None else check_key(given)
    if len(key) != KEY_LENGTH:
        key = secrets.token_hex(KEY_LENGTH // 2)
    private_folder(file.parent)
    write_private(file, f"{key}\n")  # an unchanged one too: its mode may not be ours
    return key


def with_keys(members: dict[str, str], key: str, names: Iterable[str]) -> dict[str, str]:
    """The members, with an access key for each of `names` that isn't among them: the same from
    run to run, derived one way from the first bot's `key`."""
    return {name: _derived(key, name) for name in names} | members


def _derived(key: str, name: str) -> str:
    return hmac.digest(key.encode(), name.encode(), hashlib.sha256).hex()[:KEY_LENGTH]
