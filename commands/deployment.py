"""What a command of the CDK is about: a bot, its stack, and the CDK's arguments for both."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from commands.arguments import Parser, chosen_bot, same_bot
from infra.package.bot_folder import BotFolder
from infra.stack.context import options_for
from infra.stack.options import Options, parsed
from infra.toolchain import cdk
from infra.toolchain.cdk_diff import Loss, losses
from infra.toolchain.folders import BUILD, ROOT

_ADVERTISED = "Run 'cdk flags --unstable=flags' to learn more."
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

    @property
    def assembly(self) -> Path:
        """Where the CDK puts what it deploys: the stack's own folder, or two commands at once would
        wait for each other's, or deploy it."""
        folder = ROOT if self.bot.output == BUILD else self.bot.output
        return folder / "cdk.out" / self.options.stack

    def synthesize(self) -> None:
        """Build the package and write the assembly. Raises CdkError and NodeError."""
        self.run_cdk("synth", "--quiet")

    def losses(self) -> list[Loss]:
        """What deploying the assembly would take away. Raises CdkError and NodeError."""
        lines: list[str] = []
        self._with_assembly("diff", "--method=template", show=lines.append)
        return losses(lines)

    def function_variables(self) -> set[str]:
        """The names that functions of the stack have in their environment."""
        template = self.assembly / f"{self.options.stack}.template.json"
        resources = json.loads(template.read_text())["Resources"].values()
        properties = (r["Properties"] for r in resources if r["Type"] == "AWS::Lambda::Function")
        return {name for each in properties for name in _variables_of(each)}

    def deploy_assembly(self) -> bool:
        """Whether anything changed. Raises CdkError and NodeError."""
        unchanged: list[str] = []

        def show(line: str) -> None:
            print(line)
            if line.endswith("(no changes)"):
                unchanged.append(line)

        self._with_assembly("deploy", *QUIETLY, show=show)
        return not unchanged

    def run_cdk(self, command: str, *flags: str, output: Path | None = None) -> None:
        """Run the CDK's `command` for the stack. `output` takes the assembly, and the CDK's log
        next to it.

        Raises CdkError and NodeError.
        """
        log = (output.parent if output else self.bot.output) / "cdk.log"
        place = ("--output", str(output or self.assembly))
        cdk.run(command, *self._context(), *place, *flags, show=_print_ours, log=log)

    def _with_assembly(self, command: str, *flags: str, show: Callable[[str], object]) -> None:
        log = self.bot.output / "cdk.log"
        cdk.run(command, "--app", str(self.assembly), *flags, show=show, log=log)

    def _context(self) -> Sequence[str]:
        given = {**self.given, "bot_dir": str(self.bot.path)}
        if self.bot.bot_file:
            given["bot_file"] = str(self.bot.bot_file)
        return [part for name, value in given.items() for part in ("-c", f"{name}={value}")]


def _print_ours(line: str) -> None:
    if not line.endswith(_ADVERTISED):
        print(line)


def _variables_of(function: Mapping[str, Any]) -> Mapping[str, Any]:
    variables = function.get("Environment", {}).get("Variables", {})
    return variables if isinstance(variables, dict) else {}
