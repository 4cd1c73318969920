"""A function behind the local Lambda's Function URL, asked as a web server is."""

import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import replace

from bench import http, proc
from bench.environment import Process, Variant

READY = "local Lambda: "  # what it prints then
IDLE_AGAIN = 0.1  # seconds after an answer: its log line and the call of `next` count as well


class BehindLocalLambda(Process):
    """`variant`: `python -m local.aws_lambda` without its port. The CPU is the function's alone."""

    stdout = subprocess.PIPE

    def __init__(self, variant: Variant) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        command = [sys.executable, *variant.command, "--port", str(self._port)]
        self._log: threading.Thread | None = None  # reads it away
        super().__init__(replace(variant, command=command))

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def _wait_until_ready(self) -> None:
        output = self._process.stdout
        assert output
        if not any(line.startswith(READY) for line in output):
            raise RuntimeError("the local Lambda doesn't start")
        self._log = threading.Thread(target=deque, args=(output, 0), daemon=True)
        self._log.start()

    def _stop(self) -> None:
        super()._stop()
        if self._log:
            self._log.join(http.TIMEOUT)
        if self._process.stdout:
            self._process.stdout.close()

    def cpu(self) -> float:
        time.sleep(IDLE_AGAIN)
        return sum(proc.cpu_of(pid) for pid in proc.running(self._process.pid, "handler"))
