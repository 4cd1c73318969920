"""Where a runtime stands between its calls, and which calls are allowed there. Pure.

The table is that of AWS's runtime interface emulator.
"""

from enum import Enum


class RuntimeState(Enum):
    """Where the runtime stands between its calls; the names are AWS's."""

    STARTED = "Started"
    INIT_ERROR = "InitError"
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


class Refused(Exception):
    """A call that is answered with an error status."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.document = {"errorMessage": message, "errorType": error_type}


def stepped(state: RuntimeState, to: RuntimeState) -> RuntimeState:
    """`to`, if a runtime in `state` may go there. Raises Refused."""
    if to not in _ALLOWED[state]:
        message = f"State transition from {state.value} to {to.value} failed for runtime."
        raise Refused(403, "InvalidStateTransition", message)
    return to
