"""`make package`: what goes to Lambda, in build/."""

import argparse
import os
import sys

from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import PackageError, Target
from infra.toolchain.folders import BUILD


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make package", description=__doc__)
    parser.add_argument("--python", help="minor version (default: cdk.json's)")
    parser.add_argument("--arch", help="x86_64 or arm64 (default: this machine's)")
    parser.add_argument("--bot-file", help="takes the place of the folder's bot.py")
    options = parser.parse_args(arguments)
    try:
        target = Target.on_lambda(options.python, options.arch)
        bot = BotFolder.at(None, options.bot_file)
        folder = build(bot, target, BUILD / f"package-{target.name}")
    except PackageError as error:
        sys.exit(f"error: {error}")
    print(os.path.relpath(folder))


if __name__ == "__main__":
    main()
