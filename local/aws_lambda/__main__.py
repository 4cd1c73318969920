"""`python -m local.aws_lambda PACKAGE`: the local Lambda for any package."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from infra.toolchain.errors import UserError
from local.aws_lambda.config import FunctionConfig
from local.aws_lambda.invocation import InitError
from local.aws_lambda.service import LocalLambda


def main() -> None:
    """Serve until Ctrl-C. A mistake in the arguments is one line on stderr, and status 1 or 2."""
    try:
        options = _parser().parse_args()
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
    add("--port", type=_number("--port", 0, 65_535), default=8080, help="0 takes a free one")
    add("--memory", type=_number("--memory", 128, 10_240), default=1024, metavar="MB")
    add("--timeout", type=_number("--timeout", 1, 900), default=615, metavar="S")
    add("--concurrency", type=_number("--concurrency", 1, 1000), default=1, help="requests at once")
    add("--buffered", action="store_true", help="InvokeMode BUFFERED instead of RESPONSE_STREAM")
    add("--snapstart", action="store_true", help="play SnapStart: each start passes a snapshot")
    add("--cpu-share", action="store_true", help="limit the CPU as Lambda does for this memory")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="can be repeated")
    return parser


def _number(option: str, low: int, high: int) -> Callable[[str], int]:
    """For `type=`: a whole number from `low` to `high`. It raises UserError."""

    def check(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise UserError(f"{option} {text} is invalid: use {low} to {high}")
        return int(text)

    return check


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
        concurrency=options.concurrency,
        timeout_s=options.timeout,
        invoke_mode="BUFFERED" if options.buffered else "RESPONSE_STREAM",
        cpu_share=options.cpu_share,
        snapstart=options.snapstart,
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
