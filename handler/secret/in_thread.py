"""A blocking call in a thread of its own: asyncio's pool is the bots' too, who may fill it."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[[], T]) -> T:
    """What `call` gives or raises. It goes on even if its result is no longer awaited."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="secret", daemon=True).start()
    return await asyncio.wrap_future(future)
