"""Which calls of a runtime are allowed, and when. Pure.

The table is that of AWS's runtime interface emulator. Stricter than AWS in one point: an answer
has to carry the invocation id that `next` gave, which AWS's own clients send back.
"""

from collections.abc import Mapping
from enum import Enum

INVOCATION_ID = "lambda-runtime-invocation-id"


class RuntimeState(Enum):
    """Where the runtime stands between its calls; the names are AWS's."""

    STARTED = "Started"
    INIT_ERROR = "InitError"
    RESTORE_READY = "RestoreReady"
    RESTORING = "Restoring"
    RESTORE_ERROR = "RestoreError"
    READY = "Ready"
    RUNNING = "Running"
    RESPONDING = "InvocationResponse"
    RESPONSE_SENT = "ResponseSent"


_ALLOWED = {
    RuntimeState.STARTED: {RuntimeState.READY, RuntimeState.INIT_ERROR},
    RuntimeState.INIT_ERROR: set[RuntimeState](),
    RuntimeState.READY: {RuntimeState.RUNNING},
    RuntimeState.RUNNING: {RuntimeState.RESPONDING},
    RuntimeState.RESPONDING: {RuntimeState.RESPONSE_SENT},
    RuntimeState.RESPONSE_SENT: {RuntimeState.READY},
}


# Of a function with SnapStart, in addition.
_ALLOWED_WITH_SNAPSHOT = _ALLOWED | {
    RuntimeState.STARTED: {RuntimeState.RESTORE_READY, RuntimeState.INIT_ERROR},
    RuntimeState.RESTORE_READY: {RuntimeState.RESTORING},
    RuntimeState.RESTORING: {RuntimeState.READY, RuntimeState.RESTORE_ERROR},
    RuntimeState.RESTORE_ERROR: set[RuntimeState](),
}


