"""The secret as it is now: a new key is valid without a redeploy, and callers can't force reads.

AWS's own caching clients keep a secret for 300 s; a key that does not match is the sign that it
may have been rotated since.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from handler.log.errors import StartError
from handler.runtime.deadlines import RESTORE_READ
from handler.secret.in_thread import in_thread
from handler.secret.members import Members

logger = logging.getLogger(__name__)

MAX_AGE = 300  # seconds
PAUSE = 10  # seconds at least between two reads


class CachedSecret:
    """`read` gets the secret's current members, blocking, if need be with a time limit in seconds
    other than its own; `follow` takes them over and gives what
    is wrong with any, for the log. Either may raise; the text of a `StartError` is logged.

    Ages are by the wall clock: a monotonic one may stand still while the environment is frozen.
    """

    def __init__(
        self,
        read: Callable[..., Members],
        follow: Callable[[Members], Sequence[str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._read, self._follow, self._clock = read, follow, clock
        self._read_at = self._tried_at = clock()
        self._reading: asyncio.Task[bool] | None = None  # one for everybody who waits for it
        self._failures = 0

    async def freshen(self) -> None:
        """Read the secret if it is older than `MAX_AGE`."""
        if self._since(self._read_at) >= MAX_AGE:
            await self.read_again()

    async def read_again(self) -> bool:
        """Read the secret, unless another request did within `PAUSE`. False when there is nothing
        new to compare with; a read that fails leaves what was known, and so does a faulty member
        its own value alone."""
        if self._reading is None:
            if self._since(self._tried_at) < PAUSE:
                return False
            self._reading = asyncio.create_task(self._try())
            asyncio._unregister_task(self._reading)  # a bot may cancel `asyncio.all_tasks()`
        # The request that began it may be cancelled: the others still wait for it.
        return await asyncio.shield(self._reading)

    def take_failures(self) -> int:
        """How many reads failed, or found a fault, since this was asked last: so each is counted
        once, for one of the requests that waited."""
        failures, self._failures = self._failures, 0
        return failures

    async def restore(self) -> None:
        """Read the secret in an environment that was just restored from a snapshot, whatever was
        read before. Raises what `read` and `follow` do, and `StartError` for what is faulty: a key
        of the snapshot's may have been revoked."""
        faults = self._follow(await in_thread(lambda: self._read(RESTORE_READ)))
        if faults:
            raise StartError("; ".join(faults))
        self._read_at = self._tried_at = self._clock()

    async def _try(self) -> bool:
        try:
            return await self._read_and_follow()
        finally:
            self._reading = None

    async def _read_and_follow(self) -> bool:
        self._tried_at = self._clock()
        try:
            members = await in_thread(self._read)
            faults = self._follow(members)
        except Exception as error:
            self._failures += 1
            reason = str(error) if isinstance(error, StartError) else type(error).__name__
            logger.error(
                "the known key stays valid, since the secret could not be read again: %s", reason
            )
            return False
        for fault in faults:
            logger.error("what is faulty keeps the value that it had: %s", fault)
        self._failures += bool(faults)
        self._read_at = self._clock()
        return True

    def _since(self, then: float) -> float:
        # A clock that was set back makes everything old; otherwise it would stay new.
        age = self._clock() - then
        return age if age >= 0 else float("inf")
