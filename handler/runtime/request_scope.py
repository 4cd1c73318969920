"""The ASGI scope of a Function URL's event: Mangum's, and what it can't read of Host and path.

Sources: RFC 9110, 7.2 (Host), RFC 3986, 3.2.2 (IPv6 literals), and the ASGI specification, "HTTP
Connection Scope".
"""

import re
import socket
from typing import Any

from mangum.handlers import HTTPGateway
from mangum.types import LambdaConfig, LambdaContext, LambdaEvent
from starlette.types import Scope

from handler.runtime.context import Context

MANGUM_CONFIG: LambdaConfig = {
    "api_gateway_base_path": "/",
    "text_mime_types": [],
    "exclude_headers": [],
}
# Mangum takes any colon in a Host for that of a port, and any port for a number.
_KEPT_FROM_MANGUM = ("host", "x-forwarded-port")
_OF_MANGUM = ("version", "requestContext", "rawQueryString", "cookies")
# Whose response it writes, Mangum asks an event again and again: of this one it needs the least.
_ANY_EVENT: LambdaEvent = {
    "version": "2.0",
    "headers": {},
    "requestContext": {"http": {"method": "", "path": "/", "sourceIp": ""}},
}
RESPONSES = HTTPGateway(_ANY_EVENT, Context(), MANGUM_CONFIG)
"""Turns a response into Lambda's, whichever event it answers."""
_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::(.*))?")
_LAST_PORT = 65_535
_PORTS = {"http": 80, "https": 443}


class Gateway(HTTPGateway):
    """For Mangum itself, which asks it for scope, body and response."""

    @property
    def scope(self) -> Scope:
        return scope_of(self.event, self.context)


def scope_of(event: dict[str, Any], context: LambdaContext) -> Scope:
    """The scope of the event's request. Raises whatever a malformed event makes Mangum raise."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    own = {name: headers.pop(name) for name in _KEPT_FROM_MANGUM if name in headers}
    shown = {name: event[name] for name in _OF_MANGUM if name in event}
    scope: Scope = HTTPGateway({**shown, "headers": headers}, context, MANGUM_CONFIG).scope
    scope["headers"] = [*([name.encode(), own[name].encode()] for name in own), *scope["headers"]]
    scope["server"] = _server(event, own, scope["scheme"])
    scope["raw_path"] = _raw_path(event)
    scope["aws.event"] = event
    return scope


def _server(event: dict[str, Any], headers: dict[str, str], scheme: str) -> tuple[str, int] | None:
    """By the Host, if it is one, else by the function's own domain; None without either."""
    own = _parse_host(headers.get("host")) or _parse_host(event["requestContext"].get("domainName"))
    if not own:
        return None
    name, port = own
    return name, port or _port(headers.get("x-forwarded-port")) or _PORTS.get(scheme, 443)


def _parse_host(host: object) -> tuple[str, int | None] | None:
    """Name (of an IPv6 literal, what is in the brackets) and port; None if it isn't a host."""
    found = _HOST.fullmatch(host) if isinstance(host, str) else None
    if not found or (found[1] and not _is_ipv6(found[1])):
        return None
    port = _port(found[3])
    return None if found[3] and port is None else (found[1] or found[2], port)


def _port(text: str | None) -> int | None:
    is_number = text and text.isascii() and text.isdecimal() and len(text) < 10
    return int(text) if text and is_number and int(text) <= _LAST_PORT else None


def _is_ipv6(text: str) -> bool:
    try:
        return bool(socket.inet_pton(socket.AF_INET6, text))
    except (OSError, ValueError):
        return False


def _raw_path(event: dict[str, Any]) -> bytes:
    """The path as it was sent, with its escapes."""
    path = event.get("rawPath")
    if not isinstance(path, str):
        path = event["requestContext"]["http"]["path"]
    return path.encode("utf-8", "surrogatepass")
