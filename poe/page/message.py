"""What the chat page's browser sends for a user: a message, or a conversation to go on with."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_MESSAGES = 2000
_MOST_FILES = 100


def _identifier(kind: str) -> Any:
    return Field(pattern=rf"^{kind}-[0-9a-f]{{32}}$")


class Message(BaseModel):
    """What a user sends: a text, the URLs of attachments that were uploaded before, and what was
    chosen in the bot's controls."""

    model_config = ConfigDict(extra="forbid")

    text: str
    attachments: list[str] = []
    parameters: dict[str, Any] = {}


class PastFile(BaseModel):
    """A file of a message, as Poe's protocol writes an attachment."""

    model_config = ConfigDict(extra="forbid")

    url: str
    content_type: str
    name: str
    inline_ref: str | None = None
    parsed_content: str | None = None


class PastMessage(BaseModel):
    """A message of a conversation, as Poe's protocol writes it."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "bot"]
    sender_id: None = None
    content: str
    content_type: Literal["text/markdown", "text/plain"]
    timestamp: Annotated[int, Field(ge=0, lt=2**63)]
    message_id: Annotated[str, _identifier("m")]
    feedback: Annotated[list[Any], Field(max_length=0)] = []
    attachments: Annotated[list[PastFile], Field(max_length=_MOST_FILES)] = []
    metadata: str | None = None
    parameters: dict[str, Any] = {}


class Past(BaseModel):
    """A conversation that the browser kept: it goes on after a reload, an edited message or
    another `make run`."""

    model_config = ConfigDict(extra="forbid")

    user_id: Annotated[str, _identifier("u")]
    messages: Annotated[list[PastMessage], Field(max_length=MOST_MESSAGES)]
