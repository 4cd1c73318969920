"""How an open page knows its own server again before it sends its cookie.

When `make run` has stopped, any user of this machine may listen on its port, and the page asks for
the run's state every second. So it sends a challenge first, without its cookie; only who knows the
token can answer it. The answer holds for one port: a server elsewhere can't answer for another.
"""

import hashlib
import hmac
import re

PATH = "/proof/"

_CHALLENGE = re.compile(r"[0-9a-f]{32}", re.ASCII)


def proof_key(token: str) -> str:
    """What the page checks answers with, in hexadecimal. It opens nothing."""
    return hmac.new(token.encode(), b"proof", hashlib.sha256).hexdigest()


def proof(token: str, port: int, challenge: str) -> str:
    """The answer to a challenge, in hexadecimal."""
    key = bytes.fromhex(proof_key(token))
    return hmac.new(key, f"{port} {challenge}".encode(), hashlib.sha256).hexdigest()


def is_challenge(path: str) -> bool:
    return path.startswith(PATH) and _CHALLENGE.fullmatch(path.removeprefix(PATH)) is not None
