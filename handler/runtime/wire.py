"""Lambda's names and bytes: no socket, no clock, no environment.

Sources: AWS, "Using the Lambda runtime API for custom runtimes" and "Building a custom runtime
for AWS Lambda" (response streaming); for events, "Invoking Lambda function URLs" (payload 2.0).
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeGuard

from handler import fast_json

API_VERSION = "2018-06-01"

# On `next`.
REQUEST_ID = "Lambda-Runtime-Aws-Request-Id"
DEADLINE_MS = "Lambda-Runtime-Deadline-Ms"
FUNCTION_ARN = "Lambda-Runtime-Invoked-Function-Arn"
TRACE_ID = "Lambda-Runtime-Trace-Id"
CLIENT_CONTEXT = "Lambda-Runtime-Client-Context"
COGNITO_IDENTITY = "Lambda-Runtime-Cognito-Identity"
TENANT_ID = "Lambda-Runtime-Aws-Tenant-Id"
# On `next`, and echoed on `response` and `error`.
INVOCATION_ID = "Lambda-Runtime-Invocation-Id"
# On `response` and `error`.
RESPONSE_MODE = "Lambda-Runtime-Function-Response-Mode"
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"

INTEGRATION_RESPONSE = "application/vnd.awslambda.http-integration-response"
PRELUDE_END = b"\0" * 8
LAST_CHUNK = b"0\r\n\r\n"

SMALL = 64 * 1024  # bytes of an event: what comes before its body, or after it, is far smaller
OF_THE_HEAD = re.compile(rb'"(?:version|headers|cookies|rawQueryString|requestContext)"')

Headers = list[tuple[str, str]]


class BadEvent(Exception):
    """An event that can't be turned into an HTTP request; the text explains why, for its sender."""


class NotAFunctionURLEvent(BadEvent):
    """An event from elsewhere: the console's test button, a schedule, another service."""


class Invocation(NamedTuple):
    """What `next` hands out: the event's bytes, and what its headers contain."""

    request_id: str
    deadline_ms: int  # since the epoch
    event: bytes | bytearray
    function_arn: str = ""
    trace_id: str | None = None
    invocation_id: str | None = None
    client_context: str | None = None
    cognito_identity: str | None = None
    tenant_id: str | None = None

    @classmethod
    def parse(cls, headers: Mapping[str, str], event: bytes | bytearray) -> Self:
        """`headers`: by lower-case name. Raises `ValueError` without request id or deadline."""
        request_id = headers.get(REQUEST_ID.lower(), "")
        deadline_ms = headers.get(DEADLINE_MS.lower(), "")
        if not _fits_a_path(request_id) or not deadline_ms.isdecimal():
            raise ValueError(f"`next` answered without a usable {REQUEST_ID} or {DEADLINE_MS}")
        return cls(
            request_id,
            int(deadline_ms),
            event,
            headers.get(FUNCTION_ARN.lower(), ""),
            headers.get(TRACE_ID.lower()),
            headers.get(INVOCATION_ID.lower()),
            headers.get(CLIENT_CONTEXT.lower()),
            headers.get(COGNITO_IDENTITY.lower()),
            headers.get(TENANT_ID.lower()),
        )

    @property
    def echo(self) -> Headers:
        """The headers that an answer to this invocation sends back."""
        return [(INVOCATION_ID, self.invocation_id)] if self.invocation_id else []


class Failure(NamedTuple):
    """Why an invocation, or the start, failed: AWS's error document.

    `message` reaches logs and callers, so it is never a foreign exception's own text.
    """

    type: str
    message: str
    stack: tuple[str, ...] = ()

    @property
    def document(self) -> bytes:
        return json.dumps(
            {"errorType": self.type, "errorMessage": self.message, "stackTrace": self.stack}
        ).encode()

    @property
    def header(self) -> Headers:
        """The type, as a header can carry it: a class's name may be in any script."""
        return [(ERROR_TYPE, re.sub(r"[^!-~]", "?", self.type))]

    @property
    def trailers(self) -> Headers:
        """The two trailers that mark a response as failed after its head is out."""
        return [*self.header, (ERROR_BODY, base64.b64encode(self.document).decode())]


