"""Ends what cannot be cancelled: a bot that blocks the event loop, or swallows its cancellation."""

import threading
import time
from collections.abc import Callable

LONGEST_WAIT = 3600  # seconds: threading's own limit is far, but not infinitely far


class Watchdog(threading.Thread):
    """Calls `bark`, in this thread, once the time that it was armed with has come.

    Times are by the wall clock, in seconds since the epoch.
    """

    def __init__(self, bark: Callable[[], None]) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._bark = bark
        self._due = float("inf")
        self._wakes_at = float("inf")  # when the thread looks at the clock next
        self._changed = threading.Condition()

    def arm(self, due: float) -> None:
        self._due = due
        # Deadlines move on from one invocation to the next: the thread, woken by an old one,
        # finds the new one by itself. Only an earlier one has to wake it.
        if due < self._wakes_at:
            with self._changed:
                self._changed.notify()

    def disarm(self) -> None:
        self._due = float("inf")

    def run(self) -> None:
        while (now := time.time()) < self._due:
            with self._changed:
                self._wakes_at = min(self._due, now + LONGEST_WAIT)
                self._changed.wait(self._wakes_at - now)
        self._bark()
