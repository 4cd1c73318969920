"""`make package`: what goes to Lambda, in build/."""

import os
import sys
from collections.abc import Sequence

from commands.arguments import Parser
from commands.command import run_command
from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import Target
from infra.toolchain.folders import BUILD


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = Parser(prog="make package", description=__doc__)
    parser.add_argument("--python", help="minor version (default: cdk.json's)")
    parser.add_argument("--arch", help="x86_64 or arm64 (default: this machine's)")
    parser.add_argument("--bot-file", help="takes the place of the folder's bot.py")
    options = parser.parse_args(arguments)
    target = Target.on_lambda(options.python, options.arch)
    bot = BotFolder.at(None, options.bot_file)
    folder = build(bot, target, BUILD / f"package-{target.name}")
    print(os.path.relpath(folder))


if __name__ == "__main__":
    sys.exit(run_command(main))
