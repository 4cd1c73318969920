"""`make package`: what goes to Lambda, in build/."""

import os
from collections.abc import Sequence

from commands.arguments import Parser, chosen_bot
from commands.command import exit_with
from infra.package.build import build
from infra.package.size import in_words, size_of
from infra.package.target import Target
from infra.stack.context import context_for
from infra.stack.options import Options


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = Parser(prog="make package", description=__doc__)
    parser.add_argument("--python", help="minor version (default: the host's)")
    parser.add_argument("--arch", help="x86_64 or arm64 (default: this machine's)")
    parser.add_bot()
    options = parser.parse_args(arguments)
    bot = chosen_bot(options)
    context = context_for(bot, {})
    chosen = Options.from_context(context)
    arch = options.arch or (chosen.arch if context.get("arch") else None)
    target = Target.on_lambda(options.python or chosen.python, arch)
    folder = build(bot, target, bot.output / f"package-{target.name}")
    # A user with a Makefile elsewhere stands elsewhere.
    place = folder if options.caller else os.path.relpath(folder)
    print(f"{place} is {in_words(size_of(folder))}.")
    print(place)  # scripts use the last line


if __name__ == "__main__":
    exit_with(main)
