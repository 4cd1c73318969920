"""The secret's content: a JSON object whose members become environment variables."""

import json
import re

KEY = "POE_ACCESS_KEY"
KEY_LENGTH = 32  # characters; Poe's form makes no other

MEMBER_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
# Variables that steer Lambda, Python, TLS or the read of the secret: it must not replace them.
REFUSED_NAME = re.compile(
    r"(AWS_|LAMBDA_|LD_|PYTHON|SSL_).*|.*_PROXY|PATH|HOME|ACCESS_KEY_SECRET_ARN"
)


class BadKey(Exception):
    """The key, or the secret around it, is unusable. Names its place and the cure, no value."""


def check_key(key: str, origin: str) -> str:
    """`key` without the white space around it. Raises `BadKey`, which names `origin`."""
    key = key.strip()
    if not key:
        raise BadKey(f"the access key in {origin} is empty: run `make set-key`")
    if len(key) != KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
        raise BadKey(
            f"the access key in {origin} is not {KEY_LENGTH} ASCII characters long "
            f"(it has {len(key)}): copy it from Poe again and run `make set-key`"
        )
    return key


def parse_members(text: str, arn: str) -> dict[str, str]:
    """`{"POE_ACCESS_KEY": "…", …}` with names and key checked. Raises `BadKey`."""
    try:
        members = json.loads(text)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise BadKey(f"the secret {arn} is not a JSON object: run `make set-key`")
    for name, value in members.items():
        if not MEMBER_NAME.fullmatch(name):
            raise BadKey(
                f"the secret {arn} has a member whose name does not match "
                f"{MEMBER_NAME.pattern}: rename it with `make set-secret NAME=…`"
            )
        if REFUSED_NAME.fullmatch(name):
            raise BadKey(
                f"the secret {arn} has a member {name}, which would change how the function "
                "runs: take it out, or use another name with `make set-secret NAME=…`"
            )
        if not isinstance(value, str) or "\0" in value:
            raise BadKey(
                f"the member {name} of the secret {arn} is not a text: "
                f"run `make set-secret NAME={name}`"
            )
    if KEY not in members:
        raise BadKey(f"the secret {arn} has no member {KEY}: run `make set-key`")
    return {**members, KEY: check_key(members[KEY], f"the secret {arn}")}
