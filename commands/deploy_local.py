"""`make deploy-local`: a real `cdk deploy` into a local AWS, then a URL to talk to.

The deployed zip, with the variables that the stack gave it, runs in the local Lambda; its secret
stays in the local AWS, where `make set-key` changes it; a stand-in for Poe answers its calls.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from commands.arguments import number, port
from commands.command import exit_with
from commands.deployment import QUIETLY, Deployment, deployment_parser
from commands.running_bot import RunningBot
from commands.terminal.log_lines import LogPrinter
from commands.terminal.sources import with_own_names
from commands.terminal.text import say
from infra.aws.client import AwsError
from infra.aws.outputs import outputs
from infra.aws.secret_members import KEY
from infra.aws.secret_store import SecretStore
from infra.package.target import this_architecture
from infra.stack.options import Options
from infra.toolchain import cdk
from infra.toolchain.errors import UserError
from infra.toolchain.folders import BUILD
from infra.toolchain.private import private_folder, write_private
from infra.toolchain.pythons import this_version
from local.access_keys import AccessKeys
from local.aws import deployed
from local.aws.ministack import ACCOUNT, REGION, MiniStack, ministack
from local.aws_lambda.config import FunctionConfig
from local.aws_lambda.service import LocalLambda
from local.ports import HOST, free_port, own_port, port_in_use
from local.secrets_file import read_members, secrets_file
from poe.client.served_bot import ServedBot, keep_keys
from poe.standin.standin import PoeStandIn

FOLDERS = BUILD / "deploy-local"
"""Has a folder for each port that a bot is served on."""
VARIABLES = "aws.sh"
PORT = 9000
AWS_PORT = 4566
ANOTHER_PORT = "`make deploy-local PORT=9001`"
ANOTHER_AWS_PORT = "`make deploy-local AWS_PORT=4567`"
STOPPED = "Stopped. The local AWS is gone, with everything in it."

_SECRET_PAUSE = 1.0  # seconds between two looks at the secret's keys


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = deployment_parser("make deploy-local", __doc__)
    parser.add_argument("--port", type=port, default=PORT, help=f"of the bot's URL ({PORT})")
    parser.add_argument(
        "--aws-port", type=number("AWS_PORT", 1, 65_535), default=AWS_PORT, help=f"({AWS_PORT})"
    )
    options = parser.parse_args(arguments)
    began = time.monotonic()
    # What runs here is built for this machine, whatever the context sets for the real AWS.
    here = {"arch": this_architecture(), "python": this_version()}
    chosen = Deployment.chosen(options)
    deployment = chosen.given_too(**here, **_plain(chosen.options))
    members = read_members(secrets_file(deployment.bot))
    with (
        own_folder(options.port, options.aws_port) as folder,
        ministack(folder / "aws", port=options.aws_port) as aws,
    ):
        _stay_local(aws)
        _deploy(deployment, folder)
        function = deployed.fetch(deployment.options.stack)
        package = function.unpack(folder / "package")
        its_aws = {"AWS_ENDPOINT_URL": aws.endpoint} | aws.credentials.environment
        config = replace(
            function.config(package, its_aws), concurrency=chosen.options.concurrency or 1
        )
        _keep_variables(aws, folder / VARIABLES)
        local = LocalDeployment(deployment, config, options.port, folder)
        asyncio.run(local.serve(members, began))


@contextlib.contextmanager
def own_folder(port: int, aws_port: int) -> Iterator[Path]:
    """An empty folder for what is served on `port`, once both ports are found to be free.

    Raises UserError, before anything is touched, where one of them is in use, or another command
    is about to use `port`.
    """
    if port == aws_port:
        raise UserError(f"PORT and AWS_PORT are both {port}: choose two different ones")
    free_port(aws_port, ANOTHER_AWS_PORT)
    folder = private_folder(FOLDERS) / str(port)
    with own_port(port, FOLDERS, ANOTHER_PORT):
        shutil.rmtree(folder, ignore_errors=True)
        yield private_folder(folder)


def _plain(options: Options) -> dict[str, str]:
    """The context that turns a function on Managed Instances into a plain one; empty for others."""
    if not options.concurrency:
        return {}
    print(
        f"The local AWS has no Managed Instances: it gets a plain function, which then serves up to"
        f" {options.concurrency} messages at once here"
    )
    return {"concurrency": "", "vpc": "", "zones": "", "memory": str(options.memory)}


def _stay_local(aws: MiniStack) -> None:
    """Let nothing of this process, nor what it starts, reach the real AWS."""
    variables = aws.environment()
    os.environ.clear()
    os.environ.update(variables)


def _keep_variables(aws: MiniStack, file: Path) -> None:
    """For this user's next commands: anyone with the credentials can run code here."""
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in aws.variables.items())
    write_private(file, "".join(lines))


