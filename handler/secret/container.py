"""The function's credentials where Lambda gives them by an endpoint, as under SnapStart: variables
would be the snapshot's, and expired, in an environment that is restored from it.

Source: AWS SDKs and Tools Reference Guide, "Container credential provider".
"""

import http.client
import json
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from handler.runtime.deadlines import READ_STEP
from handler.secret.signed_call import (
    CONTAINER_ADDRESS,
    CONTAINER_TOKEN,
    BadVariable,
    NoCredentials,
    is_plain,
)

LARGEST = 65_536  # bytes of an answer

# By the members of the endpoint's document.
VARIABLES = {
    "AccessKeyId": "AWS_ACCESS_KEY_ID",
    "SecretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "Token": "AWS_SESSION_TOKEN",
}


def current_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """The credentials as they are now, as the variables that have them elsewhere. Blocks. Raises
    `BadVariable` and `NoCredentials`."""
    address, token = _address(environ), environ.get(CONTAINER_TOKEN, "").strip()
    if not is_plain(token):
        raise BadVariable(f"{CONTAINER_TOKEN} has invalid characters")
    try:
        return _found(*_ask(address, token))
    except (OSError, http.client.HTTPException) as error:
        raise NoCredentials(type(error).__name__) from None


def _address(environ: Mapping[str, str]) -> SplitResult:
    """The server there learns the token, and chooses the credentials: it has to be on this
    machine or its links."""
    text = environ[CONTAINER_ADDRESS]
    try:
        address = urlsplit(text)
        is_http = address.scheme == "http" and address.port != 0 and is_plain(text)
        if is_http and _is_near(address.hostname or ""):
            return address
    except ValueError:  # the port, or a bracket
        pass
    raise BadVariable(
        f"{CONTAINER_ADDRESS} isn't an http address of this machine (loopback or link-local)"
    )


def _is_near(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ip = ip_address(host)
    except ValueError:
        return False
    return ip.is_loopback or ip.is_link_local


def _ask(address: SplitResult, token: str) -> tuple[int, bytes]:
    """Status and body of the answer. Raises `OSError` and `HTTPException`."""
    target = (address.path or "/") + (f"?{address.query}" if address.query else "")
    headers = {"Accept": "application/json"} | ({"Authorization": token} if token else {})
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, READ_STEP)
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(LARGEST)
    finally:
        connection.close()


def _found(status: int, body: bytes) -> dict[str, str]:
    """Raises `NoCredentials`."""
    if status != 200:
        raise NoCredentials(f"status {status}")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise NoCredentials("no JSON object")
    found = {name: document.get(member, "") for member, name in VARIABLES.items()}
    if not all(isinstance(value, str) for value in found.values()):
        raise NoCredentials("a member that isn't text")
    key_id, key, token = found.values()
    if not key_id or not key:
        raise NoCredentials("no AccessKeyId or no SecretAccessKey")
    if not is_plain(key_id + key + token):
        raise NoCredentials("a member with invalid characters")
    return found
