"""The process that Lambda starts, through `bootstrap`: read the environment once, wire, serve."""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import MutableMapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from handler.log import lines
from handler.runtime import sys_path
from handler.runtime.deferred_models import deferred_models
from handler.runtime.wire import Failure
from handler.secret.reader import SecretReader
from handler.secret.signed_call import CERTIFICATES

if TYPE_CHECKING:
    from handler.runtime.loop import Loop
    from handler.runtime.runtime_api import RuntimeAPI

logger = logging.getLogger("handler")


class BadEnvironment(Exception):
    """A variable that Lambda sets is missing, or asks for what this runtime cannot do."""


OWN_MODULES = {
    "__main__",
    "handler.secret.members",
    "handler.app.load",
    "handler.runtime.lifespan",
    "handler.secret.reader",
}
QUOTED = (ImportError, SyntaxError, NameError, AttributeError, KeyError)


def main(environ: MutableMapping[str, str]) -> int:
    """Serve until nothing is left to serve. Gives the exit status: Lambda starts another one."""
    # What a start makes, stays: to look for garbage in it is a tenth of the start's time.
    gc.disable()
    lines.configure(environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO"))
    address = environ.get("AWS_LAMBDA_RUNTIME_API")
    if not address:
        logger.error("AWS_LAMBDA_RUNTIME_API is not set: Lambda starts this, or `make run`")
        return 1
    package = environ.get("LAMBDA_TASK_ROOT", os.getcwd())
    sys_path.rebuild(package, environ.get("LAMBDA_RUNTIME_DIR", "/var/runtime"))
    _trust_by_directory(environ)
    # Before the heavy imports: the network's time is then nobody's.
    secret = SecretReader.started(environ)
    with asyncio.Runner() as runner:
        try:
            status = runner.run(_serve(address, environ, secret))
        except SystemExit:
            logger.critical("a task that the bot started has ended the process")
            status = 1
        # At once: a thread or a task that the bot left behind would hold the process for ever.
        os._exit(status)


def _trust_by_directory(environ: MutableMapping[str, str]) -> None:
    """Let httpx look authorities up as they are needed: whoever calls another bot makes a client
    for each message, which otherwise reads and parses all of certifi's bundle, 15 ms of CPU."""
    if CERTIFICATES.is_dir() and not environ.get("SSL_CERT_FILE"):
        environ.setdefault("SSL_CERT_DIR", str(CERTIFICATES))


async def _serve(
    address: str, environ: MutableMapping[str, str], secret: SecretReader | None
) -> int:
    from handler.runtime.runtime_api import RuntimeAPI, RuntimeAPIError

    api = RuntimeAPI(address)
    async with AsyncExitStack() as stack:
        try:
            loop = await _start(api, environ, secret, stack)
        except (Exception, SystemExit) as error:
            await _report(api, error)
            return 1
        gc.freeze()  # nor is it looked at later
        gc.enable()
        try:
            await loop.run()
        except RuntimeAPIError as error:
            logger.critical("%s", error)
        return 1


async def _start(
    api: "RuntimeAPI",
    environ: MutableMapping[str, str],
    secret: SecretReader | None,
    stack: AsyncExitStack,
) -> "Loop":
    """All that can fail at a start. The imports are here, so that a broken one is reported too."""
    _refuse_concurrency(environ)
    with deferred_models():
        from handler.app.answer import MODELS
        from handler.app.load import load
        from handler.runtime.lifespan import lifespan
        from handler.runtime.loop import Context, Loop

    for model in MODELS:
        model.model_rebuild()  # now, and not while the first user waits
    app = load(environ, secret)
    state = await stack.enter_async_context(lifespan(app))
    context = Context(
        environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
        environ.get("AWS_LAMBDA_FUNCTION_VERSION", ""),
        int(environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")),
        environ.get("AWS_LAMBDA_LOG_GROUP_NAME", ""),
        environ.get("AWS_LAMBDA_LOG_STREAM_NAME", ""),
    )
    return Loop(api, app, context, state)


def _refuse_concurrency(environ: MutableMapping[str, str]) -> None:
    concurrency = environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1")
    if concurrency != "1":
        raise BadEnvironment(
            f"AWS_LAMBDA_MAX_CONCURRENCY is {concurrency!r}: this runtime serves one invocation "
            "at a time, so deploy it as a function without multi-concurrency"
        )


async def _report(api: "RuntimeAPI", error: BaseException) -> None:
    """Tell the log and Lambda why there will be no invocation."""
    failure = Failure(f"Runtime.{type(error).__name__}", _explain(error), lines.stack_of(error))
    logger.critical("the bot cannot start: %s", failure.message, exc_info=error)
    try:
        await api.fail_init(failure)
    except OSError as unreachable:
        logger.error("the Runtime API cannot be reached: %s", type(unreachable).__name__)


def _explain(error: BaseException) -> str:
    kind = type(error).__name__
    if type(error).__module__ in OWN_MODULES:
        return str(error)
    # Only an error about names is quoted: any other text may hold a secret's member.
    quoted = isinstance(error, QUOTED) and not _names_a_value(error)
    text = f"{kind}: {error}" if quoted else kind
    places = [line for line in lines.stack_of(error) if "/handler/" in line]
    return f"{text} ({places[-1]})" if places else text


def _names_a_value(error: BaseException) -> bool:
    """Whether a dictionary's missing key is, or holds, what a variable holds: a secret's member."""
    values = (value for value in os.environ.values() if len(value) >= 8)
    return isinstance(error, KeyError) and any(value in str(error) for value in values)


if __name__ == "__main__":
    sys.exit(main(os.environ))
