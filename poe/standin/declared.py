"""A bot's settings as Poe keeps them, and how often they let the bot call other bots."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # half a second to import, which a start has better use for
    from fastapi_poe.types import SettingsResponse
    from pydantic import ValidationError

from infra.toolchain.errors import UserError
from poe.client.conversation import Refused

FetchSettings = Callable[[], Awaitable[Mapping[str, Any]]]

UNAUTHORIZED = 401
KEY_IN_A_BOT = '`access_key=os.environ["POE_ACCESS_KEY"]`'

_MESSAGES_REMEMBERED = 1000


class BadSettings(UserError):
    """The settings are unavailable or invalid; the text is the reason."""


def parse_settings(body: object) -> "SettingsResponse":
    """Settings as Poe takes them; BadSettings names each field that it would refuse."""
    from fastapi_poe.types import SettingsResponse
    from pydantic import ValidationError

    try:
        return SettingsResponse.model_validate(body)
    except ValidationError as error:
        raise BadSettings(describe(error)) from None


def describe(error: "ValidationError") -> str:
    """Each fault as "field: reason", without the value that was sent."""
    faults = (
        (".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, "))
        for fault in error.errors()
    )
    return "; ".join(f"{place or 'body'}: {reason}" for place, reason in faults)


class BotSettings:
    """The bot's settings as Poe keeps them: fetched when first needed, or pushed."""

    def __init__(self, fetch: FetchSettings | None) -> None:
        self.fetch = fetch
        self.calls = DeclaredCalls(self)
        self._known: SettingsResponse | None = None

    @property
    def can_be_known(self) -> bool:
        return self.fetch is not None or self._known is not None

    async def get(self) -> "SettingsResponse":
        """The settings; raises BadSettings if the bot doesn't return valid ones."""
        return self._known or await self.refresh()

    async def refresh(self) -> "SettingsResponse":
        """Ask the bot again; without a bot to ask, what was pushed last stays."""
        if self.fetch is None:
            if self._known is None:
                raise BadSettings("there is no bot to fetch settings from")
            return self._known
        try:
            body = await self.fetch()
        except Refused as error:
            reason = f"the bot answers a settings request with status {error.status}"
            if error.status == UNAUTHORIZED:
                reason += f": take its access key from a variable, as in {KEY_IN_A_BOT}"
            raise BadSettings(reason) from None
        except Exception as error:
            reason = f"the bot doesn't answer a settings request ({type(error).__name__})"
            raise BadSettings(reason) from error
        # Its first use imports fastapi: in a thread, so that everything else goes on.
        self._known = await asyncio.to_thread(parse_settings, body)
        return self._known

    def push(self, settings: "SettingsResponse") -> None:
        self._known = settings


class DeclaredCalls:
    """Counts a bot's calls to other bots for each message, against what it declared.

    The bot declares in its settings, by `server_bot_dependencies`, how often it calls which
    bot for one message of a user; Poe refuses every further call.
    """

    def __init__(self, settings: BotSettings) -> None:
        self._settings = settings
        self._made: OrderedDict[str, Counter[str]] = OrderedDict()

    async def count(self, bot: str, message_id: str) -> str | None:
        """Count one call. None if it is allowed, else the fix, for the bot's author.

        Raises BadSettings if the bot doesn't report what it declares.
        """
        made = self._made_for(message_id)
        made[bot] += 1
        number = made[bot]
        if not self._settings.can_be_known:
            return None
        declared = (await self._settings.get()).server_bot_dependencies.get(bot, 0)
        if number > declared:
            declared = (await self._settings.refresh()).server_bot_dependencies.get(bot, 0)
        if number <= declared:
            return None
        made[bot] -= 1  # It was refused. fastapi_poe tries again, and the fix is the same.
        fix = f'server_bot_dependencies={{"{bot}": {number}}} in get_settings'
        if not declared:
            return f"{bot} was called, but the bot's settings don't declare it: add {fix}"
        return (
            f"{bot} was called {number} times for one message, and the bot's settings "
            f"declare {declared}: raise that with {fix}"
        )

    def _made_for(self, message_id: str) -> Counter[str]:
        made = self._made.setdefault(message_id, Counter())
        if len(self._made) > _MESSAGES_REMEMBERED:
            self._made.popitem(last=False)
        return made
