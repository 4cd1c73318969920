"""One conversation of the chat page: what the browser asks for, and what it gets of the answer."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any, cast

from poe.client.answer import Answer
from poe.client.conversation import Conversation, NotAnswering, Refused
from poe.client.turn import Event, Turn
from poe.page.named import image_urls, same

Attachments = Sequence[Mapping[str, Any]]


class PageChat:
    """A conversation, one answer after another.

    An answer is lines of JSON, each given as soon as it is known. The first has the user's message
    as the bot gets it, and the answer's identifier:

        {"asked": {"role": "user", …}, "answer_id": "m-…"}

    Then comes one for each event,

        {"event": {"name": …, "data": …, "seconds": …, "bytes": …}}

    with name and data as on the wire, seconds after the request, and the data's size; that of an
    exception has its traceback as "details". The last one is {"turn": {…}} with what Poe makes of
    the whole, or {"failure": "…"} where no answer came.

    rename   gives a traceback with the names that the bot's author knows
    """

    def __init__(
        self, conversation: Conversation, rename: Callable[[str], str] = lambda text: text
    ) -> None:
        self.conversation = conversation
        self._rename = rename
        self._one_at_a_time = asyncio.Lock()
        answers = [said for said in conversation.history if said["role"] == "bot"]
        self._texts = [answer["content"] for answer in answers]
        self._files = [file["url"] for each in answers for file in each.get("attachments", ())]

    @property
    def has_begun(self) -> bool:
        return any(said["role"] == "user" for said in self.conversation.history)

    def say(
        self, text: str, attachments: Attachments, parameters: Mapping[str, Any]
    ) -> AsyncGenerator[bytes, None]:
        """The answer's lines."""
        return self._lines(lambda: self.conversation.ask(text, attachments, parameters))

    def retry(self) -> AsyncGenerator[bytes, None]:
        """Send the last message again, and replace its answer."""
        return self._lines(self._ask_again)

    def _ask_again(self) -> Answer:
        history = self.conversation.history
        while (said := history.pop())["role"] != "user":
            pass
        attachments = said.get("attachments", ())
        return self.conversation.ask(said["content"], attachments, said.get("parameters"))

    def named(self, url: str) -> str | None:
        """The URL as an answer has it, of a file or of an image in its Markdown, where a renderer
        may have escaped characters; None if no answer names it."""
        if url in self._files:
            return url
        images = chain.from_iterable(map(image_urls, self._texts))
        return next((image for image in images if same(image) == same(url)), None)

    async def _lines(self, ask: Callable[[], Answer]) -> AsyncGenerator[bytes, None]:
        async with self._one_at_a_time:
            answer = ask()
            asked, answer_id = self.conversation.history[-1], self.conversation.answer_id
            yield _line({"asked": asked, "answer_id": answer_id})
            self._texts.append("")
            try:
                async with aclosing(cast(AsyncGenerator[Event, None], aiter(answer))) as events:
                    async for event in events:
                        self._remember(event)
                        yield _line({"event": self._event(event)})
            except (NotAnswering, Refused) as error:
                yield _line({"failure": str(error)})
            else:
                yield _line({"turn": _turn(answer.turn)})

    def _remember(self, event: Event) -> None:
        fields = event.fields or {}
        if event.name == "file":
            self._files.append(str(fields.get("url")))
        elif event.name == "text":
            self._texts[-1] += str(fields.get("text"))
        elif event.name == "replace_response":
            self._texts.append(str(fields.get("text")))

    def _event(self, event: Event) -> dict[str, Any]:
        line = {
            "name": event.name,
            "data": event.data,
            "seconds": round(event.seconds, 6),
            "bytes": len(event.data.encode("utf-8", "replace")),
        }
        raw = (event.fields or {}).get("raw_response") if event.name == "error" else None
        return line | {"details": self._rename(raw)} if isinstance(raw, str) else line


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "text": turn.text,
        "error": turn.error,
        "broken": turn.broken,
        "first_response_seconds": turn.first_response_seconds,
        "seconds": round(turn.seconds, 6),
    }
