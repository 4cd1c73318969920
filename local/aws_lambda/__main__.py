"""`python -m local.aws_lambda PACKAGE`: the local Lambda for any package."""

import argparse
import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from infra.toolchain.errors import UserError
from local.aws_lambda.config import FunctionConfig
from local.aws_lambda.invocation import InitError
from local.aws_lambda.service import LocalLambda


def main() -> None:
    """Serve until Ctrl-C. A mistake in the arguments is one line on stderr, and status 1 or 2."""
    options = _parser().parse_args()
    try:
        config = _config(options)
        asyncio.run(_serve(config, options.port))
    except (UserError, InitError) as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.aws_lambda",
        description="Serve a Lambda package behind a local, streaming Function URL.",
    )
    add = parser.add_argument
    add("package", type=Path, help="the unpacked package: with a `bootstrap` wrapper, or without")
    add("--python", type=Path, default=Path(sys.executable), help="the function's interpreter")
    add("--handler", default="handler.function.handler", help="for awslambdaric: module.function")
    add("--port", type=int, default=8080)
    add("--memory", type=int, default=1024, metavar="MB")
    add("--timeout", type=float, default=615, metavar="S")
    add("--buffered", action="store_true", help="InvokeMode BUFFERED instead of RESPONSE_STREAM")
    add("--cpu-share", action="store_true", help="limit the CPU as Lambda does for this memory")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="can be repeated")
    return parser


def _config(options: argparse.Namespace) -> FunctionConfig:
    package = options.package.absolute()
    if not package.is_dir():
        raise UserError(f"{options.package} isn't a directory: give an unpacked package")
    if not options.python.is_file():
        raise UserError(f"--python {options.python} doesn't exist: give an interpreter's path")
    for variable in options.env:
        if not variable.partition("=")[0] or "=" not in variable:
            raise UserError("--env needs NAME=VALUE")
    return FunctionConfig(
        package=package,
        python=options.python.absolute(),
        handler=options.handler,
        wrapper="bootstrap" if (package / "bootstrap").exists() else None,
        environment=dict(variable.split("=", 1) for variable in options.env),
        memory_mb=options.memory,
        timeout_s=options.timeout,
        invoke_mode="BUFFERED" if options.buffered else "RESPONSE_STREAM",
        cpu_share=options.cpu_share,
    )


async def _serve(config: FunctionConfig, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    local_lambda = LocalLambda(config, port=port)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(local_lambda)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise UserError(f"port {port} is unavailable ({reason}): add --port PORT") from None
        await local_lambda.warm()
        print(f"local Lambda: {config.package.name} at {local_lambda.url} (Ctrl-C ends it)")
        await stop.wait()


if __name__ == "__main__":
    main()
