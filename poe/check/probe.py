"""The requests of a check: each bounded in time, none raises because of what the server does."""

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

from poe.client.access import DEFAULT_URL
from poe.client.conversation import (
    PROTOCOL_VERSION,
    Conversation,
    NotAnswering,
    Refused,
    http_client,
    identifier,
    one_line,
)
from poe.client.turn import POE_LIMITS, Limits, Turn

QUESTION = "Count from 1 to 50, one number a line, and write nothing else."
REPLY_SECONDS = 5.0  # for anything but a query
ANSWER_SECONDS = 60.0  # of an answer are listened to
STRANGE_ROLE = "role-that-came-later"

_LIMITS = Limits(POE_LIMITS.first_response_seconds, ANSWER_SECONDS)


@dataclass(frozen=True)
class Reply:
    """The reply to a request that is answered at once; `status` is 0 if none came."""

    status: int
    words: str
    seconds: float
    value: Any = None  # what was asked for, where something was
    tls: str | None = None

    @property
    def figure(self) -> str:
        return f"status {self.status}" if self.status else self.words

    @property
    def refusal(self) -> str:
        """Why the value is missing: the status, if there was one, and the reason."""
        return f"{self.figure}: {self.words}" if self.status else self.words


@dataclass(frozen=True)
class QueryResult:
    """What a query came to: the turn, or the server's refusal."""

    turn: Turn | None
    refusal: str = ""
    status: int = httpx.codes.OK

    @property
    def complete(self) -> bool:
        return self.turn is not None and self.turn.seconds < ANSWER_SECONDS


class Unreachable(Exception):
    """Nothing answers at the URL; the text gives the reason."""


class Probe:
    """Asks the bot at `url` as Poe would, and remembers what was learned on the way."""

    def __init__(self, url: str, access_key: str, question: str = QUESTION) -> None:
        self.url = url
        self._key = access_key
        self._question = question
        self._client = http_client(url)
        self.first: QueryResult = QueryResult(None)
        self.warm: QueryResult = QueryResult(None)
        self.settings: Mapping[str, Any] = {}
        self.overhead = REPLY_SECONDS  # seconds that the quickest request with the key took

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._client.aclose()

    async def ask(self, *, strange_role: bool = False) -> QueryResult:
        """The question, put by a user of its own. Raises Unreachable."""
        async with Conversation(self.url, self._key, limits=_LIMITS) as conversation:
            if strange_role:
                conversation.history.append(_strange_message())
            answer = conversation.ask(self._question)
            try:
                async for _ in answer:
                    pass
            except Refused as refused:
                return QueryResult(None, str(refused), refused.status)
            except NotAnswering as error:
                hint = " (`make run` starts a bot)" if self.url == DEFAULT_URL else ""
                raise Unreachable(f"{error}: {one_line(str(error.__cause__))}{hint}") from None
            return QueryResult(answer.turn)

    async def get(self) -> Reply:
        return await self._reply("GET", {}, None)

    async def post(self, kind: str, *, key: str | None) -> Reply:
        """A request of type `kind` with this key, or without one."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return await self._reply("POST", headers, {"version": PROTOCOL_VERSION, "type": kind})

    async def post_with_key(self, kind: str) -> Reply:
        return await self.post(kind, key=self._key)

    async def tell(self, tell: Callable[[Conversation], Awaitable[Any]]) -> Reply:
        """The bot's reply to one of Conversation's other requests."""
        began = time.monotonic()
        async with Conversation(self.url, self._key, limits=_LIMITS) as conversation:
            try:
                value = await tell(conversation)
            except Refused as refused:
                return Reply(refused.status, refused.reason, time.monotonic() - began)
            except (NotAnswering, httpx.HTTPError) as error:
                return Reply(0, one_line(str(error)), time.monotonic() - began)
        took = time.monotonic() - began
        self.overhead = min(self.overhead, took)
        return Reply(httpx.codes.OK, "", took, value)

    async def _reply(
        self, method: str, headers: Mapping[str, str], body: Mapping[str, str] | None
    ) -> Reply:
        began = time.monotonic()
        try:
            answer = await self._client.request(
                method, self.url, headers=headers, json=body, timeout=REPLY_SECONDS
            )
        except httpx.TimeoutException:
            return Reply(0, f"no answer within {REPLY_SECONDS:g} s", time.monotonic() - began)
        except httpx.HTTPError as error:
            reason = one_line(str(error)) or "the connection broke"
            return Reply(0, reason, time.monotonic() - began)
        took = time.monotonic() - began
        return Reply(answer.status_code, one_line(answer.text), took, tls=_tls_version(answer))


def another_key() -> str:
    """A key that no bot has."""
    return secrets.token_hex(16)


def _tls_version(answer: httpx.Response) -> str | None:
    tls = answer.extensions["network_stream"].get_extra_info("ssl_object")
    return tls and str(tls.version())


def _strange_message() -> dict[str, Any]:
    return {
        "role": STRANGE_ROLE,
        "content": "Poe may add roles; a bot leaves out what it does not know.",
        "content_type": "text/markdown",
        "timestamp": time.time_ns() // 1000,
        "message_id": identifier("m"),
        "feedback": [],
        "attachments": [],
    }
