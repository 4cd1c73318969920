"""The conversations of the chat page's server: the latest, and those that a browser kept."""

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from poe.client.conversation import Conversation
from poe.client.served_bot import ServedBot
from poe.page.chat import PageChat

if TYPE_CHECKING:
    from poe.page.message import Past  # loads pydantic, which would delay the start

MOST = 50

_IDENTIFIER = re.compile(r"c-[0-9a-f]{32}", re.ASCII)


class Conversations:
    """Conversations by their identifiers; of more than MOST, the oldest are left.

    rename   gives a traceback with the names that the bot's author knows
    """

    def __init__(self, rename: Callable[[str], str]) -> None:
        self._rename = rename
        self._chats: OrderedDict[str, PageChat] = OrderedDict()

    def get(self, identifier: str) -> PageChat | None:
        return self._chats.get(identifier)

    async def begin(self, bot: ServedBot) -> Conversation:
        return await self._keep(Conversation(bot.url, bot.key))

    async def go_on(self, bot: ServedBot, identifier: str, past: "Past") -> Conversation:
        """That conversation with these messages, instead of what is here of it. Raises
        ValueError for what isn't an identifier."""
        if not _IDENTIFIER.fullmatch(identifier):
            raise ValueError("this isn't a conversation's identifier")
        conversation = Conversation(bot.url, bot.key)
        conversation.conversation_id, conversation.user_id = identifier, past.user_id
        conversation.history = [each.model_dump(exclude_unset=True) for each in past.messages]
        return await self._keep(conversation)

    async def _keep(self, conversation: Conversation) -> Conversation:
        if before := self._chats.pop(conversation.conversation_id, None):
            await before.conversation.aclose()
        await self.forget(keep=MOST - 1)
        self._chats[conversation.conversation_id] = PageChat(conversation, self._rename)
        return conversation

    async def forget(self, keep: int = 0) -> None:
        """Leave the oldest conversations."""
        while len(self._chats) > keep:
            _, chat = self._chats.popitem(last=False)
            await chat.conversation.aclose()
