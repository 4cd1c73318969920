"""One process of each kind, started and asked, with its times and CPU.

Lambda's side is a Runtime API that does nothing else: blocking sockets in this process, so that
what is measured is the process behind it. (`local/` serves as AWS does, which costs more than the
difference between two variants.)
"""

import os
import select
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench import http, proc
from bench.many import Conversation, Slots, converse
from bench.questions import event, query

NEXT = "/2018-06-01/runtime/invocation/next"


@dataclass(frozen=True)
class Answer:
    """Seconds since the question; CPU of the process and its children until the next question."""

    first_event: float
    total: float
    cpu: float


@dataclass(frozen=True)
class Burst:
    """Several conversations at once: of each, the seconds to its first event; CPU seconds of the
    process and its children for all of them; text events in all."""

    first_events: Sequence[float]
    cpu: float
    events: int


@dataclass(frozen=True)
class Variant:
    """How a process is started: command, folder and variables."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    is_web_server: bool = False  # it gets a listening socket as its input, not a Runtime API
    slots: int = 0  # of a runtime that is asked by `ask_many` alone


class Process:
    """A started variant. Entered, it is ready for questions; left, it and its children are gone."""

    stdout = subprocess.DEVNULL

    def __init__(self, variant: Variant, prefix: Sequence[str] = ()) -> None:
        self._variant, self._prefix = variant, prefix
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._connections: set[socket.socket] = set()  # open ones: clients keep them for later
        self._polling: socket.socket | None = None  # where `next` waits for its answer
        self._slots = Slots(self._listener, variant.slots) if variant.slots else None
        self.ready = 0.0  # seconds from the start to readiness
        self.ready_cpu = 0.0

    def __enter__(self) -> Self:
        host, port = self._listener.getsockname()
        environment = dict(self._variant.environment)
        if not self._variant.is_web_server:
            environment["AWS_LAMBDA_RUNTIME_API"] = f"{host}:{port}"
        if self._variant.slots:
            environment["AWS_LAMBDA_MAX_CONCURRENCY"] = str(self._variant.slots)
        self.started_at = time.perf_counter()
        self._process = subprocess.Popen(
            [*self._prefix, *self._variant.command],
            cwd=self._variant.folder,
            env=environment,
            stdin=self._listener.fileno() if self._variant.is_web_server else subprocess.DEVNULL,
            stdout=self.stdout,
            text=True,
            stderr=subprocess.DEVNULL,  # fastapi_poe warns at each start
            start_new_session=True,
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def _wait_until_ready(self) -> None:
        if self._variant.is_web_server:
            return  # its socket takes questions already
        if self._slots:
            self._slots.wait()
        else:
            self._poll()
        self.ready = time.perf_counter() - self.started_at
        self.ready_cpu = self.cpu()

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def _stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for each in (self._listener, *self._connections):
            each.close()
        if self._slots:
            self._slots.close()

    @property
    def address(self) -> tuple[str, int]:
        """Where a web server is asked."""
        host, port = self._listener.getsockname()
        return host, port

    def ask(self, question: str, key: str) -> Answer:
        """Send one query; wait for its answer and until the process is ready for another one."""
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        cpu = self.cpu()
        asked_at = time.perf_counter()
        if self._variant.is_web_server:
            message = self._ask_directly(headers, query(question).encode())
        else:
            message = self._ask_by_event(event(headers, query(question)))
        assert message.first_event_at, message.body[:300]
        return Answer(
            message.first_event_at - asked_at, message.end_at - asked_at, self.cpu() - cpu
        )

    def ask_many(
        self,
        request: str,
        key: str,
        count: int,
        on_first_events: Callable[[], None] | None = None,
    ) -> Burst:
        """`count` conversations at once, each asking `request` (see `questions`), of a web server
        or a runtime with slots; until that is ready for as many again. See `many.converse`."""
        cpu = self.cpu()
        conversations = [self.conversation(request, key) for _ in range(count)]
        asked_at = time.perf_counter()
        converse(conversations, on_first_events)
        if self._slots:
            self._slots.wait()
        for each in conversations:
            assert each.first_event_at, bytes(each.answer[-300:])
        return Burst(
            [each.first_event_at - asked_at for each in conversations],
            self.cpu() - cpu,
            sum(each.answer.count(http.FIRST_EVENT) for each in conversations),
        )

    def conversation(self, request: str, key: str) -> Conversation:
        """One that is about to ask `request`, as `ask_many` takes them."""
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        if self._slots:
            return self._slots.hand_out(_next_reply(event(headers, request)))
        headers = {"host": "localhost", "connection": "close", **headers}
        connection = http.prepared(socket.create_connection(self.address))
        return Conversation(connection, http.encode("POST / HTTP/1.1", headers, request.encode()))

    def _ask_directly(self, headers: dict[str, str], body: bytes) -> http.Message:
        with http.prepared(socket.create_connection(self.address)) as connection:
            headers = {"host": "localhost", "connection": "close", **headers}
            connection.sendall(http.encode("POST / HTTP/1.1", headers, body))
            return http.receive(connection)

    def _ask_by_event(self, event: bytes) -> http.Message:
        polling = self._polling
        assert polling, "asked before it was ready"
        polling.sendall(_next_reply(event))
        # Some clients answer where they polled, others on a connection of its own.
        answering, answer = self._message()
        answering.sendall(http.encode("HTTP/1.1 202 Accepted", {}, b"{}"))
        self._poll()
        return answer

    def _poll(self) -> None:
        """Wait for `next`."""
        self._polling, message = self._message()
        assert message.target.endswith(NEXT), message

    def _message(self) -> tuple[socket.socket, http.Message]:
        """The next message, on whichever connection it comes, and that connection."""
        while True:
            sending = self._next_readable()
            try:
                return sending, http.receive(sending)
            except ConnectionError:
                self._connections.remove(sending)
                sending.close()

    def _next_readable(self) -> socket.socket:
        readable, _, _ = select.select([*self._connections, self._listener], [], [], http.TIMEOUT)
        if not readable:
            raise TimeoutError(f"{self._variant.name} sends nothing")
        if readable[0] is not self._listener:
            return readable[0]
        connection, _ = self._listener.accept()
        self._connections.add(http.prepared(connection))
        return connection

    def cpu(self) -> float:
        """CPU seconds so far, of the process and of every other one in its session."""
        return sum(proc.cpu_of(pid) for pid in proc.session(self._process.pid))

    def memory(self) -> float:
        """kB (1024 bytes) that are resident now, shared pages in parts, all processes."""
        return sum(proc.pss_of(pid) for pid in proc.session(self._process.pid))

    def peak_memory(self) -> float:
        """MB, as Lambda counts them (1024 × 1024): the most that was resident, all processes."""
        return sum(proc.peak_of(pid) for pid in proc.session(self._process.pid))


def _next_reply(event: bytes) -> bytes:
    """The answer to `next` that hands out an invocation with this event."""
    head = {
        "Content-Type": "application/json",
        "Lambda-Runtime-Aws-Request-Id": str(uuid.uuid4()),
        "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 600_000),
        "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:1:function:f:live",
        "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000;Sampled=0",
    }
    return http.encode("HTTP/1.1 200 OK", head, event)
