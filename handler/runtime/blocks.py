"""Notices a bot that blocks the event loop which it shares with other invocations, and ends the
process when that takes too long."""

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from handler.log import lines
from handler.log.errors import Stuck
from handler.runtime.deadlines import BLOCK_BEAT, BLOCK_NOTICE

INTERVAL = 60.0  # seconds between two lines about one function

logger = logging.getLogger(__name__)


class BlockWatch(threading.Thread):
    """A context in which `loop` is asked for a turn again and again.

    A loop that takes none for BLOCK_NOTICE gets a line. After `limit` seconds, unless that is 0,
    `end_process` is called, in this thread; a turn that comes too late waits for the process's end.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limit: float, end_process: Callable[[], None]
    ) -> None:
        super().__init__(name="block-watch", daemon=True)
        self._loop, self._limit, self._end_process = loop, limit, end_process
        self._turned, self._stopped = threading.Event(), threading.Event()
        self._deciding = threading.Lock()
        self._notices = Notices()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    def run(self) -> None:
        clock, stood, is_noticed = RunningTime(), 0.0, False
        self._ask()
        while not self._stopped.wait(BLOCK_BEAT):
            lap, has_turned = clock.lap(), self._turned.is_set()
            if self._limit and stood >= self._limit and not has_turned:
                self._end()
            # After a turn, what counts is for how long this thread was held up itself.
            stood = lap - BLOCK_BEAT if has_turned else stood + lap
            is_noticed = is_noticed and not has_turned
            if stood >= BLOCK_NOTICE and not is_noticed:
                self._notices.write(stood)
                is_noticed = True
            if has_turned:
                self._ask()

    def _ask(self) -> None:
        self._turned.clear()
        with suppress(RuntimeError):  # the loop is closed: so is this, in a moment
            self._loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        with self._deciding:
            self._turned.set()

    def _end(self) -> None:
        with self._deciding:
            if not self._turned.is_set():
                self._end_process()


class RunningTime:
    """Time in which this process could run. No clock knows it: while a machine sleeps or a process
    is stopped, some stand still and some go on."""

    def __init__(self) -> None:
        self._clocks = time.monotonic(), time.process_time()

    def lap(self) -> float:
        """Seconds since the last lap, after a wait of BLOCK_BEAT. A longer wait is code that let no
        other thread run, so far as it took CPU time; what is left of it the process stood still."""
        clock, cpu = self._clocks
        self._clocks = time.monotonic(), time.process_time()
        return min(self._clocks[0] - clock, max(BLOCK_BEAT, self._clocks[1] - cpu))


class Notices:
    """The lines about what blocks the loop. About one function there is at most one every INTERVAL,
    so a bot that blocks for each message floods nothing."""

    def __init__(self) -> None:
        self._written: dict[str, float] = {}  # when, by function
        self._left_out = 0  # since the last line

    def write(self, seconds: float) -> None:
        """Write about the loop as it is stuck now, and has been for so long."""
        stuck, now = Stuck(), time.monotonic()
        function = re.sub(r":\d+", "", stuck.place)  # at any of its lines
        if now - self._written.get(function, -INTERVAL) < INTERVAL:
            self._left_out += 1
            return
        self._written[function] = now
        lines.request_id.set(stuck.request_id)
        if logger.isEnabledFor(logging.WARNING):
            message = f"{_what(stuck, seconds)}{self._more()}"
            lines.write("WARN", {"logger": __name__, "message": message, **stuck.fields})

    def _more(self) -> str:
        left_out, self._left_out = self._left_out, 0
        return f" (left out since the last such line: {left_out})" if left_out else ""


def _what(stuck: Stuck, seconds: float) -> str:
    if not stuck.frames:
        return (
            f"no answer could go on for {seconds:.1f} s, because code in a thread holds Python's"
            " lock (the GIL): run that code in a process of its own"
        )
    return (
        f"the bot has blocked the event loop for {seconds:.1f} s at {stuck.place}, and no other"
        " answer can go on: call what blocks in a thread, `await asyncio.to_thread(…)`, or use an"
        " async client"
    )
