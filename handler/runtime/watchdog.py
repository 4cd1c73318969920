"""Ends what cannot be cancelled: a bot that blocks the event loop."""

import math
import threading
import time
from collections.abc import Callable

LONGEST_WAIT = 3600  # seconds: threading's own limit is far, but not infinitely far


class Watchdog(threading.Thread):
    """Calls `end_process`, in this thread, once the first of the times that it was armed with has
    come.

    Times are by the wall clock, in seconds since the epoch, one for each `name`. A `disarm` that
    comes too late waits for the process's end.
    """

    def __init__(self, end_process: Callable[[], None]) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._end_process = end_process
        self._dues: dict[str, float] = {}
        # By the clock that the thread sleeps by, which may stand still while the environment is
        # frozen and the wall clock goes on.
        self._wakes_at = float("inf")
        self._changed = threading.Condition()

    def arm(self, name: str, due: float) -> None:
        with self._changed:
            self._dues[name] = due
            # Deadlines move on from one invocation to the next: the thread, woken by an old one,
            # finds the new one by itself. Only an earlier one has to wake it.
            if time.monotonic() + due - time.time() < self._wakes_at:
                self._changed.notify()

    def disarm(self, name: str) -> None:
        with self._changed:
            self._dues.pop(name, None)

    def run(self) -> None:
        with self._changed:
            while (left := min(self._dues.values(), default=math.inf) - time.time()) > 0:
                left = min(left, LONGEST_WAIT)
                self._wakes_at = time.monotonic() + left
                self._changed.wait(left)
            self._end_process()
