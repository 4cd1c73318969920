"""The name of a bot's stack, unless it is given: after its folder."""

import re
import unicodedata

from infra.package.bot_folder import BotFolder
from infra.stack.names import DEFAULT_STACK
from infra.toolchain.errors import UserError

LONGEST = 128  # characters: CloudFormation's limit


def stack_name(bot: BotFolder) -> str:
    """PoeBot for `bot/`, MyBot for a folder `my-bot`.

    Raises UserError for a folder whose name can't become one.
    """
    if bot.is_default:
        return DEFAULT_STACK
    folder = bot.path.name
    letters = _without_accents(folder)
    name = "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", letters))
    remedy = 'give one with STACK=…, or as "stack" in the context of its cdk.json'
    if name == DEFAULT_STACK:
        raise UserError(f"{folder} would deploy as {name}, which is the stack of bot/: {remedy}")
    is_whole = all(letter.isascii() for letter in letters if letter.isalnum())
    if not is_whole or not name[:1].isalpha() or len(name) > LONGEST:
        raise UserError(f"the folder name {folder!r} can't become a stack's name: {remedy}")
    return name


def _without_accents(text: str) -> str:
    """As in "Crème" → "Creme"."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