def _fits_a_path(text: str) -> bool:
    return text != "" and text.isascii() and text.isprintable() and " " not in text


def encode_prelude(
    status: int, headers: Mapping[str, str] | None, cookies: Sequence[str] | None
) -> bytes:
    """The JSON before the eight NULs. JSON escapes NULs, so it can't contain one."""
    prelude: dict[str, Any] = {"statusCode": status, "headers": headers or {}}
    if cookies:
        prelude["cookies"] = cookies
    return json.dumps(prelude).encode()


def encode_chunk(data: bytes) -> bytes:
    """One frame of a chunked body (RFC 9112, 7.1). `data` is not empty: that would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def encode_last_chunk(trailers: Headers) -> bytes:
    """The end of a chunked body, with trailers."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
    return f"0\r\n{lines}\r\n".encode("ascii")


def encode_reason(error: Exception) -> bytes:
    """The body of a refusal."""
    return json.dumps({"error": str(error)}).encode()


def parse_event(event: bytes | bytearray) -> dict[str, Any]:
    """A Function URL event (payload 2.0), whole enough for Mangum's HTTP handler; of a large one
    perhaps only what comes before its body, which `read_body` adds.

    Raises `NotAFunctionURLEvent` for an event from elsewhere.
    """
    document = (_parse_head(event) if len(event) > SMALL else None) or _parse(event)
    if not _is_function_url_event(document):
        raise NotAFunctionURLEvent("the event is not a Function URL request (payload version 2.0)")
    # AWS always sends both; other senders leave them null, which Mangum takes for text.
    document["headers"] = document.get("headers") or {}
    document["rawQueryString"] = document.get("rawQueryString") or ""
    return document


def _parse(event: bytes | bytearray) -> Any:
    try:
        return fast_json.read(event)
    except (ValueError, RecursionError):
        raise NotAFunctionURLEvent("the event is not JSON") from None


def _parse_head(event: bytes | bytearray) -> Any:
    """What comes before the body, so that who has no key is refused without a look at megabytes;
    None unless the head consists of that alone.

    A quote in a string is escaped, so these names are never found in one: wherever the first part,
    with another end, is JSON, it ends at a member of the event itself.
    """
    end = event.rfind(b'"body"', 0, SMALL)
    if end < 0 or OF_THE_HEAD.search(event, max(end, len(event) - SMALL)):
        return None
    try:
        document = json.loads(event[:end] + b'"body":""}')
    except (ValueError, RecursionError):
        return None
    return Unread(document, event=event)


class Unread(dict[str, Any]):
    """An event without its body."""

    def __init__(self, head: Mapping[str, Any], event: bytes | bytearray) -> None:
        super().__init__(head)
        self._event = [event]  # until it is read

    def read(self) -> None:
        """Add what was left out, once. Raises `BadEvent`."""
        if self._event:
            rest = _parse(self._event.pop())
            self.update({name: rest[name] for name in rest.keys() - self.keys() | {"body"}})


def read_body(document: dict[str, Any]) -> bytes:
    """The body of a parsed event; it is added to the event where it was left out. Raises
    `BadEvent`."""
    if isinstance(document, Unread):
        document.read()
    body = document.get("body") or ""
    try:
        if document.get("isBase64Encoded"):
            # Strictly, or foreign characters are skipped, and the bot gets another body than was
            # sent.
            return base64.b64decode(body, validate=True)
        return body.encode()
    except (binascii.Error, ValueError, TypeError, AttributeError):
        kind = "base64" if document.get("isBase64Encoded") else "text"
        raise BadEvent(f"the body is not {kind}") from None


def _is_function_url_event(document: Any) -> TypeGuard[dict[str, Any]]:
    if not isinstance(document, dict) or document.get("version") != "2.0":
        return False
    context = document.get("requestContext")
    http = context.get("http") if isinstance(context, dict) else None
    return isinstance(http, dict) and all(
        isinstance(http.get(name), str) for name in ("method", "path", "sourceIp")
    )
