"""The secret's rules: a JSON object whose members become the function's environment variables.

Rules alone: the commands that write a secret import this module, so that what they let in is what
the function takes.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from handler.log.errors import StartError

KEY = "POE_ACCESS_KEY"
KEY_LENGTH = 32  # characters; Poe's form generates keys of this length only

MEMBER_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
# Variables that steer Lambda, Python, TLS or the read of the secret: it must not replace them.
REFUSED_NAME = re.compile(
    r"(AWS_|LAMBDA_|LD_|PYTHON|SSL_).*|.*_PROXY|PATH|HOME|ACCESS_KEY_SECRET_ARN"
)

Members = dict[str, Any]

_COPY_AGAIN = "copy it again from the bot's form on Poe"


class BadMember(StartError):
    """The function would refuse this member, or the secret. The text is the reason and what to do
    about it; it never has a value."""


def parse_members(text: str) -> dict[str, str]:
    """The members of the secret's `text`, checked, the key without white space around it.

    Raises `BadMember` for the first fault.
    """
    members = parse_unchecked(text)
    for fault in faults(members):
        raise BadMember(fault)
    return sound(members)


def parse_unchecked(text: str) -> Members:
    """The members of the secret's `text`, faulty ones too: whatever is wrong with one, the others
    are found. Raises `BadMember` if `text` isn't a JSON object."""
    members = _object(text, _with_all)
    if members is None:  # nested deeper than Python goes, or no JSON object at all
        members = _object(_without_nesting(text), _with_all)
    if members is None:
        raise BadMember("it is not a JSON object (`make set-key`)")
    return members


def parse(text: str) -> Members | None:
    """The members, unchecked; None if `text` isn't a JSON object, or has a name twice."""
    return _object(text, _unambiguous)


class Several(list[Any]):
    """The values of a member that stands in the secret more than once: nobody can tell which is
    meant."""


def _object(text: str, of_pairs: Callable[[list[tuple[str, Any]]], Members]) -> Members | None:
    try:
        # Python refuses a very long number, and a line feed that a person put into a text.
        members = json.loads(text, object_pairs_hook=of_pairs, parse_int=_number, strict=False)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None


def _without_nesting(text: str) -> str:
    """`text` with an empty list for whatever is nested in it: Python can't parse it any deeper, and
    no member may have such a value."""
    kept, depth = [], 0
    for token in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[^"\[\]{}]+|"', text, re.DOTALL):
        if token in "[{":
            depth += 1
        if depth == 1:
            kept.append(token)
        elif token in "[{" and depth == 2:
            kept.append("[]")
        if token in "]}":
            depth -= 1
    return "".join(kept)


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) < 1000 else float(digits)


def _with_all(pairs: list[tuple[str, Any]]) -> Members:
    members: Members = {}
    for name, value in pairs:
        members[name] = Several([members[name], value]) if name in members else value
    return members


def _unambiguous(pairs: list[tuple[str, Any]]) -> Members:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands twice")
    return members


def faults(members: Members) -> Iterator[str]:
    """Why the function would not start with `members`: reason and command, a line for each."""
    if KEY not in members:
        yield f"there is no {KEY} (`make set-key`)"
    for name, value in members.items():
        if fault := _fault(name, value):
            yield fault


def sound(members: Members) -> dict[str, str]:
    """Those members that have no fault, the key without white space around it."""
    return {
        name: check_value(name, value) for name, value in members.items() if not _fault(name, value)
    }


def _fault(name: str, value: Any) -> str:
    """The reason and the command; empty for a member without a fault."""
    try:
        check_name(name)
    except BadMember as error:
        # A name that isn't one may be a value in the wrong place.
        shown = name if MEMBER_NAME.fullmatch(name) else "…"
        return f"{error} (`make set-secret NAME={shown} REMOVE=yes` takes this one out)"
    try:
        check_value(name, value)
    except BadMember as error:
        command = "make set-key" if name == KEY else f"make set-secret NAME={name}"
        if isinstance(value, Several):  # for the commands, that isn't a secret
            command = "make set-key RESET=yes"
        return f"{error} (`{command}`)"
    return ""


def check_name(name: str) -> str:
    """`name`, if a member may have it. Raises `BadMember`."""
    if not MEMBER_NAME.fullmatch(name):
        raise BadMember(
            f"a member's name has to match {MEMBER_NAME.pattern}: use one such as OPENAI_API_KEY"
        )
    if REFUSED_NAME.fullmatch(name):
        raise BadMember(f"{name} would change how the function runs: use another name")
    return name


def check_value(name: str, value: Any) -> str:
    """`value`, if the member `name` may have it. Raises `BadMember`."""
    if isinstance(value, Several):
        raise BadMember(
            f"the secret has {name} more than once: keep one in AWS's console, or start over"
        )
    if not isinstance(value, str) or not _fits_a_variable(value):
        raise BadMember(f"the value of {name} is not a text that a variable can hold")
    return check_key(value) if name == KEY else value


def check_key(text: str) -> str:
    """The access key in `text`, without the white space around it. Raises `BadMember`."""
    key = text.strip()
    if not key:
        raise BadMember(f"the access key is empty: {_COPY_AGAIN}")
    if len(key) != KEY_LENGTH:
        raise BadMember(
            f"the access key has {len(key)} characters, not {KEY_LENGTH}: {_COPY_AGAIN}"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BadMember(f"the access key has characters that no key has: {_COPY_AGAIN}")
    return key


def _fits_a_variable(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
