"""The buffered way: awslambdaric and Mangum, as `handler.function.handler`.

For a function without the wrapper behind a BUFFERED Function URL. Lambda's convention wants the
start at import.
"""

import asyncio
import os
from typing import Any

from mangum import Mangum
from starlette.types import Receive, Scope, Send

from handler.app.load import load
from handler.log import lines
from handler.log.explain import explained
from handler.log.setup import set_up
from handler.runtime.lifespan import lifespan
from handler.runtime.request_scope import Gateway
from handler.secret.reader import SecretReader

# In place of awslambdaric's own lines, which hold exceptions' texts and the URLs that httpx calls.
set_up(
    os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO"),
    shows_texts=os.environ.get("BOT_DEBUG") == "1",
)
# The current loop at import, for tasks of the bot's, is the one that Mangum runs: an `asyncio.run`
# in between would leave none.
_loop = asyncio.new_event_loop()
asyncio.set_event_loop(_loop)
with explained():
    app = load(os.environ, SecretReader.started(os.environ))
if _loop.is_closed():  # by a bot that ran something on it first
    _loop = asyncio.new_event_loop()
asyncio.set_event_loop(_loop)

# Once: Mangum would run startup and shutdown around every request.
_lifespan = lifespan(app)
with explained():
    _state = _loop.run_until_complete(_lifespan.__aenter__())


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    await app({**scope, "state": dict(_state)}, receive, send)


_mangum = Mangum(_app, lifespan="off", custom_handlers=[Gateway])


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A Function URL's event and Lambda's context → a proxy response, its body whole."""
    lines.request_id.set(context.aws_request_id)
    return _mangum(event, context)
