"""The CDK app: `npx cdk synth`, `npx cdk deploy` and `npx cdk diff` run it through cdk.json."""

import sys
from pathlib import Path

import aws_cdk as cdk

from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import PackageError
from infra.stack.bot_stack import BotStack
from infra.stack.options import ContextError, Options
from infra.toolchain.folders import BUILD


def main() -> None:
    app = cdk.App(analytics_reporting=False)
    try:
        options = Options.from_context(app.node.get_all_context())
        BotStack(app, options, package_for(options))
    except (ContextError, PackageError) as error:
        sys.exit(f"error: {error}")
    app.synth()


def package_for(options: Options) -> Path:
    """Build what the stack deploys. Raises PackageError."""
    bot = BotFolder.at(None, options.bot_file)
    return build(bot, options.target, BUILD / f"package-{options.target.name}")


if __name__ == "__main__":
    main()
