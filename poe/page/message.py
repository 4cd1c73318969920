"""What the chat page's browser sends for a user."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """What a user says: a text, the URLs of attachments that were uploaded before, and what was
    chosen in the bot's controls."""

    model_config = ConfigDict(extra="forbid")

    text: str
    attachments: list[str] = []
    parameters: dict[str, Any] = {}
