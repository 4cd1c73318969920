"""What a thread reports to Lambda, while the event loop is stuck, before the process ends."""

import logging
import select
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from socket import socket

from handler.log import lines, output
from handler.log.errors import Stuck
from handler.log.metrics import Outcome, Reporter
from handler.log.record import Record
from handler.runtime.cycle import Cycle, State, Stream
from handler.runtime.deadlines import LAST_WRITE
from handler.runtime.report import report_of
from handler.runtime.runtime_api import RuntimeAPI
from handler.runtime.wire import Failure, Invocation

logger = logging.getLogger(__name__)

BLOCKED = Failure(
    "EventLoopBlocked", "a bot blocked the event loop for too long, and its process was replaced"
)

# What is served, as `loop.Exchange` has it.
Exchanges = Sequence[tuple[RuntimeAPI, Invocation, Cycle, Record]]

# Takes the seconds that are left; writes, and gives where the answer will come. Raises anything.
Word = Callable[[float], socket]


def give_up(exchanges: Exchanges, reporter: Reporter, failure: Failure, why: str) -> None:
    """Report `failure` for each of them. `why`: what the bot has done, for the log, a clause."""
    output.hurry()
    with suppress(Exception):  # a line that fails must not keep anyone from being told
        _write(why, [invocation.request_id for _, invocation, _, _ in exchanges])
    for error in say(_words(exchanges, failure)):
        logger.error("the failure could not be reported to Lambda: %s", type(error).__name__)
    for _, invocation, cycle, record in exchanges:
        lines.request_id.set(invocation.request_id)
        reporter.write(report_of(record, cycle, Outcome.DEADLINE))


def _write(why: str, request_ids: Sequence[str]) -> None:
    """A line with the place at which the loop is stuck, under the request that it belongs to."""
    stuck = Stuck()
    lines.request_id.set(stuck.request_id or "".join(request_ids[:1]))
    its = f" with its {len(request_ids)} answers" if request_ids[1:] else ""
    message = f"{why}{stuck.at}: this process ends{its}, another one takes over"
    lines.write("FATAL", {"logger": __name__, "message": message, **stuck.fields})


def _words(exchanges: Exchanges, failure: Failure) -> Iterator[Word]:
    for api, invocation, cycle, _ in exchanges:
        # Nothing of the app's may follow, if it is let go just now.
        state, cycle.state = cycle.state, State.COMPLETE
        if cycle.stream is None:
            yield partial(api.fail_now, invocation, failure)
        elif state is State.RESPONSE:
            yield partial(_fail_midway, cycle.stream, failure)


def _fail_midway(stream: Stream, failure: Failure, _: float) -> socket:
    return stream.fail_now(failure)


def say(words: Iterable[Word]) -> Iterator[Exception]:
    """Write all of them within LAST_WRITE, then wait for all the answers together, as long again:
    a process that ends at once might take what it wrote along. Gives what went wrong."""
    until = time.monotonic() + LAST_WRITE
    answers = []
    for word in words:
        try:
            answers.append(word(max(0.001, until - time.monotonic())))
        except Exception as error:  # the loop's thread may stand anywhere, in the middle of a frame
            yield error
    if not _all_answered(answers):
        yield TimeoutError("timed out")


def _all_answered(sockets: Iterable[socket]) -> bool:
    until = time.monotonic() + LAST_WRITE
    waiting = select.poll()
    open_sockets = {each.fileno(): each for each in sockets}
    for number in open_sockets:
        waiting.register(number, select.POLLIN)
    while open_sockets and (left := until - time.monotonic()) > 0:
        for number, _ in waiting.poll(left * 1000):
            waiting.unregister(number)
            open_sockets.pop(number).close()
    for late in open_sockets.values():
        late.close()
    return not open_sockets
