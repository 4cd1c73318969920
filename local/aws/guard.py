"""Who may talk to the local AWS: callers that sign with credentials of this run.

MiniStack runs what it is given as this user's own processes, and its own check of signatures lets
some invented ones and its administration through. So this stands before all of it, as an ASGI app.
It runs on the Python of MiniStack's environment: nothing but the standard library is imported.
"""

import hmac
import html
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from local.signature import Credentials, NotSigned, SignedRequest, headers_once

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Lookup = Callable[[str], Credentials | None]
"""Credentials by their access key id; None for an id that was never given out."""

TOKEN = "token"
BODY_LIMIT = 300_000_000  # bytes; Lambda takes packages of 262,144,000, unpacked

# A custom resource's function answers here; the path ends with a UUID that only it was given.
_CALLBACK = re.compile(r"/_ministack/cfn-response/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_REST_JSON = re.compile(r"/20[0-9]{2}-[0-9]{2}-[0-9]{2}/")  # Lambda's paths, for example


class Forbidden(Exception):
    """A request that MiniStack doesn't get to see: AWS's name for the reason, and its words."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class Guard:
    """`app` for requests to `port` that are signed with credentials that `lookup` knows."""

    def __init__(self, app: App, port: int, lookup: Lookup) -> None:
        self._app = app
        self._lookup = lookup
        # An S3 bucket has a name of its own below localhost, which no DNS outside decides on.
        self._hosts = re.compile(rf"(127\.0\.0\.1|([a-z0-9.-]+\.)?localhost):{port}")
        self._links = secrets.token_bytes()

    def link(self, url: str) -> str:
        """`url` with a token that lets anyone who has the link get what is there."""
        path = "/" + url.partition("://")[2].partition("/")[2].partition("?")[0]
        return f"{url}{'&' if '?' in url else '?'}{TOKEN}={self._token(path)}"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            _log(scope, "no WebSockets are served")
            await send({"type": "websocket.close"})  # before it is accepted: 403

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            receive = await self._admitted(scope, receive)
        except (Forbidden, NotSigned) as error:
            _log(scope, str(error))
            await _refuse(scope, send, error.error_type, str(error))
        else:
            await self._app(scope, receive, send)

    async def _admitted(self, scope: Message, receive: Receive) -> Receive:
        """What gives MiniStack the request's body. Raises Forbidden and NotSigned."""
        headers = headers_once(scope["headers"])
        if not self._hosts.fullmatch(headers.get("host", "")) or "origin" in headers:
            raise Forbidden("AccessDenied", "The local AWS serves no web pages")
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        method = scope["method"]
        if method == "PUT" and _CALLBACK.fullmatch(path):
            return receive
        if method == "GET" and self._has_token(path, query):
            return receive
        request = SignedRequest(headers, b"", method, path, query)
        # Unknown ids are compared with something, too: the error is the same.
        credentials = self._lookup(request.key_id) or Credentials.random()
        request.check_identity(credentials)
        body = await _body(receive)
        replace(request, body=body).verify(credentials, datetime.now(UTC))
        return _given(body, receive)

    def _token(self, path: str) -> str:
        return hmac.digest(self._links, path.encode(), "sha256").hex()

    def _has_token(self, path: str, query: str) -> bool:
        given = parse_qs(query).get(TOKEN, [""])[0]
        return hmac.compare_digest(given.encode(), self._token(path).encode())


def _log(scope: Message, reason: str) -> None:
    path = scope["raw_path"].decode("latin-1")[:200]
    print(f"refused {scope.get('method', 'GET')} {path}: {reason}", flush=True)


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            raise Forbidden("EntityTooLarge", f"The body is larger than {BODY_LIMIT} bytes")
        if not message.get("more_body"):  # nor does http.disconnect have any
            return bytes(body)


def _given(body: bytes, receive: Receive) -> Receive:
    """`body` in one message, then what else comes: that the client has gone."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return messages.pop() if messages else await receive()

    return give


async def _refuse(scope: Message, send: Send, error_type: str, message: str) -> None:
    """In the form that the service's clients read: S3's and the query protocol's is XML."""
    if _speaks_json(scope):
        kind = "application/x-amz-json-1.1"
        text = json.dumps({"__type": error_type, "message": message})
    else:
        kind = "application/xml"
        text = _xml({"Code": error_type, "Message": message})
    start = {
        "type": "http.response.start",
        "status": 403,
        "headers": [
            (b"content-type", kind.encode()),
            (b"x-amzn-errortype", error_type.encode()),
            (b"content-length", str(len(text.encode())).encode()),
            (b"connection", b"close"),
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": text.encode()})


def _speaks_json(scope: Message) -> bool:
    content_type = dict(scope["headers"]).get(b"content-type", b"")
    return b"json" in content_type or _REST_JSON.match(scope["path"]) is not None


def _xml(values: Mapping[str, str]) -> str:
    elements = "".join(f"<{name}>{html.escape(value)}</{name}>" for name, value in values.items())
    return f"<ErrorResponse><Error><Type>Sender</Type>{elements}</Error></ErrorResponse>"
