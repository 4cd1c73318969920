"""An ASGI app's lifespan, once for the process. Source: the ASGI specification, Lifespan."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from handler.log.errors import StartError
from handler.runtime.deadlines import CLEAN_UP


class StartupFailed(StartError):
    """The app answered that it can't start."""


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Start `app` up, and shut it down at the end; gives the state that its requests share.

    An app that raises or returns before its startup is complete does not support lifespans, which
    isn't an error. When it answers `lifespan.startup.failed`, this raises what the app does, or
    `StartupFailed`.
    """
    state: dict[str, Any] = {}
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    version = {"version": "3.0", "spec_version": "2.0"}
    scope: Scope = {"type": "lifespan", "asgi": version, "state": state}
    task = asyncio.ensure_future(app(scope, inbox.get, outbox.put))
    asyncio._unregister_task(task)  # a bot may cancel `asyncio.all_tasks()`
    answer = await _exchange("lifespan.startup", task, inbox, outbox)
    if answer and answer["type"] == "lifespan.startup.failed":
        await asyncio.wait([task], timeout=CLEAN_UP)
        if task.done() and not task.cancelled() and (reason := task.exception()):
            raise reason
        raise StartupFailed("the ASGI app's startup failed")
    try:
        yield state
    finally:
        await _exchange("lifespan.shutdown", task, inbox, outbox)
        task.cancel()


async def _exchange(
    kind: str,
    task: asyncio.Future[None],
    inbox: asyncio.Queue[Message],
    outbox: asyncio.Queue[Message],
) -> Message | None:
    """The app's answer to the message `kind`, or none when the app has ended without one."""
    inbox.put_nowait({"type": kind})
    answer = asyncio.ensure_future(outbox.get())
    both: set[asyncio.Future[Any]] = {task, answer}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if task.done() and not task.cancelled():
        task.exception()  # retrieved: asyncio logs exceptions that never are
    if answer.done():
        return answer.result()
    answer.cancel()
    return None
