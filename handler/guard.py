"""What stands in front of the bot: the key, then the body, then the request's shape.

A refusal says what was wrong with the request and never repeats any of it. What Poe's protocol
tells a server to ignore is left out instead (protocol 1.2: unknown roles, content types, feedback
types; pydantic leaves unknown keys out by itself).
"""

import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

import fastapi_poe as fp
from pydantic import ValidationError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
RawHeaders = Iterable[tuple[bytes, bytes]]
PoeRequest = (
    fp.QueryRequest
    | fp.SettingsRequest
    | fp.ReportFeedbackRequest
    | fp.ReportReactionRequest
    | fp.ReportErrorRequest
)

LARGEST_BODY = 6 * 1024 * 1024  # bytes: Lambda's own limit for a request
MODELS: dict[str, type[PoeRequest]] = {
    "query": fp.QueryRequest,
    "settings": fp.SettingsRequest,
    "report_feedback": fp.ReportFeedbackRequest,
    "report_reaction": fp.ReportReactionRequest,
    "report_error": fp.ReportErrorRequest,
}


@dataclass(eq=False)
class Refusal(Exception):
    """An answer instead of the bot's. `status` 200 is for what is ignored, not refused."""

    status: int
    reason: str = ""

    @property
    def body(self) -> bytes:
        return json.dumps({"error": self.reason} if self.reason else {}).encode()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self.body)).encode()),
        ]
        return [*headers, (b"www-authenticate", b"Bearer")] if self.status == 401 else headers


def check_key(headers: RawHeaders, key: str) -> None:
    """Raise 401 unless the request carries `Authorization: Bearer <key>`, compared in constant
    time. RFC 9110, 11.1: the scheme's case does not matter."""
    sent = next((value for name, value in headers if name == b"authorization"), b"")
    scheme, _, credentials = sent.partition(b" ")
    if scheme.lower() != b"bearer":
        raise Refusal(401, "an access key is needed: Authorization: Bearer <access key>")
    if not hmac.compare_digest(credentials.strip(), key.encode()):
        raise Refusal(401, "the access key is wrong")


async def read_body(headers: RawHeaders, receive: Receive) -> bytes:
    """The whole body. Raises 413 past `LARGEST_BODY`, 415 for another type than JSON."""
    content_type = next((value for name, value in headers if name == b"content-type"), b"")
    kind = content_type.partition(b";")[0].strip().lower()
    if kind and kind != b"application/json" and not kind.endswith(b"+json"):
        raise Refusal(415, "the body has to be JSON: Content-Type: application/json")
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise Refusal(413, "the body is larger than 6 MB")
        if not message.get("more_body", False):
            return bytes(body)


def parse(body: bytes) -> dict[str, Any]:
    """The request's JSON object, its `type` one that Poe's protocol has."""
    try:
        document = json.loads(body.decode())
    except UnicodeDecodeError:
        raise Refusal(400, "the body is not UTF-8") from None
    except RecursionError:
        raise Refusal(400, "the body is nested too deeply") from None
    except ValueError:
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(document, dict):
        raise Refusal(400, "the body is not a JSON object")
    kind = document.get("type")
    if not isinstance(kind, str):
        raise Refusal(400, "the body has no type")
    if kind not in MODELS:
        raise Refusal(501, "this type of request is not supported")
    return document


def validate(document: dict[str, Any]) -> PoeRequest:
    """`document` as fastapi_poe's request; what is to be ignored is taken out of `document`."""
    model = MODELS[document["type"]]
    try:
        request = model.model_validate(document)
    except ValidationError as error:
        if not _leave_out(document, error):
            raise _bad_fields(error) from None
        return validate(document)
    except RecursionError:
        raise Refusal(400, "the body is nested too deeply") from None
    if isinstance(request, fp.QueryRequest) and not request.query:
        raise Refusal(400, "the query has no message with a known role")
    return request


def _leave_out(document: dict[str, Any], error: ValidationError) -> bool:
    """Take out what has a value that Poe added later. False when something else is wrong too."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if any(problem["type"] != "literal_error" for problem in problems):
        return False
    # From the end, so that the positions in front stay true.
    for problem in reversed(problems):
        *parents, field = problem["loc"]
        if field == "feedback_type":
            raise Refusal(200)
        # A message without its role, or feedback without its type, is nothing; any other field
        # has a default.
        *parents, field = parents if field in ("role", "type") else (*parents, field)
        holder: Any = document
        for step in parents:
            holder = holder[step]
        del holder[field]
    return True


def _bad_fields(error: ValidationError) -> Refusal:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    # A field's place and pydantic's name for the problem; dictionary keys are the sender's words.
    places = {f"{problem['loc'][0]}: {problem['type']}" for problem in problems if problem["loc"]}
    return Refusal(400, "invalid request: " + "; ".join(sorted(places)[:5]))
