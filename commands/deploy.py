"""`make deploy`: check the account, deploy with the CDK, print what comes next."""

from collections.abc import Sequence

from commands import register
from commands.command import exit_with
from commands.deployment import QUIETLY, Deployment, deployment_parser
from commands.terminal.prompt import agrees
from infra.aws.outputs import Outputs, outputs
from infra.aws.preflight import Account, check_concurrency, current_account, reserved_now
from infra.aws.secret_members import BadMember
from infra.stack.options import Options
from infra.toolchain import cdk, node
from infra.toolchain.errors import UserError

BOOTSTRAP_COSTS = """\
The CDK needs resources of its own in {account}, created once: a bucket for
packages, five roles and a repository (the stack CDKToolkit). They cost next to nothing."""
INTERRUPTED = "Interrupted. CloudFormation finishes by itself what it has begun."


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = deployment_parser("make deploy", __doc__)
    parser.add_argument(
        "--bootstrap", action="store_true", help="create the CDK's own stack without asking"
    )
    options = parser.parse_args(arguments)
    deploy(Deployment.chosen(options), may_bootstrap=options.bootstrap)


def deploy(deployment: Deployment, *, may_bootstrap: bool = False) -> None:
    """Raises UserError."""
    options = deployment.options
    node.required()
    account = current_account()
    remark = check_concurrency(account, options.reserved_concurrency, reserved_now(options.stack))
    if not account.bootstrapped:
        _bootstrap(account, may_bootstrap)
    print(f"Deploying {options.stack} to {account}")
    deployment.run_cdk("deploy", *QUIETLY)
    print(_next_steps(options, outputs(options.stack), deployment.make_variables))
    if remark:
        print(remark)
    if options.bot_name:
        register_at_the_end(options, deployment.make_variables)


def _bootstrap(account: Account, agreed: bool) -> None:
    print(BOOTSTRAP_COSTS.format(account=account))
    if not agreed and not agrees("Create them now?"):
        raise UserError("nothing was deployed: run `make deploy BOOTSTRAP=yes` to create them")
    cdk.bootstrap(account.id, account.region)


def _next_steps(options: Options, made: Outputs, make_variables: str) -> str:
    return f"""
{options.stack} is deployed.

  URL  {made.function_url}

Next, for a new bot:
  1. Open https://poe.com/create_bot?server=1 and copy the access key from the form
  2. make set-key{make_variables}
  3. Paste the URL into the form, and create the bot
  4. make register BOT={options.bot_name or "<its name on Poe>"}{make_variables}
"""


def register_at_the_end(options: Options, make_variables: str = "") -> None:
    """The deployment stands whatever Poe replies."""
    try:
        register.register(str(options.bot_name), options.stack)
    except (UserError, BadMember) as error:
        print(
            f"error: {error}\n"
            "The bot is deployed, but not registered. Once that is fixed, run:"
            f" make register BOT={options.bot_name}{make_variables}"
        )


if __name__ == "__main__":
    exit_with(main, interrupted=INTERRUPTED)
