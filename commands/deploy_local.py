"""`make deploy-local`: a real `cdk deploy` into a local AWS, then a URL to talk to.

The deployed zip, with the variables that the stack gave it, runs in the local Lambda; its secret
stays in the local AWS, where `make set-key` changes it; a stand-in for Poe answers its calls.
"""

import asyncio
import os
import shlex
import shutil
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from commands.arguments import number, port
from commands.command import exit_with
from commands.deployment import QUIETLY, Deployment, deployment_parser
from commands.running_bot import RunningBot
from commands.terminal.log_lines import LogPrinter
from commands.terminal.text import say
from infra.aws.outputs import outputs
from infra.aws.secret_members import KEY
from infra.aws.secret_store import SecretStore
from infra.package.target import this_architecture
from infra.toolchain import cdk
from infra.toolchain.folders import BUILD
from infra.toolchain.pythons import this_version
from local.access_keys import AccessKeys
from local.aws import deployed
from local.aws.ministack import ACCOUNT, REGION, MiniStack, ministack
from local.aws_lambda.config import FunctionConfig
from local.aws_lambda.service import LocalLambda
from local.ports import HOST, free_port, port_in_use
from poe.client.served_bot import ServedBot
from poe.standin.standin import PoeStandIn

FOLDER = BUILD / "deploy-local"
VARIABLES = FOLDER / "aws.sh"
PORT = 9000
AWS_PORT = 4566
ANOTHER_PORT = "`make deploy-local PORT=9001`"
STOPPED = "Stopped. The local AWS is gone, with everything in it."


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = deployment_parser("make deploy-local", __doc__)
    parser.add_argument("--port", type=port, default=PORT, help=f"of the bot's URL ({PORT})")
    parser.add_argument(
        "--aws-port", type=number("AWS_PORT", 1, 65_535), default=AWS_PORT, help=f"({AWS_PORT})"
    )
    options = parser.parse_args(arguments)
    began = time.monotonic()
    free_port(options.port, ANOTHER_PORT)
    # What runs here is built for this machine, whatever the context sets for the real AWS.
    here = {"arch": this_architecture(), "python": this_version()}
    deployment = Deployment.chosen(options).given_too(**here)
    stack = deployment.options.stack
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(mode=0o700, parents=True)
    with ministack(FOLDER / "aws", port=options.aws_port) as aws:
        _stay_local(aws)
        _deploy(deployment)
        function = deployed.fetch(stack)
        package = function.unpack(FOLDER / "package")
        its_aws = {"AWS_ENDPOINT_URL": aws.endpoint} | aws.credentials.environment
        config = function.config(package, its_aws)
        _keep_variables(aws)
        asyncio.run(_serve(config, stack, options.port, began))


def _stay_local(aws: MiniStack) -> None:
    """Let nothing of this process, nor what it starts, reach the real AWS."""
    variables = aws.environment()
    os.environ.clear()
    os.environ.update(variables)


def _keep_variables(aws: MiniStack) -> None:
    """For this user's next commands: whoever has the credentials can run code here."""
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in aws.variables.items())
    with open(os.open(VARIABLES, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(lines)


def _deploy(deployment: Deployment) -> None:
    print("Bootstrapping a local AWS")
    cdk.bootstrap(ACCOUNT, REGION, show=_nothing)
    print(f"Deploying {deployment.options.stack} into it")
    deployment.run_cdk("deploy", *QUIETLY, output=FOLDER / "cdk.out")


def _nothing(_: str) -> None: ...


async def _serve(config: FunctionConfig, stack: str, port: int, began: float) -> None:
    """Until Ctrl-C. Raises UserError and BadMember."""
    store = SecretStore(outputs(stack).secret_arn)
    keys = AccessKeys(await asyncio.to_thread(store.keys))
    lines = LogPrinter(print)
    async with AsyncExitStack() as entered:
        poe = PoeStandIn(access_key=keys.value(KEY), folder=FOLDER / "poe", on_line=say)
        await entered.enter_async_context(poe)
        config = replace(config, environment={**config.environment, **poe.environment})
        function = LocalLambda(config, host=HOST, port=port, on_line=lines)
        try:
            await entered.enter_async_context(function)
        except OSError:
            raise port_in_use(port, ANOTHER_PORT) from None  # since the deployment began
        bots: list[ServedBot] = []
        await RunningBot(function, poe, lines, keys, bots.extend).start()
        _greet(bots, stack, time.monotonic() - began)
        await asyncio.Event().wait()


def _greet(bots: Sequence[ServedBot], stack: str, seconds: float) -> None:
    for_bots = "\n\n".join(
        f"  URL         {bot.url}\n"
        f"  Access key  {bot.key}\n"
        f"  Next        POE_ACCESS_KEY={bot.key} make chat URL={bot.url}"
        "        (in another terminal)"
        for bot in bots
    )
    print(
        f"""
{stack} is deployed into a local AWS, and its function runs as it was deployed ({seconds:.0f} s).

{for_bots}

To change its secret with `make set-key` or `make set-secret`, first run
  . {shlex.quote(str(VARIABLES))}
Press Ctrl-C to stop everything.
"""
    )


if __name__ == "__main__":
    exit_with(main, interrupted=STOPPED, runs_until_stopped=True)
