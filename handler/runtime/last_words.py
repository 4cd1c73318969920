"""What a thread reports to Lambda, while the event loop is stuck, before the process ends."""

import select
import time
from collections.abc import Callable, Iterable, Iterator
from socket import socket

from handler.runtime.deadlines import LAST_WRITE

# Takes the seconds that are left; writes, and gives where the answer will come. Raises anything.
Word = Callable[[float], socket]


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
