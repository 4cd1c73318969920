"""`make deploy`: look first, deploy by the CDK, say what comes next."""

import json
import sys
from collections.abc import Sequence

from commands import register
from commands.arguments import Parser
from commands.command import run_command
from commands.terminal.prompt import agrees
from infra.aws.outputs import Outputs, outputs
from infra.aws.preflight import Place, check_concurrency, look, reserved_now
from infra.aws.secret_members import BadMember
from infra.stack.options import Options, parsed
from infra.toolchain import cdk, node
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT

BOOTSTRAP_COSTS = """\
The CDK needs a few things of its own in {place}, once: a bucket for
packages, five roles, a repository (stack CDKToolkit). They cost about nothing."""
INTERRUPTED = "Interrupted: what CloudFormation has begun, it finishes by itself."


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = Parser(prog="make deploy", description=__doc__)
    parser.add_argument("-c", "--context", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--bootstrap", action="store_true", help="without asking, where needed")
    options = parser.parse_args(arguments)
    deploy(options.context, may_bootstrap=options.bootstrap)


def deploy(context: Sequence[str] = (), *, may_bootstrap: bool = False) -> None:
    """Deploy with cdk.json's context and these `name=value` texts. Raises UserError."""
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


def chosen(context: Sequence[str]) -> Options:
    """Raises ContextError."""
    from_file = json.loads((ROOT / "cdk.json").read_text())["context"]
    return Options.from_context({**from_file, **parsed(list(context))})


def context_arguments(context: Sequence[str]) -> list[str]:
    return [argument for assignment in context for argument in ("-c", assignment)]


def _bootstrap(place: Place, agreed: bool) -> None:
    print(BOOTSTRAP_COSTS.format(place=place))
    if not agreed and not agrees("Create them now?"):
        raise UserError("nothing was deployed: `make deploy BOOTSTRAP=yes` creates them")
    cdk.run("bootstrap", f"aws://{place.account}/{place.region}")


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
    except (UserError, BadMember) as error:
        print(
            f"error: {error}\n"
            "It is deployed, but not registered. Once that is fixed:"
            f" make register{_stack_argument(options)} BOT={options.bot_name}"
        )


def _stack_argument(options: Options) -> str:
    return "" if options.stack == Options.stack else f" STACK={options.stack}"


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted=INTERRUPTED))
