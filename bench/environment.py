"""One process of each kind, started and asked, with its times and CPU.

Lambda's side is a Runtime API that does nothing else: blocking sockets in this process, so that
what is measured is the process behind it. (`local/` serves as AWS does, which costs more than the
difference between two variants.)
"""

import json
import os
import select
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench import http

NEXT = "/2018-06-01/runtime/invocation/next"


@dataclass(frozen=True)
class Answer:
    """Seconds since the question; CPU of the process and its children until the next question."""

    first_event: float
    total: float
    cpu: float


@dataclass(frozen=True)
class Variant:
    """How a process is started: command, folder and variables."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    is_web_server: bool = False  # it gets a listening socket as its input, not a Runtime API


class Process:
    """A started variant. Entered, it is ready for questions; left, it and its children are gone."""

    def __init__(self, variant: Variant, prefix: Sequence[str] = ()) -> None:
        self._variant, self._prefix = variant, prefix
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._connections: set[socket.socket] = set()  # open ones: clients keep them for later
        self._polling: socket.socket | None = None  # where `next` waits for its answer
        self.ready = 0.0  # seconds from the start to readiness
        self.ready_cpu = 0.0

    def __enter__(self) -> Self:
        host, port = self._listener.getsockname()
        environment = dict(self._variant.environment)
        if not self._variant.is_web_server:
            environment["AWS_LAMBDA_RUNTIME_API"] = f"{host}:{port}"
        self.started_at = time.perf_counter()
        self._process = subprocess.Popen(
            [*self._prefix, *self._variant.command],
            cwd=self._variant.folder,
            env=environment,
            stdin=self._listener.fileno() if self._variant.is_web_server else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
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

    def ask(self, question: str, key: str) -> Answer:
        """Send one query; wait for its answer and until the process is ready for another one."""
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        cpu = self.cpu()
        asked_at = time.perf_counter()
        if self._variant.is_web_server:
            message = self._ask_directly(headers, _query(question).encode())
        else:
            message = self._ask_by_event(_event(headers, _query(question)))
        assert message.first_event_at, message.body[:300]
        return Answer(
            message.first_event_at - asked_at, message.end_at - asked_at, self.cpu() - cpu
        )

    def ask_many(self, question: str, key: str, count: int) -> float:
        """`count` conversations at once, of a web server. Gives its CPU for all of them, in s."""
        cpu = self.cpu()
        headers = {"host": "localhost", "connection": "close", "authorization": f"Bearer {key}"}
        headers["content-type"] = "application/json"
        request = http.encode("POST / HTTP/1.1", headers, _query(question).encode())
        address = self._listener.getsockname()
        connections = [http.prepared(socket.create_connection(address)) for _ in range(count)]
        for connection in connections:
            connection.sendall(request)
        http.drain(connections)
        return self.cpu() - cpu

    def _ask_directly(self, headers: dict[str, str], body: bytes) -> http.Message:
        with http.prepared(socket.create_connection(self._listener.getsockname())) as connection:
            headers = {"host": "localhost", "connection": "close", **headers}
            connection.sendall(http.encode("POST / HTTP/1.1", headers, body))
            return http.receive(connection)

    def _ask_by_event(self, event: bytes) -> http.Message:
        polling = self._polling
        assert polling, "asked before it was ready"
        head = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": str(uuid.uuid4()),
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 600_000),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:1:function:f:live",
            "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000;Sampled=0",
        }
        polling.sendall(http.encode("HTTP/1.1 200 OK", head, event))
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
        return sum(_cpu_of(pid) for pid in _session(self._process.pid))

    def peak_memory(self) -> float:
        """MB, as Lambda counts them (1024 × 1024): the most that was resident, all processes."""
        return sum(_peak_of(pid) for pid in _session(self._process.pid))


def _query(question: str) -> str:
    return json.dumps(
        {
            "version": "1.2",
            "type": "query",
            "query": [{"role": "user", "content": question, "content_type": "text/markdown"}],
            "user_id": "u-1",
            "conversation_id": "c-1",
            "message_id": "m-1",
            "metadata": "",
        }
    )


def _event(headers: dict[str, str], body: str) -> bytes:
    """A Function URL's (payload 2.0)."""
    return json.dumps(
        {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/",
            "rawQueryString": "",
            "headers": {"host": "x.lambda-url.eu-west-1.on.aws", **headers},
            "requestContext": {
                "http": {
                    "method": "POST",
                    "path": "/",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.1",
                    "userAgent": "bench",
                },
                "requestId": str(uuid.uuid4()),
                "routeKey": "$default",
                "stage": "$default",
            },
            "isBase64Encoded": False,
            "body": body,
        }
    ).encode()


def _session(leader: int) -> list[int]:
    """The processes of a session. Source: proc(5), stat, field 6."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[3] == str(leader):
                pids.append(int(stat.parent.name))
    return pids


def _cpu_of(pid: int) -> float:
    # clock_getcpuclockid(3), which Python doesn't offer: the clock of a process, to the nanosecond.
    with suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def _peak_of(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0
