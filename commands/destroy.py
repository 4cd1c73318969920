"""`make destroy`: take a stack away, and say what stays."""

import sys
from collections.abc import Sequence

from commands.command import run_command
from commands.deploy import INTERRUPTED
from commands.deployment import Deployment, deployment_parser
from commands.terminal.prompt import answer
from infra.aws.outputs import Unfinished, outputs
from infra.aws.preflight import current_account

WHAT_GOES = """\
This takes {stack} out of {account}:
  the URL {url}
  (the bot on Poe stops; a new deployment gets a new URL, to be pasted into its form)
  the secret with the access key, at once and for good
  the log group with all that was logged"""

WHAT_STAYS = """\
{stack} is gone. What stays, for other stacks: CDKToolkit with its bucket of packages, about
$0.001 a month each. `aws cloudformation delete-stack --stack-name CDKToolkit` and emptying the
bucket take them away, too."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Raises UserError."""
    parser = deployment_parser("make destroy", __doc__)
    parser.add_argument("--yes", action="store_true", help="without asking")
    options = parser.parse_args(arguments)
    return destroy(Deployment.chosen(options), agreed=options.yes)


def destroy(deployment: Deployment, *, agreed: bool) -> int:
    """The exit status. Raises UserError."""
    stack = deployment.options.stack
    account = current_account()
    try:
        url = outputs(stack).function_url
    except Unfinished:
        url = "(none yet: its deployment never came through)"
    print(WHAT_GOES.format(stack=stack, account=account, url=url))
    if not agreed and answer(f"Type {stack} to go on: ") != stack:
        print("Nothing was changed. (`make destroy YES=yes` does not ask.)")
        return 1
    deployment.run_cdk("destroy", "--force")
    print(WHAT_STAYS.format(stack=stack))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted=INTERRUPTED))
