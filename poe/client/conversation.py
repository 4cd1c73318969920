"""Poe's side of a conversation with a server bot: its requests, and its reading of the answers.

Requests follow Poe's protocol specification, version 1.2. An answer is read as it arrives:

    async with Conversation(url, access_key) as conversation:
        answer = conversation.ask("Hello")
        async for event in answer:
            …
        answer.turn  # text, suggested replies, error, broken promises
"""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import httpx

from poe.client.answer import Answer
from poe.client.turn import POE_LIMITS, Event, Limits, Turn

PROTOCOL_VERSION = "1.2"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_REASON_LENGTH = 300


class NotAnswering(Exception):
    """Nothing answers at the bot's URL; the text names the URL."""


class Refused(Exception):
    """The bot's server answered with another status than 200."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"status {status}: {reason}")
        self.status = status
        self.reason = reason


def identifier(kind: str) -> str:
    """A fresh identifier in Poe's form, such as "m-…" for a message."""
    return f"{kind}-{secrets.token_hex(16)}"


def http_client(url: str) -> httpx.AsyncClient:
    """A client for the bot's URL; a proxy from the environment is never used for loopback."""
    address = httpx.URL(url)
    return httpx.AsyncClient(
        timeout=httpx.Timeout(None, connect=5),
        trust_env=address.host not in LOOPBACK,
        # Without TLS nothing is there to verify, and loading the authorities takes 30 ms.
        verify=address.scheme != "http",
    )


class Conversation:
    """A user's conversation with a server bot; it keeps the history as Poe does.

        async with Conversation("http://127.0.0.1:9000/", access_key) as conversation:
            answer = conversation.ask("Hello")
            async for event in answer:
                print(event.name, event.data)

    url          the bot's URL
    access_key   the bot's access key, sent as a bearer token
    limits       for how long to wait, in seconds; Poe's by default

    `settings` and the reports raise NotAnswering if nothing answers at `url`, or not within Poe's
    5 s, and Refused for another status than 200. An answer raises both while it is iterated over.
    """

    def __init__(self, url: str, access_key: str, *, limits: Limits = POE_LIMITS) -> None:
        self.url = url
        self._limits = limits
        self._client = http_client(url)
        self._headers = {
            "Authorization": f"Bearer {access_key}",
            "Content-Type": "application/json",
        }
        self.user_id = identifier("u")
        self.conversation_id = identifier("c")
        self.history: list[dict[str, Any]] = []
        self.answer_id = ""
        """The identifier of the answer that was asked for last."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._client.aclose()

    def ask(
        self,
        text: str,
        attachments: Sequence[Mapping[str, Any]] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send a message; the answer joins the history unless it failed.

        The request begins with the iteration over the answer. `attachments` are in the form of
        Poe's protocol; `parameters` are what the user chose in the bot's controls.
        """
        more = {"attachments": attachments, "parameters": parameters or {}}
        self.history.append(_message("user", text, identifier("m"), **more))
        answer_id = self.answer_id = identifier("m")
        query = self._query(answer_id)

        def remember(turn: Turn) -> None:
            if turn.text and not turn.failed:
                self.history.append(_answer_message(turn, answer_id))

        return Answer(lambda: self._open(query), self._limits, remember)

    def _query(self, answer_id: str) -> dict[str, Any]:
        return {
            "version": PROTOCOL_VERSION,
            "type": "query",
            "query": list(self.history),
            "message_id": answer_id,
            "user_id": self.user_id,
            "conversation_id": self.conversation_id,
            "metadata": identifier("d"),
            "bot_query_id": identifier("q"),
            "query_creation_time": time.time_ns() // 1000,
            "users": [{"id": self.user_id, "name": None}],
            "temperature": None,
            "skip_system_prompt": False,
            "logit_bias": {},
            "stop_sequences": [],
            "language_code": "en",
        }

    async def settings(self) -> dict[str, Any]:
        """The settings that the bot answers with; raises Refused if they aren't a JSON object."""
        body = await self._tell({"type": "settings"})
        settings = Event("settings", body, 0).fields
        if settings is None:
            raise Refused(httpx.codes.OK, "the settings aren't a JSON object")
        return settings

    async def report_feedback(self, message_id: str, feedback_type: str) -> None:
        """Report a user's "like" or "dislike" of a message."""
        await self._report("report_feedback", message_id, feedback_type=feedback_type)

    async def report_reaction(self, message_id: str, reaction: str) -> None:
        await self._report("report_reaction", message_id, reaction=reaction)

    async def report_error(self, message: str, metadata: Mapping[str, Any]) -> None:
        """Report what was wrong with one of the bot's answers."""
        await self._tell({"type": "report_error", "message": message, "metadata": metadata})

    async def _report(self, kind: str, message_id: str, **what: str) -> None:
        ids = {"user_id": self.user_id, "conversation_id": self.conversation_id}
        await self._tell({"type": kind, "message_id": message_id} | ids | what)

    async def _tell(self, body: Mapping[str, Any]) -> str:
        """Send a request that is answered at once; the answer's body."""
        seconds = self._limits.first_response_seconds
        try:
            async with asyncio.timeout(seconds):
                response = await self._open({"version": PROTOCOL_VERSION, **body})
                return (await response.aread()).decode("utf-8", "replace")
        except TimeoutError:
            raise NotAnswering(f"{self.url} didn't answer within {seconds:g} s") from None
        except httpx.RequestError as error:
            raise NotAnswering(f"{self.url} did not answer in HTTP") from error

    async def _open(self, body: Mapping[str, Any]) -> httpx.Response:
        """Send one request; the response with its head read and its body still to come."""
        # As ASCII: the history may hold half of a surrogate pair, such as in a file's name.
        content = json.dumps(body, separators=(",", ":"))
        request = self._client.build_request(
            "POST", self.url, content=content, headers=self._headers
        )
        try:
            response = await self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotAnswering(f"nothing answers at {self.url}") from error
        if response.status_code != httpx.codes.OK:
            await response.aread()
            raise Refused(response.status_code, one_line(response.text))
        return response


def one_line(text: str) -> str:
    """The beginning of a server's words, fit for one line of a terminal."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:_REASON_LENGTH]


def _message(role: str, text: str, message_id: str, **more: Any) -> dict[str, Any]:
    """One message as Poe's protocol writes it (specification, "Protocol message")."""
    return {
        "role": role,
        "sender_id": None,
        "content": text,
        "content_type": "text/markdown",
        "timestamp": time.time_ns() // 1000,
        "message_id": message_id,
        "feedback": [],
        "attachments": [],
        **more,
    }


def _answer_message(turn: Turn, message_id: str) -> dict[str, Any]:
    return _message(
        "bot",
        turn.text,
        message_id,
        content_type=turn.content_type,
        attachments=list(turn.files),
        metadata=turn.metadata,
    )