def _deploy(deployment: Deployment, folder: Path) -> None:
    print("Bootstrapping a local AWS")
    cdk.bootstrap(ACCOUNT, REGION, show=_nothing, log=folder / "cdk.log")
    print(f"Deploying {deployment.options.stack} into it")
    deployment.run_cdk("deploy", *QUIETLY, output=folder / "cdk.out")


def _nothing(_: str) -> None: ...


class LocalDeployment:
    """What was deployed, served on `port` with its secret in the local AWS."""

    def __init__(
        self, deployment: Deployment, config: FunctionConfig, port: int, folder: Path
    ) -> None:
        self._deployment = deployment
        self._config = config
        self._port = port
        self._folder = folder
        self._store = SecretStore(outputs(deployment.options.stack).secret_arn)
        self._bots: Sequence[ServedBot] = ()
        # Where `make chat` and `make check` look for the keys of what runs on this port.
        self._keys_file = BUILD / "run" / str(port) / "access-keys.json"

    async def serve(self, members: Mapping[str, str], began: float) -> None:
        """Until Ctrl-C, with `members` added to the secret. Raises UserError and BadMember."""
        await asyncio.to_thread(self._add, members)
        keys = AccessKeys(
            await asyncio.to_thread(self._store.keys), self._folder / "access-key-names.json"
        )
        keys.on_change = self._add
        lines = LogPrinter(print, partial(with_own_names, bot=self._deployment.bot))
        async with AsyncExitStack() as entered:
            poe = PoeStandIn(access_key=keys.value(KEY), folder=self._folder / "poe", on_line=say)
            await entered.enter_async_context(poe)
            variables = {**self._config.environment, **poe.environment}
            config = replace(self._config, environment=variables)
            function = LocalLambda(config, host=HOST, port=self._port, on_line=lines)
            try:
                await entered.enter_async_context(function)
            except OSError:
                raise port_in_use(self._port, ANOTHER_PORT) from None  # since the deployment began
            entered.callback(self._keys_file.unlink, missing_ok=True)
            running = RunningBot(function, poe, lines, keys, self._offer, self._remedy)
            await running.start()
            print(self._greeting(time.monotonic() - began))
            await self._follow_the_secret(running)

    def _add(self, members: Mapping[str, str]) -> None:
        """To the secret in the local AWS."""
        self._store.change(lambda stored: {**stored, **members})

    def _offer(self, bots: Sequence[ServedBot]) -> None:
        keep_keys(self._keys_file, bots)
        if self._bots and bots != self._bots:
            print("The secret has changed:\n" + "\n".join(map(_introduction, bots)))
        self._bots = bots

    async def _follow_the_secret(self, running: RunningBot) -> None:
        """For ever: a key that `make set-key` changes takes effect on all sides."""
        while True:
            await asyncio.sleep(_SECRET_PAUSE)
            with suppress(AwsError):
                running.use_keys(await asyncio.to_thread(self._store.keys))

    def _remedy(self, name: str) -> str:
        file = secrets_file(self._deployment.bot)
        return f'. Add {name} to {file}, as {{"{name}": "…"}}, and run `make deploy-local` again'

    def _greeting(self, seconds: float) -> str:
        bots = "\n\n".join(f"{_introduction(bot)}\n{_next(bot)}" for bot in self._bots)
        make = self._deployment.make_variables
        return f"""
{self._deployment.options.stack} is deployed into a local AWS, and its function runs as it was\
 deployed ({seconds:.0f} s).

{bots}

To change its secret, in another terminal:
  . {shlex.quote(str(self._folder / VARIABLES))}
  make set-key{make}
  make set-secret NAME=OPENAI_API_KEY{make}

Its log follows here. Press Ctrl-C to stop everything.
"""


def _introduction(bot: ServedBot) -> str:
    return f"  URL         {bot.url}\n  Access key  {bot.key}"


def _next(bot: ServedBot) -> str:
    return (
        f"  Next        make chat URL={bot.url}        (in another terminal)\n"
        f"              make check URL={bot.url}"
    )


if __name__ == "__main__":
    exit_with(main, interrupted=STOPPED, runs_until_stopped=True)
