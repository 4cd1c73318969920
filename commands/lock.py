"""`make lock`: pins every library that the bot needs."""

import sys
from collections.abc import Sequence

from commands.arguments import Parser
from commands.command import run_command
from infra.package.bot_folder import BotFolder
from infra.package.lock import HOST, Lock, locked


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = Parser(prog="make lock", description=__doc__)
    parser.add_argument("--bot-dir", help="the bot's folder (default: bot/)")
    parser.add_argument("--upgrade", help="1 for everything, or names of libraries")
    options = parser.parse_args(arguments)
    lock = locked(BotFolder.at(options.bot_dir), again=True, upgrade=options.upgrade, say=print)
    if lock == Lock(HOST / "requirements.txt"):
        print("The bot requires no library of its own: it gets the host's")


if __name__ == "__main__":
    sys.exit(run_command(main))
