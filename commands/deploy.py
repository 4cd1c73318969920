"""`make deploy`: check the account, start the bot here, deploy with the CDK, print what is next."""

import time
from collections.abc import Sequence

from commands import register
from commands.before_deploying import agree_to, unset_members, wanted_members
from commands.command import exit_with
from commands.deployment import Deployment, deployment_parser
from commands.price import price
from commands.terminal.prompt import agrees
from infra.aws.client import AwsError
from infra.aws.outputs import NoStack, Outputs, Unfinished, outputs
from infra.aws.preflight import Account, check_concurrency, current_account, reserved_now
from infra.aws.secret_members import BadMember
from infra.aws.secret_store import SecretStore
from infra.aws.subscriptions import is_pending
from infra.stack.options import Options
from infra.toolchain import cdk, node
from infra.toolchain.errors import UserError

BOOTSTRAP_COSTS = """\
The CDK needs resources of its own in {account}, created once: a bucket for
packages, five roles and a repository (the stack CDKToolkit). They cost next to nothing."""
NEW_URL = "The URL is a new one: paste it into the bot's form on Poe, or Poe won't reach the bot.\n"
INTERRUPTED = "Interrupted. CloudFormation finishes by itself what it has begun."


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = deployment_parser("make deploy", __doc__)
    parser.add_argument(
        "--bootstrap", action="store_true", help="create the CDK's own stack without asking"
    )
    parser.add_argument("--yes", action="store_true", help="remove what is left out without asking")
    parser.add_argument("--no-trial", action="store_true", help="don't start the bot here first")
    options = parser.parse_args(arguments)
    deploy(
        Deployment.chosen(options),
        may_bootstrap=options.bootstrap,
        may_remove=options.yes,
        tried=not options.no_trial,
    )


def deploy(
    deployment: Deployment,
    *,
    may_bootstrap: bool = False,
    may_remove: bool = False,
    tried: bool = True,
) -> None:
    """Raises UserError."""
    options = deployment.options
    node.required()
    account = current_account()
    remark = _concurrency(account, options)
    if options.concurrency:
        print(price(options))
    before = _deployed(options.stack)
    names = _names(before)
    wanted = wanted_members(deployment, names or ()) if tried else set()
    if not account.bootstrapped:
        _bootstrap(account, may_bootstrap)
    began = time.monotonic()
    print(f"Building {options.stack} for {account}")
    deployment.synthesize()
    print(f"Built ({time.monotonic() - began:.0f} s)")
    if before:
        agree_to(deployment.losses(), options.stack, agreed=may_remove)
    changed = deployment.deploy_assembly()
    what = "deployed" if not before else "updated" if changed else "unchanged"
    print(f"\n{options.stack} is {what} ({time.monotonic() - began:.0f} s).\n")
    after = outputs(options.stack)
    print(_addresses(after, options))
    if before and before.function_url != after.function_url:
        print(NEW_URL)
    if not before:
        print(_next_steps(options, deployment.make_variables))
    if names is not None and wanted - names:
        _print_unset(wanted - names, deployment)
    if remark:
        print(remark)
    if options.bot_name:
        register_at_the_end(options, deployment.make_variables)


def _concurrency(account: Account, options: Options) -> str:
    """A remark about how many conversations can run at once, or nothing: on Managed Instances,
    that isn't a question of the account's concurrency. Raises AwsError."""
    if options.concurrency:
        return ""
    return check_concurrency(account, options.reserved_concurrency, reserved_now(options.stack))


def _print_unset(names: set[str], deployment: Deployment) -> None:
    """Of the members that the deployed secret lacks, those that the stack doesn't supply itself."""
    if unset := names - deployment.function_variables():
        print(unset_members(unset, deployment.make_variables))


def _deployed(stack: str) -> Outputs | None:
    """None before its first deployment is complete. Raises AwsError."""
    try:
        return outputs(stack)
    except (NoStack, Unfinished):
        return None


def _names(deployed: Outputs | None) -> set[str] | None:
    """Of the members of the deployed secret; None if it may not be read."""
    try:
        return SecretStore(deployed.secret_arn).names() if deployed else set()
    except AwsError:
        return None


def _bootstrap(account: Account, agreed: bool) -> None:
    print(BOOTSTRAP_COSTS.format(account=account))
    if not agreed and not agrees("Create them now?"):
        raise UserError("nothing was deployed: run `make deploy BOOTSTRAP=yes` to create them")
    cdk.bootstrap(account.id, account.region)


def _addresses(deployed: Outputs, options: Options) -> str:
    """What was deployed, and what is still to be confirmed."""
    lines = [f"  URL        {deployed.function_url}"]
    if deployed.dashboard:
        lines.append(f"  Dashboard  {deployed.dashboard}")
    email = options.alarm_email
    if email and deployed.alarm_topic and is_pending(deployed.alarm_topic, email):
        lines.append(f"  Alarms     open the mail that AWS sent to {email}, and confirm it there:")
        lines.append("             until then, no alarm arrives")
    return "\n".join([*lines, ""])


def _next_steps(options: Options, make_variables: str) -> str:
    return f"""\
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
