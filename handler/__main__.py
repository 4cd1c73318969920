"""The process that Lambda starts, through `bootstrap`: read the environment once, wire, serve."""

import asyncio
import gc
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Mapping, MutableMapping
from contextlib import AsyncExitStack, nullcontext
from typing import TYPE_CHECKING, Any

from handler.log.errors import StartError
from handler.log.setup import set_up
from handler.runtime import sys_path
from handler.runtime.deadlines import SHUTDOWN, SLOW_START
from handler.runtime.deferred_models import deferred_models
from handler.secret.reader import SecretReader
from handler.secret.signed_call import CERTIFICATES

if TYPE_CHECKING:
    from handler.app.dispatch import App

logger = logging.getLogger("handler")


class BadEnvironment(StartError):
    """A variable that Lambda sets is missing, or asks for what this runtime cannot do."""


def main(environ: MutableMapping[str, str]) -> int:
    """Serve until nothing is left to serve. Gives the exit status."""
    # Nothing that a start creates is garbage, and looking for some is a tenth of the start's time.
    gc.disable()
    _keep_freed_memory()
    began = time.perf_counter()
    # Ctrl-C, where a person runs this: a KeyboardInterrupt of the bot's own ends nothing (`_run`).
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    level = environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO")
    set_up(level, shows_texts=environ.get("BOT_DEBUG") == "1")
    address = environ.get("AWS_LAMBDA_RUNTIME_API")
    if not address:
        logger.error("AWS_LAMBDA_RUNTIME_API is not set: Lambda starts this, or `make run`")
        return 1
    package = environ.get("LAMBDA_TASK_ROOT", os.getcwd())
    sys_path.rebuild(package, environ.get("LAMBDA_RUNTIME_DIR", "/var/runtime"))
    _trust_by_directory(environ)
    # Before the heavy imports, so that the read takes place meanwhile.
    secret = SecretReader.started(environ)
    with asyncio.Runner() as runner:
        try:
            status = _serve_with(runner, address, environ, secret, began)
        except BaseException as error:  # SystemExit, KeyboardInterrupt, what follows a loop.stop()
            logger.critical("a task that the bot started has ended the process", exc_info=error)
            status = 1
        # At once: a thread or a task that the bot left behind would hold the process for ever.
        os._exit(status)


def _keep_freed_memory() -> None:
    """Let a large request use the memory that the one before it has freed. As a rule, glibc gives
    it back to the kernel, which hands it out again page by page: a fifth of what such a request
    costs. It keeps twice the largest block that was ever freed (mallopt(3), M_MMAP_THRESHOLD).
    """
    bytes(8 * 1024 * 1024)  # more than an event has; it is never touched, so it costs no memory


def _trust_by_directory(environ: MutableMapping[str, str]) -> None:
    """Let httpx look authorities up as they are needed: a bot that calls another one creates a
    client for each message, which otherwise reads and parses all of certifi's bundle, 15 ms of CPU.
    """
    if CERTIFICATES.is_dir() and not environ.get("SSL_CERT_FILE"):
        environ.setdefault("SSL_CERT_DIR", str(CERTIFICATES))


def _serve_with(
    runner: asyncio.Runner,
    address: str,
    environ: MutableMapping[str, str],
    secret: SecretReader | None,
    began: float,
) -> int:
    try:
        # The runner's loop is the current one, and does not run yet: a bot may call asyncio.run at
        # import, or create tasks for the loop that serves it.
        concurrency = _concurrency(environ)
        block_limit = _block_limit(environ) if concurrency > 1 else 0.0
        app = _import(environ, secret)
    except BaseException as error:  # a module's import can raise anything, CancelledError too
        return asyncio.run(_report(address, error))
    if runner.get_loop().is_closed():  # by a bot that ran something on it first
        runner = asyncio.Runner()
    return _run(runner.get_loop(), _serve(address, environ, app, began, concurrency, block_limit))


def _run(loop: asyncio.AbstractEventLoop, serving: Coroutine[Any, Any, int]) -> int:
    """Run `serving` to its end. A bot's background task that calls `sys.exit`, stops the loop or
    cancels all tasks ends itself alone."""
    task = loop.create_task(serving)
    asyncio._unregister_task(task)
    while not task.done():
        # A task that the bot can see, and cancel: anyio keeps its threads for as long as it runs.
        waiting = loop.create_task(_wait_for(task))
        try:
            loop.run_until_complete(waiting)
        except asyncio.CancelledError:
            logger.error("the bot has cancelled tasks that aren't its own: cancel those it created")
        except BaseException as error:
            if loop.is_closed():
                raise
            waiting.cancel()
            if not task.done():
                logger.error("a task that the bot started tried to end the process", exc_info=error)
    return task.result()


