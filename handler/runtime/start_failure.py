"""Why there will be no invocation, for the log and for Lambda."""

import logging
from collections.abc import Awaitable, Callable

from handler.log.errors import stack_of
from handler.log.explain import explain
from handler.runtime.wire import Failure

logger = logging.getLogger("handler")


async def report(
    post: Callable[[Failure], Awaitable[None]], what: str, error: BaseException, kind: str = ""
) -> None:
    """`post` takes it to Lambda. `what` could not be done because of `error`; `kind`: the type that
    Lambda is given, unless it is the error's own."""
    kind = kind or f"Runtime.{type(error).__name__}"
    failure = Failure(kind, explain(error), stack_of(error))
    logger.critical("%s: %s", what, failure.message, exc_info=error)
    try:
        await post(failure)
    except OSError as unreachable:
        logger.error("the Runtime API cannot be reached: %s", type(unreachable).__name__)
