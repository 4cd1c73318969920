"""`make register`: push the deployed bot's settings to Poe, and check the bot.

The live URL is asked for its settings, and that reply is pushed: what is registered is what is
deployed. Then Poe is asked to fetch them itself, from the URL in its form, and the URL is checked.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urljoin

import httpx

from commands import check
from commands.arguments import Parser, chosen_stack
from commands.command import exit_with
from commands.deployed_key import deployed_key
from infra.aws.outputs import outputs
from infra.aws.secret_store import SecretStore
from infra.toolchain.errors import UserError
from poe.client.conversation import PROTOCOL_VERSION, Conversation, NotAnswering, Refused, one_line
from poe.standin.declared import BadSettings, parse_settings

# As fastapi_poe's `sync_bot_settings` does it (0.0.83, client.py). That prints Poe's answer, hides
# its status, takes a name as it is into the URL and gives up after 5 s.
POE = "https://api.poe.com/bot/"
POE_SECONDS = 30.0
NOT_FOUND = 404

CREATE = "https://poe.com/create_bot?server=1"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if Poe took the settings and no promise is broken, else 1. Raises UserError, BadMember."""
    parser = Parser(prog="make register", description=__doc__)
    parser.add_argument("--bot", default="", help="its name on Poe")
    parser.add_argument("--path", default="/", help="the bot's, where several are served")
    parser.add_folder()
    parser.add_stack()
    options = parser.parse_args(arguments)
    return 0 if register(options.bot, chosen_stack(options), options.path) else 1


def register(bot: str, stack: str, path: str = "/") -> bool:
    """Register the bot on the stack's `path` as `bot`, printing the steps; whether the check found
    no fault.

    Raises UserError, with Poe's own words where it refuses, and BadMember.
    """
    if not bot:
        raise UserError("BOT is missing: run `make register BOT=<its name on Poe>`")
    if not path.startswith("/"):
        raise UserError(f"URL_PATH={path} is invalid: use a path such as /echo")
    deployed = outputs(stack)
    url = urljoin(deployed.function_url, path)
    key = deployed_key(url, SecretStore(deployed.secret_arn))
    settings = asyncio.run(_settings(url, key))
    poe = Poe(bot, key, url)
    poe.ask("update_settings", settings)
    print(f"Poe has the settings of {bot}: {_summary(settings)}")
    poe.ask("fetch_settings")
    print(f"Poe reaches {bot} at the URL in its form.")
    print(f"\nChecking {url}")
    kept = check.run(url, key)
    print(f"\n{bot} is registered{'' if kept else ', but the check failed'}.")
    return kept


async def _settings(url: str, key: str) -> dict[str, Any]:
    """The live bot's settings, if Poe would take them. Raises UserError."""
    async with Conversation(url, key) as conversation:
        try:
            settings = await conversation.settings()
            parse_settings(settings)
        except Refused as error:
            if error.status == NOT_FOUND:
                raise UserError(
                    f"there is no bot at {url}: set URL_PATH to the path of one, such as /echo"
                ) from None
            raise UserError(f"the bot refused a settings request: {error}") from None
        except BadSettings as error:
            raise UserError(f"Poe would refuse the bot's settings: {error}") from None
        except (NotAnswering, httpx.HTTPError) as error:
            raise UserError(f"the bot can't be reached: {one_line(str(error))}") from None
    return settings


def _summary(settings: Mapping[str, Any]) -> str:
    calls = settings.get("server_bot_dependencies") or {}
    named = ", ".join(f"{name} × {count}" for name, count in calls.items())
    return f"it calls {named or 'no other bot'}"


class Poe:
    """Poe's calls for a bot's owner. The key is in their URL, and in no error's text."""

    def __init__(self, bot: str, key: str, url: str) -> None:
        self._bot, self._key, self._url = bot, key, url

    def ask(self, action: str, settings: Mapping[str, Any] | None = None) -> None:
        """Raises UserError with Poe's answer, unless that is 200."""
        address = f"{POE}{action}/{quote(self._bot, safe='')}/{self._key}/{PROTOCOL_VERSION}"
        try:
            answer = httpx.post(address, json=settings, timeout=POE_SECONDS)
        except httpx.HTTPError as error:
            raise UserError(
                f"Poe can't be reached: {self.without_key(str(error) or type(error).__name__)}"
            ) from None
        if answer.status_code != httpx.codes.OK:
            said = f"status {answer.status_code}: {self.without_key(answer.text)}"
            raise UserError(f"Poe refused {action}, {said}\n{self._advice(action)}")

    def without_key(self, text: str) -> str:
        """`text` for one line of a terminal, without the key."""
        return one_line(text.replace(self._key, "<the key>"))

    def _advice(self, action: str) -> str:
        if action == "update_settings":
            return (
                f"Check that its name on Poe is {self._bot}, and that its form has the key that you"
                " gave to `make set-key`.\n"
                f"If it isn't on Poe yet, create it at {CREATE} with the URL {self._url}"
            )
        return (
            "The settings were pushed, but Poe couldn't fetch them from the bot: check that the URL"
            f" in its form is {self._url}"
        )


if __name__ == "__main__":
    exit_with(main)
