"""`make destroy`: take a stack away, and say what stays."""

import argparse
import sys

from commands.deploy import chosen, context_arguments
from infra.aws.client import AwsError
from infra.aws.outputs import Unfinished, outputs
from infra.aws.preflight import look
from infra.stack.names import INTERRUPTED
from infra.stack.options import ContextError
from infra.toolchain import cdk
from infra.toolchain.cdk import CdkError
from infra.toolchain.node import NodeError

WHAT_GOES = """\
This takes {stack} out of {place}:
  the URL {url}
  (the bot on Poe stops; a new deployment gets a new URL, to be pasted into its form)
  the secret with the access key, at once and for good
  the log group with all that was logged"""

WHAT_STAYS = """\
{stack} is gone. What stays, for other stacks: CDKToolkit with its bucket of packages, about
$0.001 a month each. `aws cloudformation delete-stack --stack-name CDKToolkit` and emptying the
bucket take them away, too."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make destroy", description=__doc__)
    parser.add_argument("-c", "--context", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--yes", action="store_true", help="without asking")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # into a pipe, too
    try:
        return destroy(options.context, agreed=options.yes)
    except (AwsError, CdkError, ContextError, NodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: what CloudFormation has begun, it ends by itself.", file=sys.stderr)
        return INTERRUPTED


def destroy(context: list[str], *, agreed: bool) -> int:
    """Exit status. Raises AwsError, CdkError, ContextError and NodeError."""
    stack = chosen(context).stack
    place = look()
    try:
        url = outputs(stack).function_url
    except Unfinished:
        url = "(none yet: its deployment never came through)"
    print(WHAT_GOES.format(stack=stack, place=place, url=url))
    if not agreed and not _is_confirmed(stack):
        print("Nothing was changed. (`make destroy YES=yes` does not ask.)")
        return 1
    cdk.run("destroy", *context_arguments(context), "--force")
    print(WHAT_STAYS.format(stack=stack))
    return 0


def _is_confirmed(stack: str) -> bool:
    return sys.stdin.isatty() and input(f"Type {stack} to go on: ").strip() == stack


if __name__ == "__main__":
    sys.exit(main())
