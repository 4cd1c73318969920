"""From a function's answer to an HTTP response. Pure: bytes in, records out.

AWS Lambda Developer Guide: "Invoking Lambda function URLs" (response payload format), "Custom
runtimes: response streaming" (prelude).
"""

import base64
import json
from dataclasses import dataclass

from local.aws_lambda.invocation import MalformedAnswer

INTEGRATION_RESPONSE = "application/vnd.awslambda.http-integration-response"

_SEPARATOR = bytes(8)
_PRELUDE_LIMIT = 1 << 20
_NOT_PASSED_ON = {
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_REMAPPED = {"www-authenticate": "x-amzn-remapped-www-authenticate"}


@dataclass(frozen=True)
class ResponseHead:
    """Status and headers for the client; framing and hop-by-hop headers are taken out."""

    status: int
    headers: tuple[tuple[str, str], ...]


class PreludeParser:
    """Finds the head at the start of a stream: JSON, 8 NULs, body. It may be split anywhere."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """The head and the first bytes of the body, once both are known; else None.

        Raises MalformedAnswer as soon as no head can come of it.
        """
        self._buffer += data
        start = self._buffer.find(b"\0")
        if start < 0 and len(self._buffer) <= _PRELUDE_LIMIT:
            return None
        separator = self._buffer[start : start + 8]
        if start < 0 or not _SEPARATOR.startswith(separator):
            raise MalformedAnswer("the prelude must be JSON, followed by 8 NUL bytes")
        if len(separator) < 8:
            return None
        return parse_prelude(bytes(self._buffer[:start])), bytes(self._buffer[start + 8 :])

    def end(self) -> None:
        """The stream is over before a head was found: raises MalformedAnswer."""
        raise MalformedAnswer("the stream ended before its prelude and the 8 NUL bytes did")


def parse_prelude(prelude: bytes) -> ResponseHead:
    """`{"statusCode", "headers", "cookies"}`, each of them optional."""
    try:
        fields = json.loads(prelude)
    except ValueError:
        raise MalformedAnswer("the prelude isn't JSON") from None
    if not isinstance(fields, dict):
        raise MalformedAnswer("the prelude isn't a JSON object")
    return _head(fields, default_type="application/octet-stream")


def parse_payload(payload: bytes) -> tuple[ResponseHead, bytes]:
    """A buffered answer: a proxy response, or any JSON value, which becomes a 200's body."""
    try:
        value = json.loads(payload)
    except ValueError:
        raise MalformedAnswer("the answer isn't JSON") from None
    if isinstance(value, dict) and "statusCode" in value:
        return _head(value, default_type="application/json"), _body(value)
    body = value.encode() if isinstance(value, str) else payload
    return ResponseHead(200, (("content-type", "application/json"),)), body


def _body(fields: dict[str, object]) -> bytes:
    body = fields.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        return json.dumps(body).encode()
    if not fields.get("isBase64Encoded"):
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        raise MalformedAnswer("isBase64Encoded is true, but the body isn't base64") from None


def _head(fields: dict[str, object], default_type: str) -> ResponseHead:
    status = fields.get("statusCode", 200)
    headers, cookies = fields.get("headers") or {}, fields.get("cookies") or []
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise MalformedAnswer("statusCode must be a number from 200 to 599")
    if not isinstance(headers, dict) or not isinstance(cookies, list):
        raise MalformedAnswer("headers must be an object, cookies a list")
    named = {str(name).lower(): _text(value) for name, value in headers.items()}
    passed_on = {
        _REMAPPED.get(name, name): value
        for name, value in named.items()
        if name not in _NOT_PASSED_ON
    }
    passed_on.setdefault("content-type", default_type)
    set_cookies = (("set-cookie", _text(cookie)) for cookie in cookies)
    return ResponseHead(status, (*passed_on.items(), *set_cookies))


def _text(value: object) -> str:
    """A header's value; what could end the header early is refused."""
    text = value if isinstance(value, str) else json.dumps(value)
    if any(character in text for character in "\r\n\0") or not text.isascii():
        raise MalformedAnswer("a header's value must be ASCII, without line breaks")
    return text.strip()
