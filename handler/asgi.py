"""The plain ASGI app, as `handler.asgi:app`, for uvicorn or a Lambda Web Function.

The convention of such servers wants the start at import.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

from handler.app.dispatch import App
from handler.app.load import load
from handler.log import lines
from handler.secret.reader import SecretReader


def _start() -> App:
    """Load the bot. uvicorn imports this module while its loop runs, in which a bot could not call
    `asyncio.run`: so in a thread, where that loop is the current one and does not run."""
    secret = SecretReader.started(os.environ)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return load(os.environ, secret)
    with ThreadPoolExecutor(1, initializer=asyncio.set_event_loop, initargs=(loop,)) as thread:
        return thread.submit(load, os.environ, secret).result()


lines.configure(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO"))
app = _start()
