"""What the parts of the local Lambda hand to one another: an invocation, its answer, its record."""

import asyncio
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

_MB = 1024 * 1024

# AWS Lambda Developer Guide, "Response streaming for Lambda functions". What happens to a longer
# stream isn't documented; here it is cut, and the invocation has failed.
STREAM_LIMIT = 200 * _MB
UNPACED = 6 * _MB
PACE = 2 * _MB  # bytes a second, of what follows


class InitError(Exception):
    """An execution environment ended, or took too long, before its first `next`."""

    def __init__(self, error_type: str, message: str, stack_trace: tuple[str, ...] = ()) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message
        self.stack_trace = stack_trace


class InitTimeout(InitError):
    """The init took longer than it may."""


class MalformedAnswer(Exception):
    """What the function sent is not what its content type promises."""


@dataclass(frozen=True)
class FunctionError:
    """Why an invocation failed: Lambda's error type, and the function's error document."""

    type: str
    document: object

    @classmethod
    def of(cls, error_type: str, message: str) -> "FunctionError":
        return cls(error_type, {"errorType": error_type, "errorMessage": message})


class Responder(Protocol):
    """Where an invocation's answer goes. Nothing here raises because the client has gone."""

    async def buffered(self, payload: bytes) -> None:
        """The whole answer. Raises MalformedAnswer, having sent nothing."""

    async def begin(self, content_type: str) -> None:
        """A stream follows, of this content type."""

    async def write(self, data: bytes) -> None:
        """The stream's next bytes. Raises MalformedAnswer, having sent nothing."""

    async def end(self) -> None:
        """The stream is complete. Raises MalformedAnswer, having sent nothing."""

    async def fail(self, error: FunctionError) -> None:
        """The invocation failed: report it, or cut off what was begun. Ignored after the end."""


@dataclass
class Invocation:
    """One event on its way through one environment."""

    id: str
    event: bytes
    arn: str
    trace_id: str
    responder: Responder
    deadline_ms: int = 0
    error: FunctionError | None = None
    bytes_out: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    _paced_since: float | None = None

    def headers(self, invocation_id: str) -> list[tuple[str, str]]:
        """Those of the answer to `next`."""
        return [
            ("Content-Type", "application/json"),
            ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),
            ("Lambda-Runtime-Aws-Request-Id", self.id),
            ("Lambda-Runtime-Deadline-Ms", str(self.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", self.arn),
            ("Lambda-Runtime-Trace-Id", self.trace_id),
            ("Lambda-Runtime-Invocation-Id", invocation_id),
        ]

    async def buffered(self, payload: bytes) -> None:
        self.bytes_out = len(payload)
        try:
            await self.responder.buffered(payload)
        except MalformedAnswer as error:
            await self._malformed(error)

    async def write(self, data: bytes) -> None:
        """Pass stream bytes on as fast as Lambda does, or drop them once the invocation has
        failed."""
        if self.error is not None:
            return
        self.bytes_out += len(data)
        if self.bytes_out > STREAM_LIMIT:
            await self.fail(FunctionError.of("Function.ResponseSizeTooLarge", _STREAM_TOO_LARGE))
            return
        await self._keep_pace()
        try:
            await self.responder.write(data)
        except MalformedAnswer as error:
            await self._malformed(error)

    async def end(self) -> None:
        if self.error is not None:
            return
        try:
            await self.responder.end()
        except MalformedAnswer as error:
            await self._malformed(error)

    async def fail(self, error: FunctionError) -> None:
        """Count as failed, for the first reason given."""
        if self.error is None:
            self.error = error
            await self.responder.fail(error)

    async def _malformed(self, error: MalformedAnswer) -> None:
        await self.fail(FunctionError.of("Runtime.MalformedAnswer", str(error)))

    async def _keep_pace(self) -> None:
        if self.bytes_out > UNPACED:
            now = time.monotonic()
            self._paced_since = self._paced_since or now
            due = self._paced_since + (self.bytes_out - UNPACED) / PACE
            await asyncio.sleep(max(0, due - now))


_STREAM_TOO_LARGE = f"A streamed response may have {STREAM_LIMIT} bytes at most."


class Outcome(Enum):
    """How an invocation ended."""

    DONE = "done"
    FUNCTION_ERROR = "function error"  # reported by the runtime, or a malformed answer
    TIMEOUT = "timeout"
    EXIT = "exit"
    OUT_OF_MEMORY = "out of memory"
    INIT_ERROR = "init error"
    THROTTLED = "throttled"


@dataclass(frozen=True)
class InvocationRecord:
    """What is known of an invocation once it is over. Durations in ms, memory in MB."""

    id: str
    outcome: Outcome
    error: FunctionError | None = None
    bytes_out: int = 0
    duration_ms: float = 0.0
    init_ms: float | None = None  # set for the first invocation of its environment
    restore_ms: float | None = None  # the same under SnapStart
    max_memory_mb: int = 0
    pid: int | None = None


class BufferedAnswer:
    """A responder that keeps the raw answer, as `aws lambda invoke` shows it."""

    def __init__(self) -> None:
        self.payload = b""
        self.error: FunctionError | None = None

    async def buffered(self, payload: bytes) -> None:
        self.payload = payload

    async def begin(self, content_type: str) -> None:
        """Every content type is accepted."""

    async def write(self, data: bytes) -> None:
        self.payload += data

    async def end(self) -> None:
        """Nothing is left to do."""

    async def fail(self, error: FunctionError) -> None:
        self.error = error
