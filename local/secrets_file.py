"""The secret of a bot that runs here: its access keys, and the members of `secrets.json`.

`secrets.json` stands next to the Makefile, is ignored by git, and holds what the secret on AWS
holds: `{"OPENAI_API_KEY": "…"}`. So a bot finds the same variables here and there.
"""

import hashlib
import hmac
import stat
from collections.abc import Iterable
from pathlib import Path

from infra.aws.secret_members import KEY_LENGTH, BadMember, check_name, check_value, parse
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT

SECRETS_FILE = ROOT / "secrets.json"

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FORM = '{"OPENAI_API_KEY": "…"}'


class BadSecrets(UserError):
    """`secrets.json` can't be used; the text says why and what to do, and never a value."""


def read_members(file: Path) -> dict[str, str]:
    """The members in `file`; none where there is no such file. Raises BadSecrets."""
    try:
        open_to_others = file.stat().st_mode & _OTHERS
        text = file.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadSecrets(f"{file.name} can't be read ({type(error).__name__})") from None
    if open_to_others:
        raise BadSecrets(f"{file.name} is open to others: run `chmod 600 {file.name}`")
    members = parse(text)
    if members is None:
        raise BadSecrets(f"{file.name} has to be one JSON object, each name once: {_FORM}")
    for name, value in members.items():
        try:
            check_value(check_name(name), value)
        except BadMember as error:
            raise BadSecrets(f"{file.name}, {name!r}: {error}") from None
    return members


def with_keys(members: dict[str, str], key: str, names: Iterable[str]) -> dict[str, str]:
    """The members, with an access key for each of `names` that has none among them: the same from
    run to run, made of the first bot's `key` without a way back to it."""
    return {name: _made_of(key, name) for name in names} | members


def _made_of(key: str, name: str) -> str:
    return hmac.digest(key.encode(), name.encode(), hashlib.sha256).hex()[:KEY_LENGTH]