async def _wait_for(task: asyncio.Task[int]) -> None:
    await asyncio.wait([task])


def _import(environ: MutableMapping[str, str], secret: SecretReader | None) -> "App":
    """The bot's app. The imports are here, so that a broken one is reported too."""
    snapshot_follows = _snapshot_follows(environ)
    with nullcontext() if snapshot_follows else deferred_models():
        from handler.app.answer import MODELS
        from handler.app.load import load

        # All of ours, before a module of the bot's can have the name of one that it needs.
        from handler.runtime import lifespan, loop  # noqa: F401

        if snapshot_follows:
            from handler.runtime import snapshot  # noqa: F401

    for model in MODELS:
        model.model_rebuild()  # now, and not while the first user waits
    app = load(environ, secret)
    if snapshot_follows:
        app.complete()
    return app


async def _serve(
    address: str,
    environ: MutableMapping[str, str],
    app: "App",
    began: float,
    concurrency: int,
    block_limit: float,
) -> int:
    from handler.runtime.context import Context
    from handler.runtime.lifespan import lifespan
    from handler.runtime.loop import Loop
    from handler.runtime.runtime_api import RuntimeAPI, RuntimeAPIError

    context = Context(
        environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
        environ.get("AWS_LAMBDA_FUNCTION_VERSION", ""),
        int(environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")),
        environ.get("AWS_LAMBDA_LOG_GROUP_NAME", ""),
        environ.get("AWS_LAMBDA_LOG_STREAM_NAME", ""),
    )
    async with AsyncExitStack() as stack:
        try:
            state = await stack.enter_async_context(lifespan(app))
        except BaseException as error:  # the bot's own lifespan can raise anything
            return await _report(address, error)
        gc.freeze()  # what the start has created is never looked at
        gc.enable()
        api = RuntimeAPI(address)
        if _snapshot_follows(environ):
            from handler.runtime.snapshot import pass_snapshot

            if status := await pass_snapshot(api, app):
                return _ending(status)
        elif (took := time.perf_counter() - began) > SLOW_START:
            logger.warning(
                "the start took %.1f s, and Poe waits 5 s for an answer: import and load less at"
                " the start, or give the function more memory",
                took,
            )
        try:
            await Loop(api, app, context, state, concurrency, block_limit).run()
        except RuntimeAPIError as error:
            logger.critical("%s", error)
        return _ending(1)


def _ending(status: int) -> int:
    """Limit the app's shutdown, which comes now: it may hang, as anything of the bot's may. Gives
    the exit status."""
    threading.Timer(SHUTDOWN, os._exit, [status]).start()
    return status


def _snapshot_follows(environ: Mapping[str, str]) -> bool:
    """Whether Lambda takes a snapshot of this start (SnapStart), to begin others from it."""
    return environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def _concurrency(environ: MutableMapping[str, str]) -> int:
    """How many invocations there may be at once. Raises `BadEnvironment`."""
    text = environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1")
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise BadEnvironment(
            f"AWS_LAMBDA_MAX_CONCURRENCY is {text!r}: it has to be a whole number from 1 to 9999"
        )
    return int(text)


def _block_limit(environ: Mapping[str, str]) -> float:
    """For how many seconds a bot may block the others; 0: for ever. Raises `BadEnvironment`."""
    from handler.runtime.deadlines import BLOCK_LIMIT, LONGEST_BLOCK_LIMIT

    text = environ.get("BOT_BLOCK_LIMIT", str(BLOCK_LIMIT))
    limit = float(text) if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", text) else -1.0
    if limit and not 1 <= limit <= LONGEST_BLOCK_LIMIT:
        raise BadEnvironment(
            f"BOT_BLOCK_LIMIT is {text!r}: use 1 to {LONGEST_BLOCK_LIMIT} (seconds), or 0 for no"
            " limit"
        )
    return limit


async def _report(address: str, error: BaseException) -> int:
    """Report to the log and to Lambda why the start failed. Gives the exit status."""
    from handler.runtime.runtime_api import RuntimeAPI
    from handler.runtime.start_failure import report

    await report(RuntimeAPI(address).fail_init, "the bot cannot start", error)
    return 1


if __name__ == "__main__":
    sys.exit(main(os.environ))
