"""What may stand in the secret: a JSON object whose members become the function's variables.

The function checks the same when it starts (`handler/access_key.py`); what it would refuse is not
let in. A test keeps both equal.
"""

import json
import re
from typing import Any

KEY = "POE_ACCESS_KEY"
KEY_LENGTH = 32  # characters; Poe's form makes no other

MEMBER_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
# Variables that steer Lambda, Python, TLS or the read of the secret.
REFUSED_NAME = re.compile(
    r"(AWS_|LAMBDA_|LD_|PYTHON|SSL_).*|.*_PROXY|PATH|HOME|ACCESS_KEY_SECRET_ARN"
)
LARGEST_SECRET = 65_536  # bytes: Secrets Manager's limit

Members = dict[str, Any]


class BadMember(Exception):
    """A name, a value or the whole is not what the function takes. Never tells a value."""


def check_key(text: str) -> str:
    """The access key without the white space around it. Raises BadMember."""
    key = text.strip()
    cure = "copy it again from the bot's form on Poe"
    if not key:
        raise BadMember(f"the access key is empty: {cure}")
    if len(key) != KEY_LENGTH:
        raise BadMember(f"the access key has {len(key)} characters, not {KEY_LENGTH}: {cure}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BadMember(f"the access key has characters that no key has: {cure}")
    return key


def check_name(name: str) -> str:
    """`name`, if the function takes a member of that name. Raises BadMember."""
    if not MEMBER_NAME.fullmatch(name):
        raise BadMember(f"NAME has to match {MEMBER_NAME.pattern}, such as OPENAI_API_KEY")
    if REFUSED_NAME.fullmatch(name):
        raise BadMember(f"{name} would change how the function runs: use another name")
    return name


def check_value(name: str, value: Any) -> str:
    """`value`, if it can be a variable's; the key's own rules for the key. Raises BadMember."""
    if not isinstance(value, str) or not _fits_a_variable(value):
        raise BadMember(f"the value of {name} is not a text that a variable can hold")
    return check_key(value) if name == KEY else value


def _fits_a_variable(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def faults(members: Members) -> list[str]:
    """Why a function would not start with these members, a line for each."""
    found = [] if KEY in members else [f"there is no {KEY}: run `make set-key`"]
    for name, value in members.items():
        try:
            check_value(check_name(name), value)
        except BadMember as error:
            found.append(f"the member {name!r}: {error}")
    return found


def parse(text: str) -> Members | None:
    """The members, unchecked; None if `text` is no JSON object, or has a name twice."""
    try:
        members = json.loads(text, object_pairs_hook=_unambiguous)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None


def encode(members: Members) -> str:
    """The secret's text. Raises BadMember if Secrets Manager would not take it."""
    text = json.dumps(members)
    if len(text) > LARGEST_SECRET:
        raise BadMember(f"the secret would be {len(text):,} bytes, and {LARGEST_SECRET:,} fit")
    return text


def _unambiguous(pairs: list[tuple[str, Any]]) -> Members:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands twice: which value is meant?")
    return members
