"""The bot is started once in the local Lambda before it is deployed: one that can't start never
replaces one that serves.

It gets the members of the bot's secrets.json. For those that only the deployed secret has, and for
variables that aren't set yet, it gets placeholders: a real value never leaves AWS for this. What
fails with every placeholder in the same way fails whatever the value is.
"""

import asyncio
import hashlib
import re
import secrets
import tempfile
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from commands.running_bot import failed_start, failure, missing_settings, missing_variable
from commands.terminal.log_lines import LogPrinter
from commands.terminal.sources import with_own_names
from infra.aws.secret_members import KEY, KEY_LENGTH, BadMember, check_name
from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import Target, this_architecture
from infra.stack.options import Options
from infra.toolchain.errors import UserError
from infra.toolchain.folders import BUILD
from infra.toolchain.pythons import find_python, runtime_python, this_version
from local.aws_lambda.config import FunctionConfig
from local.aws_lambda.service import InitError, LocalLambda
from local.secrets_file import read_members, secrets_file
from local.secrets_manager import Secret, secret
from poe.standin.standin import ANSWERS, PoeStandIn

# What a value may have to look like: a bot's key, a provider's, a number, JSON, an address.
BOTS_KEY = ""
FORMS = (BOTS_KEY, f"sk-{'0' * 45}", "1", "{}", "https://placeholder.invalid/")

_ADDRESS = re.compile(r"0x[0-9a-f]+")  # of an object: another one at each start


@dataclass
class Trial:
    """What a start here showed.

    members       those of secrets.json, and POE_ACCESS_KEY
    placeholders  names that had a placeholder for their value
    failure       why the bot didn't start with them, where that depends on their values
    """

    members: Mapping[str, str] = field(repr=False)
    placeholders: set[str]
    failure: str = ""


def try_start(bot: BotFolder, options: Options, deployed: Collection[str] = ()) -> Trial:
    """Start `bot` as `options` would deploy it. `deployed`: names of the deployed secret's members.

    Raises UserError for a bot that doesn't start, in the words of `make run`.
    """
    own = read_members(secrets_file(bot))
    members = {KEY: secrets.token_hex(KEY_LENGTH // 2)} | own
    trial = Trial(members, {*filter(_may_be_member, deployed)} - members.keys())
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".trial-", dir=BUILD) as folder:
        package = build(bot, _target(options), Path(folder, "package"), deployable=False)
        asyncio.run(_try(trial, bot, options, package, Path(folder, "poe")))
    return trial


def _target(options: Options) -> Target:
    """This machine, with the Python of the deployment if there is one here."""
    here = Target.here()
    version = options.python if find_python(options.python) else this_version()
    return Target(version, this_architecture(), here.system)


async def _try(trial: Trial, bot: BotFolder, options: Options, package: Path, folder: Path) -> None:
    """Raises UserError for a bot that doesn't start."""
    lines = LogPrinter(lambda _: None, partial(with_own_names, bot=bot))
    async with AsyncExitStack() as entered:
        served = await entered.enter_async_context(secret(trial.members))
        poe = PoeStandIn(  # so that no import calls Poe
            access_key=trial.members[KEY],
            answers=bot.path / ANSWERS,
            folder=folder,
            on_line=lambda _: None,
        )
        await entered.enter_async_context(poe)
        config = FunctionConfig(
            package,
            runtime_python(_target(options).python),
            environment={**served.environment, **poe.environment, "BOT_DEBUG": "1"},
            memory_mb=options.memory,
            concurrency=options.concurrency or 1,
        )
        function = await entered.enter_async_context(LocalLambda(config, on_line=lines))
        failures = await _failures(trial, function, served)
        if not failures:
            return
        texts = {_ADDRESS.sub("0x", error.message) for error in failures}
        trial.failure = failure(failures[0], lines)
        if len(texts) == 1:
            raise UserError(f"{trial.failure}{_hint(trial.placeholders)}")


def _hint(placeholders: Collection[str]) -> str:
    if not placeholders:
        return ""
    names = ", ".join(sorted(placeholders))
    return (
        f"\nIt had placeholders for {names}. If that is the reason, add them to the bot's"
        " secrets.json, or deploy without this trial: `make deploy TRIAL=no`"
    )


async def _failures(trial: Trial, function: LocalLambda, served: Secret) -> list[InitError]:
    """Why the bot doesn't start, for each form of placeholders; nothing if it starts with one."""
    failures: list[InitError] = []
    for form in FORMS:
        error = await _failure(trial, function, served, form)
        if error is None:
            return []
        failures.append(error)
        if not trial.placeholders:
            break
    return failures


async def _failure(
    trial: Trial, function: LocalLambda, served: Secret, form: str
) -> InitError | None:
    """Start it with placeholders of this form, and with those for the variables that it lacks."""
    while True:
        made_up = {name: _placeholder(name, form) for name in trial.placeholders}
        served.put({**trial.members, **made_up})
        error = await failed_start(function, function.config)
        if error is None:
            return None
        known = trial.placeholders | trial.members.keys()
        missing = {missing_variable(error), *missing_settings(error)}
        new = {name for name in missing - known if _may_be_member(name)}
        if not new:
            return error
        trial.placeholders |= new


def _placeholder(name: str, form: str) -> str:
    if form == BOTS_KEY or "ACCESS_KEY" in name:
        return hashlib.sha256(name.encode()).hexdigest()[:KEY_LENGTH]  # no two are the same
    return form


def _may_be_member(name: str) -> bool:
    try:
        check_name(name)
    except BadMember:
        return False
    return True
