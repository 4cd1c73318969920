"""From an HTTP request to a Function URL's event, payload format 2.0. Pure.

AWS Lambda Developer Guide, "Invoking Lambda function URLs": request payload format.
"""

import base64
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl

Event = dict[str, object]

_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_TEXT_TYPES = ("text", "json", "xml", "javascript")


@dataclass(frozen=True)
class UrlRequest:
    """An HTTP request as it came in; header names in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    source_ip: str
    port: int


def function_url_event(request: UrlRequest, request_id: str, trace_id: str, now: float) -> Event:
    """The event that the function gets; `now` in seconds since the epoch."""
    path, _, query = request.target.partition("?")
    headers = _headers(request, trace_id)
    cookies = [
        cookie.strip()
        for name, value in request.headers
        if name == "cookie"
        for cookie in value.split(";")
    ]
    event: Event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": _request_context(request, headers, path, request_id, now),
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        event["queryStringParameters"] = _joined(parse_qsl(query, keep_blank_values=True))
    if request.body:
        event["isBase64Encoded"] = binary = not _is_text(request.body, headers)
        event["body"] = (base64.b64encode(request.body) if binary else request.body).decode()
    return event


def new_trace_id(now: float) -> str:
    """The value of an X-Amzn-Trace-Id header for a request without one."""
    return f"Root=1-{int(now):08x}-{secrets.token_hex(12)}"


def _headers(request: UrlRequest, trace_id: str) -> dict[str, str]:
    headers = _joined(
        (name, value)
        for name, value in request.headers
        if name not in _HOP_BY_HOP and name != "cookie"
    )
    # Those of this connection, unless a tunnel in front of it has set them.
    headers.setdefault("x-forwarded-for", request.source_ip)
    headers.setdefault("x-forwarded-port", str(request.port))
    headers.setdefault("x-forwarded-proto", "http")
    headers["x-amzn-trace-id"] = trace_id
    return headers


def _request_context(
    request: UrlRequest, headers: dict[str, str], path: str, request_id: str, now: float
) -> Event:
    domain = re.sub(r":\d*\Z", "", headers.get("host", ""))
    prefix = domain.partition(".")[0]
    return {
        "accountId": "anonymous",
        "apiId": prefix,
        "domainName": domain,
        "domainPrefix": prefix,
        "http": {
            "method": request.method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
        "timeEpoch": int(now * 1000),
    }


def _is_text(body: bytes, headers: dict[str, str]) -> bool:
    """Whether AWS passes the body on as it is: ASCII, of a text type (else base64)."""
    content_type = headers.get("content-type", "").lower()
    return body.isascii() and any(text_type in content_type for text_type in _TEXT_TYPES)


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Repeated names joined by commas, as format 2.0 has it."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined
