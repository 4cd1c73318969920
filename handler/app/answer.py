"""`query` served straight from `PoeBot.handle_query`, as server-sent events.

Headers and bytes equal those of `fastapi_poe.make_app`'s app for the same events; only the way is
shorter: no routing, no second parse of the body, no task group, no lock around each event.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import fastapi_poe as fp
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from handler.app.lifeline import Lifeline, Stop
from handler.app.sse import encode
from handler.app.tally import count, warn_of_limits
from handler.log.record import Tally, record_of
from handler.runtime.deadlines import query_seconds

logger = logging.getLogger(__name__)

HEADERS = [
    (b"cache-control", b"no-store"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
    (b"content-type", b"text/event-stream; charset=utf-8"),
]
# The methods that are given `context.http_request`. fastapi_poe's own don't look at it.
OF_HTTP = {name: getattr(fp.PoeBot, name) for name in ("handle_query", "get_response_with_context")}
MODELS = (fp.QueryRequest, fp.RequestContext, fp.PartialResponse)  # that every query needs


def sees_http(bot: fp.PoeBot) -> bool:
    """Whether code of the bot's is given `context.http_request`. Most bots have none that is."""
    return any(
        getattr(getattr(bot, name), "__func__", None) is not own for name, own in OF_HTTP.items()
    )


async def answer(
    bot: fp.PoeBot, query: fp.QueryRequest, scope: Scope, receive: Receive, send: Send
) -> None:
    """Send the bot's events as one ASGI response, each in a body message of its own.

    `receive` still has a body to give, which a bot finds in `context.http_request`. When the
    client goes away the bot is cancelled; when time runs out too, and then the answer ends as
    Poe's protocol asks for. What was sent is counted in the request's record.
    """
    request = Request(scope, receive)
    await request.body()
    record_of(scope).tally = tally = Tally()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    remaining = _remaining(scope)
    # On Lambda nobody learns that a client has gone away.
    gone = receive if remaining is None else None
    end_late = partial(_end_late, bot, tally, send)
    with Lifeline(gone, send, query_seconds(remaining), end_late) as lifeline:
        await _pass_on(bot, query, request, tally, send, lifeline)
    if lifeline.stopped is Stop.LATE:
        await lifeline.end_late()
    elif not lifeline.stopped:
        await _end(send)
    warn_of_limits(tally)


async def _pass_on(
    bot: fp.PoeBot,
    query: fp.QueryRequest,
    request: Request,
    tally: Tally,
    send: Send,
    lifeline: Lifeline,
) -> None:
    """Send the bot's events. A bot that raises past fastapi_poe, by `sys.exit` or by a panic in a
    library's Rust, ends its answer properly all the same."""
    events: AsyncIterator[Any] | None = None
    while True:  # not `async for`: what `send` raises isn't the bot's
        try:
            if events is None:
                events = aiter(bot.handle_query(query, fp.RequestContext(http_request=request)))
            event = await anext(events)
            data = encode(event)
        except StopAsyncIteration:
            return
        except BaseException as error:
            if _is_cancelled(error) or isinstance(error, GeneratorExit):
                raise
            logger.error("the bot failed", exc_info=error)
            if not lifeline.stopped and not tally.done:  # nothing may follow either
                text = "The bot encountered an unexpected issue."
                last = bot.error_event(text, raw_response=error, allow_retry=False)
                await _send_last(last, bot, tally, send)
            return
        if lifeline.stopped:  # what a bot yields after that isn't its answer
            return
        # Counted first: a cancellation while the other side is slow finds it on its way.
        count(tally, event)
        await send({"type": "http.response.body", "body": data, "more_body": True})


def _is_cancelled(error: BaseException) -> bool:
    """Whether this task was cancelled: a bot that awaits a cancelled task of its own raises
    the same error."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def _end_late(bot: fp.PoeBot, tally: Tally, send: Send) -> None:
    tally.late = True
    if not tally.done:
        error = bot.error_event("The bot ran out of time.", allow_retry=True)
        await _send_last(error, bot, tally, send)
    await _end(send)


async def _send_last(error: Any, bot: fp.PoeBot, tally: Tally, send: Send) -> None:
    """Send the event `error`, and the one that says that nothing follows."""
    for event in (error, bot.done_event()):
        count(tally, event)
        await send({"type": "http.response.body", "body": encode(event), "more_body": True})


async def _end(send: Send) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _remaining(scope: Scope) -> float | None:
    """Seconds until Lambda's deadline, under our own loop and under Mangum."""
    context = scope.get("aws.context")
    return None if context is None else context.get_remaining_time_in_millis() / 1000
