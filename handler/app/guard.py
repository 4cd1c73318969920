"""What stands in front of the bot: the key, then the body, then the request's shape.

A refusal states what was wrong with the request and never repeats any of it. What Poe's protocol
requires a server to ignore is left out instead (protocol 1.2: unknown roles, content types,
feedback types; pydantic leaves unknown keys out by itself).
"""

import hmac
import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import fastapi_poe as fp
from fastapi_poe.types import BaseRequest
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.types import Receive

from handler import fast_json
from handler.secret.members import KEY_LENGTH

RawHeaders = Iterable[tuple[bytes, bytes]]
Location = tuple[int | str, ...]  # in a document, as pydantic's `loc`: keys and positions

LARGEST_BODY = 6 * 1024 * 1024  # bytes: Lambda's own limit for a request
# Lists and objects in each other; what Poe sends has about ten. Python's own limit differs from
# version to version and between reading and writing.
DEEPEST = 100
TOO_DEEP = f"the body is nested more than {DEEPEST} levels deep"
CONTAINERS = (dict, list)
MOST_NAMED = 5  # wrong fields in a reason
TOO_LARGE = "the body is larger than 6 MB"
WRONG_KEY = "the access key is wrong"
MODELS: dict[str, type[BaseRequest]] = {
    "query": fp.QueryRequest,
    "settings": fp.SettingsRequest,
    "report_feedback": fp.ReportFeedbackRequest,
    "report_reaction": fp.ReportReactionRequest,
    "report_error": fp.ReportErrorRequest,
}


# By RFC 9110, 15.5: what a client may do instead.
DEMANDED = {401: [(b"www-authenticate", b"Bearer")], 405: [(b"allow", b"GET, POST")]}


class Refusal(Exception):
    """An answer instead of the bot's. `status` 200 is for what is ignored, not refused."""

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(status, reason)
        self.status, self.reason = status, reason

    @property
    def body(self) -> bytes:
        return json.dumps({"error": self.reason} if self.reason else {}).encode()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self.body)).encode()),
        ]
        return [*headers, *DEMANDED.get(self.status, [])]


def credential(headers: RawHeaders) -> bytes:
    """What the request carries in `Authorization: Bearer <access key>`, once. Raises 401 unless
    that has the form of a key. RFC 9110, 11.1: the scheme's case does not matter."""
    sent = [value for name, value in headers if name == b"authorization"]
    scheme, _, credentials = sent[0].partition(b" ") if len(sent) == 1 else (b"", b"", b"")
    if scheme.lower() != b"bearer":
        raise Refusal(401, "an access key is needed: Authorization: Bearer <access key>")
    credentials = credentials.strip()
    if len(credentials) != KEY_LENGTH or not credentials.isascii():
        raise Refusal(401, WRONG_KEY)
    return credentials


def check_key(sent: bytes, key: str) -> None:
    """Raise 401 unless `sent` is the key, compared in constant time."""
    # An empty key would let everyone in.
    if not key or not hmac.compare_digest(sent, key.encode()):
        raise Refusal(401, WRONG_KEY)


async def read_body(headers: RawHeaders, receive: Receive) -> bytes:
    """The whole body. Raises 413 past `LARGEST_BODY`, 415 for a type other than JSON; by the
    headers, if they show it, before anything is read."""
    content_type = _header(headers, b"content-type")
    kind = content_type.partition(b";")[0].strip().lower()
    if kind and kind != b"application/json" and not kind.endswith(b"+json"):
        raise Refusal(415, "the body has to be JSON: Content-Type: application/json")
    length = _header(headers, b"content-length")
    if length.isdigit() and (len(length) > 18 or int(length) > LARGEST_BODY):
        raise Refusal(413, TOO_LARGE)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the body is incomplete")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise Refusal(413, TOO_LARGE)
        if not message.get("more_body", False):
            return b"".join(parts)  # of one part, that one


def _header(headers: RawHeaders, name: bytes) -> bytes:
    return next((value for each, value in headers if each == name), b"")


def parse(body: bytes) -> dict[str, Any]:
    """The request's JSON object, its `type` one that Poe's protocol has."""
    try:
        document = fast_json.read(body, _loads)
    except UnicodeDecodeError:
        raise Refusal(400, "the body is not UTF-8") from None
    except RecursionError:
        raise Refusal(400, TOO_DEEP) from None
    except ValueError:
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(document, dict):
        raise Refusal(400, "the body is not a JSON object")
    if _is_deeper(document, DEEPEST):
        raise Refusal(400, TOO_DEEP)
    kind = document.get("type")
    if not isinstance(kind, str):
        raise Refusal(400, "the body has no type")
    if kind not in MODELS:
        raise Refusal(501, "this type of request is not supported")
    return document


def _loads(body: fast_json.Bytes) -> Any:
    return json.loads(body.decode(), parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} isn't JSON")


def _is_deeper(document: dict[str, Any], limit: int) -> bool:
    """Whether lists and objects are nested more than `limit` times."""
    level: list[Any] = [document]
    for _ in range(limit):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) in CONTAINERS
        ]
        if not level:
            return False
    return True


def validate(document: dict[str, Any]) -> BaseRequest:
    """`document` as fastapi_poe's request; what is to be ignored is taken out of `document`.

    Raises 400 for what is wrong, and 200 where the whole request is to be ignored.
    """
    model = MODELS[document["type"]]
    while True:
        try:
            request = model.model_validate(document)
            break
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False)
            if not _leave_out(document, problems):
                raise _bad_fields(problems) from None
    if isinstance(request, fp.QueryRequest) and not request.query:
        raise Refusal(400, "the query has no message with a known role")
    return request


def _leave_out(document: dict[str, Any], problems: Sequence[ErrorDetails]) -> bool:
    """Take out what has a value that Poe added later; whether there was any. The document gets
    smaller each time, so asking again comes to an end."""
    unknown = {
        _smallest_whole(problem["loc"])
        for problem in problems
        if problem["type"] == "literal_error" and isinstance(problem["input"], str)
    }
    # Backwards: a location stays true until something in front of it, or around it, is gone.
    for *parents, last in sorted(unknown, reverse=True):
        holder: Any = document
        for step in parents:
            holder = holder[step]
        del holder[last]
    return bool(unknown)


def _smallest_whole(location: Location) -> Location:
    """What to leave out for an unknown value at `location`. Raises 200 if it is everything."""
    match location[-1]:
        case "feedback_type":
            raise Refusal(200)
        case "role" | "type":  # a message without role, or feedback without type, is nothing
            return location[:-1]
        case _:  # the other such fields have a default
            return location


def _bad_fields(problems: Sequence[ErrorDetails]) -> Refusal:
    """Each field's location and pydantic's name for what is wrong with it."""
    named = sorted({f"{_dotted(problem['loc'])}: {problem['type']}" for problem in problems})
    more = f"; and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return Refusal(400, f"invalid request: {'; '.join(named[:MOST_NAMED])}{more}")


def _dotted(location: Location) -> str:
    # A dictionary's keys are the sender's own words.
    return ".".join(
        str(step) if step in _field_names() or isinstance(step, int) else "*" for step in location
    )


@cache
def _field_names() -> frozenset[str]:
    models = [
        model
        for model in vars(fp.types).values()
        if isinstance(model, type) and issubclass(model, BaseModel)
    ]
    return frozenset(name for model in models for name in model.model_fields)
