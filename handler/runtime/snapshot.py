"""SnapStart: Lambda takes a snapshot of the process at the end of its start, and every environment
goes on from there, perhaps weeks later.

What a process holds is the same in all of them, and old: credentials, keys, connections, the state
of what gives random numbers. Sources: AWS, "Improving startup performance with Lambda SnapStart"
and what follows it on hooks and on uniqueness; awslambdaric 4.2.2, bootstrap.py.
"""

import asyncio
import inspect
import os
import random
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from handler.log.errors import StartError
from handler.runtime.deadlines import RESTORE
from handler.runtime.runtime_api import RuntimeAPI
from handler.runtime.start_failure import report

BEFORE, AFTER = "Runtime.BeforeSnapshotError", "Runtime.AfterRestoreError"
# Lambda's exit statuses for the two.
STATUS_BEFORE, STATUS_AFTER = 64, 65

Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class SlowHook(StartError):
    """A hook is not done when Lambda is about to end the restored environment."""


class Restorable(Protocol):
    """What is renewed after a restore: `dispatch.App`."""

    async def restore(self) -> None: ...


async def pass_snapshot(api: RuntimeAPI, app: Restorable) -> int:
    """Have the snapshot taken, and return in an environment that was restored from it, when that is
    ready to serve. Gives 0; or, where something failed and was reported, the exit status."""
    try:
        before = _hooks("get_before_snapshot")
        while before:  # a stack, and a hook may register another one
            await _run(before.pop())
        await api.restored()
    except BaseException as error:  # a hook can raise anything
        await report(api.fail_init, "no snapshot can be taken", error, BEFORE)
        return STATUS_BEFORE
    until = asyncio.get_running_loop().time() + RESTORE
    try:
        _reseed()
        await app.restore()
        for hook in _hooks("get_after_restore"):
            await _run_until(until, hook)
    except BaseException as error:
        await report(api.fail_restore, "the bot cannot go on from its snapshot", error, AFTER)
        return STATUS_AFTER
    return 0


def _hooks(getter: str) -> list[Hook]:
    """Those that were registered by `snapshot_restore_py`, which Lambda's runtime brings, if it
    was imported."""
    module = sys.modules.get("snapshot_restore_py")
    return getattr(module, getter)() if module else []


async def _run_until(until: float, hook: Hook) -> None:
    """`until`: by the event loop's clock. Raises `SlowHook`, and what the hook raises."""
    try:
        async with asyncio.timeout_at(until) as limit:
            await _run(hook)
    except TimeoutError:
        if not limit.expired():  # the hook's own
            raise
        name = getattr(hook[0], "__qualname__", type(hook[0]).__name__)
        raise SlowHook(
            f"the hook `{name}` isn't done, and a restore may take 10 s in all: do less in hooks,"
            " or give each call in them a time limit"
        ) from None


async def _run(hook: Hook) -> None:
    """In a thread: Lambda's own runtime calls hooks while no event loop runs, so they may run one.
    A coroutine runs on the loop that serves the bot."""
    function, arguments, named = hook
    result = await asyncio.to_thread(function, *arguments, **named)
    if inspect.isawaitable(result):
        await result


def _reseed() -> None:
    """Or all environments draw the same numbers. The operating system's own are not affected."""
    random.seed()
    ssl.RAND_add(os.urandom(48), 48.0)
    if numpy_random := sys.modules.get("numpy.random"):
        with suppress(TypeError):  # a generator that the bot has put there, and seeds itself
            numpy_random.seed()
