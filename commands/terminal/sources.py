"""The bot's files under the names that its author knows, not those of the package's copies."""

import re
from pathlib import Path

from infra.package.bot_folder import BotFolder


def bot_of(folder: str, file: str) -> BotFolder:
    """The bot whose module is `file`, both as `make run` notes them."""
    found = BotFolder(Path(folder))
    return found if Path(file) == found.file else BotFolder(found.path, Path(file))


def with_own_names(text: str, bot: BotFolder) -> str:
    """`text` of a function's log with the files of `bot` where they lie: in tracebacks with their
    whole path, elsewhere by their names in it."""

    def quoted(match: re.Match[str]) -> str:
        return f'File "{bot.file if match[1] == "bot.py" else bot.path / match[1]}"'

    text = re.sub(r'File "bot/([^"\n]+)"', quoted, text)
    text = re.sub(r"(?<![\w/.-])(bot/)?bot\.py(?=:\d)", lambda _: bot.file.name, text)
    return re.sub(r"(?<![\w/.-])bot/(?=[\w/.-]+\.py(:\d|\)))", "", text)