class Refused(Exception):
    """A call that is answered with an error status. `function_error`: as what the invocation has
    failed, if that isn't the `error_type` that the runtime gets."""

    def __init__(
        self, status: int, error_type: str, message: str, function_error: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.document = {"errorMessage": message, "errorType": error_type}
        self.function_error = function_error or error_type


class RuntimeCalls:
    """The calls of one runtime, one after another. A call that is out of turn raises Refused and
    changes nothing. `snapstart`: a snapshot has to come before the first `next`."""

    def __init__(self, *, snapstart: bool = False) -> None:
        self.state = RuntimeState.STARTED
        self._allowed = _ALLOWED_WITH_SNAPSHOT if snapstart else _ALLOWED
        self._request_id = ""
        self._invocation_id = ""

    @property
    def request_id(self) -> str:
        """The last invocation that was handed out, until the next one is asked for."""
        return self._request_id

    def next(self, *, again: bool = False) -> None:
        """The runtime asks for an invocation. `again`: its last connection ended while it waited
        for one."""
        if not (again and self.state is RuntimeState.READY):
            self._step(RuntimeState.READY)
        self._request_id = ""

    def hand_out(self, request_id: str, invocation_id: str = "") -> None:
        """The runtime gets this invocation. Without an `invocation_id` none is asked for."""
        self._step(RuntimeState.RUNNING)
        self._request_id, self._invocation_id = request_id, invocation_id

    def answer(self, request_id: str, headers: Mapping[str, str]) -> None:
        """The runtime begins to answer. `headers`: by name in lower case."""
        invocation_id = headers.get(INVOCATION_ID, "")
        if not self._request_id or request_id != self._request_id:
            raise Refused(400, "InvalidRequestID", "Invalid request ID")
        if invocation_id != self._invocation_id:
            message = f"{INVOCATION_ID} is {invocation_id!r}, but `next` gave another one"
            raise Refused(400, "InvalidRequestID", message)
        self._step(RuntimeState.RESPONDING)

    def answered(self, request_id: str) -> None:
        """The answer to `request_id`, which has begun, is whole."""
        self._step(RuntimeState.RESPONSE_SENT)

    def fail_init(self) -> None:
        self._step(RuntimeState.INIT_ERROR)

    def wait_for_restore(self) -> None:
        """The runtime is ready for its snapshot."""
        self._step(RuntimeState.RESTORE_READY)

    def restore(self) -> None:
        """The runtime goes on from its snapshot."""
        self._step(RuntimeState.RESTORING)

    def fail_restore(self) -> None:
        self._step(RuntimeState.RESTORE_ERROR)

    def _step(self, to: RuntimeState) -> None:
        if to not in self._allowed.get(self.state, ()):
            message = f"State transition from {self.state.value} to {to.value} failed for runtime."
            raise Refused(403, "InvalidStateTransition", message)
        self.state = to


_FREE = {RuntimeState.STARTED, RuntimeState.RESPONSE_SENT}


class ConcurrentCalls:
    """The calls of one runtime that serves up to `concurrency` invocations at once: each takes one
    of so many slots, and the calls of a slot come one after another. A call that is out of turn
    raises Refused and changes nothing.

    AWS's emulator lets any number of `next` wait; here none can wait beyond the slots.
    """

    def __init__(self, concurrency: int) -> None:
        self._slots = [RuntimeCalls() for _ in range(concurrency)]
        self._timed_out: set[str] = set()

    def next(self, *, again: bool = False) -> None:
        """The runtime asks for an invocation. `again`: a connection ended on which it waited."""
        if again and (waiting := self._in({RuntimeState.READY})):
            return waiting[0].next(again=True)
        if self._failed:
            return self._slots[0].next()
        free = self._in(_FREE) or [s for s in self._slots if s.request_id in self._timed_out]
        if not free:
            message = f"all {len(self._slots)} slots wait for an invocation already, or have one"
            raise Refused(403, "InvalidStateTransition", message)
        slot = free[0]
        if slot.request_id in self._timed_out:  # what it had is over, answered or not
            self._timed_out.discard(slot.request_id)
            self._slots.remove(slot)
            self._slots.append(slot := RuntimeCalls())
        slot.next()

    def hand_out(self, request_id: str, invocation_id: str = "") -> None:
        """A slot that waits gets this invocation."""
        waiting = self._in({RuntimeState.READY})
        if not waiting:
            raise Refused(403, "InvalidStateTransition", "no slot waits for an invocation")
        waiting[0].hand_out(request_id, invocation_id)

    def time_out(self, request_id: str) -> None:
        """Lambda has given this invocation up: a late answer is refused, and its slot may ask for
        the next one."""
        self._timed_out.add(request_id)

    def answer(self, request_id: str, headers: Mapping[str, str]) -> None:
        """The runtime begins to answer. `headers`: by name in lower case."""
        self._check_in_time(request_id)
        self._with(request_id).answer(request_id, headers)

    def answered(self, request_id: str) -> None:
        """The answer to `request_id`, which has begun, is whole."""
        self._check_in_time(request_id)
        self._with(request_id).answered(request_id)

    def fail_init(self) -> None:
        for slot in self._slots:
            if slot.state is not RuntimeState.STARTED:
                return slot.fail_init()
        self._slots[0].fail_init()

    def wait_for_restore(self) -> None:
        """Refused: Managed Instances don't have SnapStart."""
        self._slots[0].wait_for_restore()

    restore = fail_restore = wait_for_restore

    def _check_in_time(self, request_id: str) -> None:
        if request_id in self._timed_out:
            raise Refused(410, "InvokeTimeout", "Invoke timeout")

    @property
    def _failed(self) -> bool:
        return self._slots[0].state is RuntimeState.INIT_ERROR

    def _in(self, states: set[RuntimeState]) -> list[RuntimeCalls]:
        return [slot for slot in self._slots if slot.state in states]

    def _with(self, request_id: str) -> RuntimeCalls:
        for slot in self._slots:
            if request_id and slot.request_id == request_id:
                return slot
        raise Refused(400, "InvalidRequestID", "Invalid request ID")


def calls_of(concurrency: int, *, snapstart: bool = False) -> RuntimeCalls | ConcurrentCalls:
    """For a runtime that serves so many invocations at once."""
    if concurrency > 1:
        return ConcurrentCalls(concurrency)
    return RuntimeCalls(snapstart=snapstart)
