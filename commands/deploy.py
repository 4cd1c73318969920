"""`make deploy`: look first, deploy by the CDK, say what comes next."""

import argparse
import json
import sys
from collections.abc import Sequence

from commands import register
from infra.aws.client import AwsError
from infra.aws.outputs import Outputs, outputs
from infra.aws.preflight import Place, check_concurrency, look, reserved_now
from infra.aws.secret_members import BadMember
from infra.stack.names import INTERRUPTED
from infra.stack.options import ContextError, Options, parsed
from infra.toolchain import cdk, node
from infra.toolchain.cdk import CdkError
from infra.toolchain.folders import ROOT
from infra.toolchain.node import NodeError

BOOTSTRAP_COSTS = """\
The CDK needs a few things of its own in {place}, once: a bucket for
packages, five roles, a repository (stack CDKToolkit). They cost about nothing."""


class NotDeployed(Exception):
    """One line: why nothing was deployed, and what to do."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make deploy", description=__doc__)
    parser.add_argument("-c", "--context", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--bootstrap", action="store_true", help="without asking, where needed")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # into a pipe, too
    try:
        return deploy(options.context, may_bootstrap=options.bootstrap)
    except (AwsError, CdkError, ContextError, NodeError, NotDeployed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: what CloudFormation has begun, it ends by itself.", file=sys.stderr)
        return INTERRUPTED


def deploy(context: Sequence[str] = (), *, may_bootstrap: bool = False) -> int:
    """Deploy with cdk.json's context and these `name=value` texts; an exit status.

    Raises AwsError, CdkError, ContextError, NodeError and NotDeployed.
    """
    options = chosen(context)
    node.required()
    place = look()
    remark = check_concurrency(place, options.reserved_concurrency, reserved_now(options.stack))
    if not place.bootstrapped:
        _bootstrap(place, may_bootstrap)
    print(f"Deploying {options.stack} to {place}")
    flags = ["--require-approval", "never", "--progress", "events"]
    cdk.run("deploy", *context_arguments(context), *flags)
    made = outputs(options.stack)
    print(_next_steps(options, made))
    if remark:
        print(remark)
    if options.bot_name:
        register_at_the_end(options)
    return 0


def chosen(context: Sequence[str]) -> Options:
    """Raises ContextError."""
    from_file = json.loads((ROOT / "cdk.json").read_text())["context"]
    return Options.from_context({**from_file, **parsed(list(context))})


def context_arguments(context: Sequence[str]) -> list[str]:
    return [argument for assignment in context for argument in ("-c", assignment)]


def _bootstrap(place: Place, agreed: bool) -> None:
    print(BOOTSTRAP_COSTS.format(place=place))
    if not agreed and not _asks("Make them now?"):
        raise NotDeployed("nothing was deployed: `make deploy BOOTSTRAP=yes` makes them")
    cdk.run("bootstrap", f"aws://{place.account}/{place.region}")


def _asks(question: str) -> bool:
    """Whether somebody says yes; nobody does where there is no terminal."""
    return sys.stdin.isatty() and input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _next_steps(options: Options, made: Outputs) -> str:
    stack = _stack_argument(options)
    return f"""
Deployed.

  URL  {made.function_url}

Next, for a new bot:
  1. Open https://poe.com/create_bot?server=1 and copy the access key from the form
  2. make set-key{stack}
  3. Paste the URL into the form, and create the bot
  4. make register{stack} BOT={options.bot_name or "<its name on Poe>"}
"""


def register_at_the_end(options: Options) -> None:
    """The deployment stands whatever Poe says."""
    try:
        register.register(str(options.bot_name), options.stack)
    except (AwsError, BadMember, register.NotRegistered) as error:
        print(
            f"error: {error}\n"
            "It is deployed, but not registered. Once that is mended:"
            f" make register{_stack_argument(options)} BOT={options.bot_name}"
        )


def _stack_argument(options: Options) -> str:
    return "" if options.stack == Options.stack else f" STACK={options.stack}"


if __name__ == "__main__":
    sys.exit(main())
