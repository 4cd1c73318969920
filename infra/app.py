"""The CDK app: `npx cdk synth`, `npx cdk deploy` and `npx cdk diff` run it through cdk.json."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.stack.context import given_to_the_cdk, options_for
from infra.stack.options import Options
from infra.toolchain.errors import FULL_DISK, UserError, tells_of_full_disk
from infra.toolchain.folders import kept

if TYPE_CHECKING:
    import aws_cdk as cdk

    from infra.stack.bot_stack import BotStack

EXTENSION = "stack.py"


def main() -> None:
    try:
        _synthesize()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # the CDK's own come as RuntimeError, with Node's words in them
        if not tells_of_full_disk(str(error)):
            raise
        sys.exit(f"error: {FULL_DISK}")


def _synthesize() -> None:
    """Raises UserError, and whatever the CDK raises."""
    import aws_cdk as cdk  # starts Node, which writes to the disk

    from infra.stack.bot_stack import BotStack

    # The host's own template is linted by its tests: the CDK's linter takes five seconds to start.
    app = cdk.App(analytics_reporting=False, builtin_cloud_formation_validation=False)
    given = given_to_the_cdk(app.node.get_all_context())
    bot = BotFolder.at(given.get("bot_dir"), given.get("bot_file"))
    options = options_for(bot, given)
    package = build(bot, options.target, bot.output / f"package-{options.target.name}")
    with kept(package):  # another command may build this bot's, too
        stack = BotStack(app, options, package, environment_for(options))
    extend(stack, bot)
    if (bot.path / EXTENSION).is_file():
        cdk.Validations.of(app).add_plugins(cdk.CloudFormationValidatePlugin())
    app.synth()


def environment_for(options: Options) -> "cdk.Environment | None":
    """Where a given VPC is looked up: the account and the region that the CDK's command line has
    found. None without a VPC: the stack fits anywhere. Raises UserError."""
    if not options.vpc:
        return None
    import aws_cdk as cdk

    account, region = (os.environ.get(f"CDK_DEFAULT_{each}") for each in ("ACCOUNT", "REGION"))
    if not account or not region:
        raise UserError(
            f"vpc={options.vpc} has to be looked up in your account, but AWS credentials or a"
            " region are missing: log in (`aws sso login`), or set AWS_PROFILE and AWS_REGION"
        )
    return cdk.Environment(account=account, region=region)


def extend(stack: "BotStack", bot: BotFolder) -> None:
    """Let the folder's stack.py add to `stack` what else the bot needs. Raises UserError."""
    file = bot.path / EXTENSION
    if not file.is_file():
        return
    spec = importlib.util.spec_from_file_location("stack", file)
    assert spec
    assert spec.loader
    module = sys.modules["stack"] = importlib.util.module_from_spec(spec)  # dataclasses look there
    sys.path.append(str(bot.path))  # what it imports; at the end, or it could hide a library
    with _bytecode_in(str(bot.output / "pycache")):  # the folder has what its author wrote
        spec.loader.exec_module(module)
        if not callable(getattr(module, "extend", None)):
            raise UserError(
                f"{file} has no function `extend(stack)`: write one, or delete the file"
            )
        module.extend(stack)


@contextmanager
def _bytecode_in(folder: str) -> Iterator[None]:
    before, sys.pycache_prefix = sys.pycache_prefix, folder
    try:
        yield
    finally:
        sys.pycache_prefix = before


if __name__ == "__main__":
    main()
