"""What the secret may contain: the function's own rules, for the commands, and Secrets Manager's
limit."""

import json

from handler.secret.members import (
    KEY,
    KEY_LENGTH,
    BadMember,
    Members,
    check_key,
    check_name,
    check_value,
    faults,
    parse,
)

__all__ = [
    "KEY",
    "KEY_LENGTH",
    "BadMember",
    "Members",
    "check_key",
    "check_name",
    "check_value",
    "encode",
    "faults",
    "parse",
]

LARGEST_SECRET = 65_536  # bytes: Secrets Manager's limit


def encode(members: Members) -> str:
    """The secret's text. Raises `BadMember` if Secrets Manager would not take it."""
    text = json.dumps(members)
    if len(text) > LARGEST_SECRET:
        raise BadMember(f"the secret would be {len(text):,} bytes, and {LARGEST_SECRET:,} fit")
    return text
