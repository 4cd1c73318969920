"""The CDK app: `npx cdk synth`, `npx cdk deploy` and `npx cdk diff` run it through cdk.json."""

import sys
from pathlib import Path

import aws_cdk as cdk

from infra.package.build import build
from infra.package.target import PackageError
from infra.stack.bot_stack import BotStack
from infra.stack.options import ContextError, Options
from infra.toolchain.folders import BUILD, ROOT


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
    bot_file = Path(options.bot_file) if options.bot_file else None
    output = BUILD / f"package-{options.target.name}"
    return build(ROOT / "handler", options.target, output, bot_file)


if __name__ == "__main__":
    main()
