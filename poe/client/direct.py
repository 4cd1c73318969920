"""Direct access to any bot on Poe with a person's key, through fastapi_poe's own client.

`fastapi_poe.get_bot_response` would print every failed try to the terminal, so this calls
`stream_request`, on which it is built, with the request that it would make.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fastapi_poe as fp
import httpx
from fastapi_poe.client import AttachmentUploadError, BotError, BotErrorNoRetry

from infra.toolchain.errors import UserError
from poe.client.conversation import PROTOCOL_VERSION, one_line
from poe.client.turn import DEFAULT_ERROR, DONE, STREAM_TYPE, Event, Turn, TurnBuilder

_SECONDS = 600


class UploadRefused(UserError):
    """Poe refused a file: the text names the file and the reason."""


class DirectAnswer:
    """One answer as it arrives: iterate over its events once; then `turn` is the whole of it."""

    turn: Turn

    def __init__(self, access: "DirectAccess") -> None:
        self._access = access

    async def __aiter__(self) -> AsyncIterator[Event]:
        clock = asyncio.get_running_loop().time
        started = clock()
        builder = TurnBuilder()
        try:
            async for name, fields in self._access.events():
                event = Event(name, json.dumps(fields), clock() - started)
                builder.take(event)
                yield event
        finally:
            self.turn = builder.finish(clock() - started, interrupted=not builder.done)
            self._access.remember(self.turn)


class DirectAccess:
    """A conversation with the bot called `bot`, billed to the owner of `api_key`."""

    def __init__(self, bot: str, api_key: str) -> None:
        self.bot = bot
        self._api_key = api_key
        self.history: list[fp.ProtocolMessage] = []

    def ask(self, text: str, attachments: Sequence[Mapping[str, Any]] = ()) -> DirectAnswer:
        """Say something; the answer joins the history unless it failed."""
        attached = [fp.Attachment(**attachment) for attachment in attachments]
        self.history.append(fp.ProtocolMessage(role="user", content=text, attachments=attached))
        return DirectAnswer(self)

    def remember(self, turn: Turn) -> None:
        if turn.text and not turn.failed:
            self.history.append(fp.ProtocolMessage(role="bot", content=turn.text))

    async def upload(self, path: Path) -> dict[str, Any]:
        """Bring a file to Poe; the attachment for `ask`. Raises OSError and UploadRefused."""
        content = path.read_bytes()
        try:
            attachment = await fp.upload_file(
                file=content,
                file_name=path.name,
                api_key=self._api_key,
                num_tries=1,
                on_error=_stay_silent,
            )
        except (AttachmentUploadError, httpx.HTTPError) as error:
            raise UploadRefused(f"Poe refused {path.name}: {one_line(str(error))}") from error
        return attachment.model_dump()

    async def events(self) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        """The answer's events by name and fields; whatever goes wrong is an `error` event."""
        hooks = {"response": [_raise_with_reason]}
        async with httpx.AsyncClient(timeout=_SECONDS, event_hooks=hooks) as session:
            messages = fp.stream_request(
                self._request(),
                self.bot,
                self._api_key,
                session=session,
                on_error=_stay_silent,
                num_tries=1,
            )
            try:
                async for message in messages:
                    yield _event(message)
            except BotError as error:
                yield "error", {"text": reason_of(error)}
        yield DONE, {}

    def _request(self) -> fp.QueryRequest:
        return fp.QueryRequest(
            query=self.history,
            user_id="",
            conversation_id="",
            message_id="",
            version=PROTOCOL_VERSION,
            type="query",
        )


def _stay_silent(error: Exception, message: str) -> None:
    """fastapi_poe would print the error; it is raised as well, and reported there."""


def _event(message: fp.PartialResponse) -> tuple[str, Mapping[str, Any]]:
    """The event on the wire that fastapi_poe parsed into this message."""
    if isinstance(message, fp.MetaResponse):
        return "meta", {"content_type": message.content_type}
    if message.attachment:
        return "file", message.attachment.model_dump()
    if message.data is not None:
        return "json", message.data
    if message.is_suggested_reply:
        return "suggested_reply", {"text": message.text}
    return "replace_response" if message.is_replace_response else "text", {"text": message.text}


async def _raise_with_reason(response: httpx.Response) -> None:
    """Keep Poe's reason for a refusal: the client would only report an unexpected type."""
    kind = response.headers.get("content-type", "")
    if response.is_error and not kind.startswith(STREAM_TYPE):
        await response.aread()
        reason = one_line(response.text) or response.reason_phrase
        raise BotErrorNoRetry(f"Poe answered with status {response.status_code}: {reason}")


def reason_of(error: BotError) -> str:
    """Poe's words if the error is an event of it, else what stands between us and Poe."""
    fields = Event("error", str(error), 0).fields
    if fields is not None:
        return str(fields.get("text") or DEFAULT_ERROR)
    if isinstance(error.__cause__, httpx.TransportError):
        return f"Poe can't be reached ({type(error.__cause__).__name__})"
    return str(error)
