"""`make destroy`: remove a stack, and print what remains."""

from collections.abc import Sequence

from commands.command import exit_with
from commands.deploy import INTERRUPTED
from commands.deployment import Deployment, deployment_parser
from commands.terminal.prompt import answer
from infra.aws.outputs import NoStack, Unfinished, outputs
from infra.aws.preflight import current_account
from infra.toolchain.errors import UserError

WHAT_GOES = """\
This removes {stack} from {account}:
  the URL {url}
  (the bot on Poe stops working; a new deployment gets a new URL for its form)
  the secret with the access key, immediately and for good
  the log group with everything in it"""

WHAT_STAYS = """\
{stack} is gone. CDKToolkit and its bucket of packages (about $0.001 a month each) stay, since
other stacks may need them. To remove them too, empty the bucket and run
`aws cloudformation delete-stack --stack-name CDKToolkit`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Raises UserError."""
    parser = deployment_parser("make destroy", __doc__)
    parser.add_argument("--yes", action="store_true", help="don't ask")
    options = parser.parse_args(arguments)
    return destroy(Deployment.chosen(options), agreed=options.yes)


def destroy(deployment: Deployment, *, agreed: bool) -> int:
    """The exit status. Raises UserError."""
    stack = deployment.options.stack
    try:
        url = outputs(stack).function_url
    except Unfinished:
        url = "(none: its deployment didn't complete)"
    except NoStack as error:
        raise UserError(f"{error.where}: nothing was removed, check STACK and AWS_REGION") from None
    account = current_account()
    print(WHAT_GOES.format(stack=stack, account=account, url=url))
    if not agreed and answer(f"Type {stack} to continue: ") != stack:
        print("Nothing was changed. (`make destroy YES=yes` doesn't ask.)")
        return 1
    deployment.run_cdk("destroy", "--force")
    print(WHAT_STAYS.format(stack=stack))
    return 0


if __name__ == "__main__":
    exit_with(main, interrupted=INTERRUPTED)
