"""What the commands of the CDK are about: a bot, its stack, and the arguments that mean them."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from commands.arguments import Parser, chosen_bot, same_bot
from infra.package.bot_folder import BotFolder
from infra.stack.context import options_for
from infra.stack.options import Options, parsed
from infra.toolchain import cdk
from infra.toolchain.folders import BUILD, ROOT

QUIETLY = ("--require-approval", "never", "--progress", "events")


def deployment_parser(prog: str, description: str | None) -> Parser:
    parser = Parser(prog=prog, description=description)
    parser.add_bot()
    parser.add_stack()
    parser.add_argument("-c", "--context", action="append", default=[], metavar="NAME=VALUE")
    return parser


@dataclass(frozen=True)
class Deployment:
    """`given` is the context of the command line, which takes precedence over every cdk.json.
    `make_variables` let another `make` mean the same bot."""

    bot: BotFolder
    given: Mapping[str, str]
    make_variables: str = ""

    @classmethod
    def chosen(cls, options: argparse.Namespace) -> Self:
        """From what `deployment_parser` parsed. Raises UserError."""
        given = parsed(options.context)
        for name in ("stack", "bot_dir", "bot_file"):  # -c bot_dir=… is BOT_DIR=…
            setattr(options, name, getattr(options, name) or given.pop(name, None))
        if options.stack:
            given["stack"] = options.stack
        return cls(chosen_bot(options), given, same_bot(options))

    @cached_property
    def options(self) -> Options:
        """Raises UserError."""
        return options_for(self.bot, self.given)

    def given_too(self, **context: str) -> Self:
        """The same with more of the context given."""
        return replace(self, given={**self.given, **context})

    def run_cdk(
        self,
        command: str,
        *flags: str,
        output: Path | None = None,
    ) -> None:
        """Run the CDK's `command` for the stack. `output` takes its cloud assembly.

        Raises CdkError and NodeError.
        """
        folder = self.bot.output
        # A bot's own, or two commands at once would wait for each other's, or take it.
        assembly = output or (ROOT if folder == BUILD else folder) / "cdk.out"
        log = folder / "cdk.log"
        cdk.run(command, *self._context(), "--output", str(assembly), *flags, log=log)

    def _context(self) -> Sequence[str]:
        given = {**self.given, "bot_dir": str(self.bot.path)}
        if self.bot.bot_file:
            given["bot_file"] = str(self.bot.bot_file)
        return [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
