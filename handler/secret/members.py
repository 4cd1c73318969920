"""The secret's content: a JSON object whose members become environment variables."""

import json
import re
from typing import Any

KEY = "POE_ACCESS_KEY"
KEY_LENGTH = 32  # characters; Poe's form makes no other

MEMBER_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
# Variables that steer Lambda, Python, TLS or the read of the secret: it must not replace them.
REFUSED_NAME = re.compile(
    r"(AWS_|LAMBDA_|LD_|PYTHON|SSL_).*|.*_PROXY|PATH|HOME|ACCESS_KEY_SECRET_ARN"
)


class BadKey(Exception):
    """The key, or the secret around it, is unusable. Names its place and the cure, no value."""


def check_key(key: str, origin: str, cure: str = "copy it again from the bot's form on Poe") -> str:
    """`key` without the white space around it. Raises `BadKey`, which names `origin`."""
    key = key.strip()
    if not key:
        raise BadKey(f"the access key from {origin} is empty: {cure}")
    if len(key) != KEY_LENGTH:
        raise BadKey(
            f"the access key from {origin} has {len(key)} characters, not {KEY_LENGTH}: {cure}"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BadKey(f"the access key from {origin} has characters that no key has: {cure}")
    return key


def parse_members(text: str, arn: str) -> dict[str, str]:
    """`{"POE_ACCESS_KEY": "…", …}` with names and key checked. Raises `BadKey`."""
    try:
        members = json.loads(text, object_pairs_hook=_unambiguous)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise BadKey(
            f"the secret {arn} is not a JSON object, or has a member twice: run `make set-key`"
        )
    for name, value in members.items():
        _check_member(name, value, arn)
    if KEY not in members:
        raise BadKey(f"the secret {arn} has no member {KEY}: run `make set-key`")
    return {**members, KEY: check_key(members[KEY], f"the secret {arn}", "run `make set-key`")}


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands twice: which value is meant?")
    return members


def _check_member(name: str, value: Any, arn: str) -> None:
    if not MEMBER_NAME.fullmatch(name):
        raise BadKey(
            f"the secret {arn} has a member whose name does not match {MEMBER_NAME.pattern}: "
            "rename it with `make set-secret NAME=…`"
        )
    if REFUSED_NAME.fullmatch(name):
        raise BadKey(
            f"the secret {arn} has a member {name}, which would change how the function runs: "
            "take it out, or use another name with `make set-secret NAME=…`"
        )
    if not isinstance(value, str) or not _fits_a_variable(value):
        raise BadKey(
            f"the member {name} of the secret {arn} is not a text that a variable can hold: "
            f"run `make set-secret NAME={name}`"
        )


def _fits_a_variable(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
