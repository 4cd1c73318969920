"""What a function writes: stdout and stderr through one pipe, line by line."""

import asyncio
import os
from contextlib import suppress

from local.aws_lambda.logs import LineSink

_READ_SIZE = 65536
_LINE_LIMIT = 1 << 20  # bytes, as CloudWatch has it; a longer line comes in pieces


class OutputPipe:
    """Reads a pipe as soon as it has something, and on demand.

    All that a process wrote before its call of `next` is in the pipe by then: `drain` brings it
    out before END is written.
    """

    def __init__(self, on_line: LineSink) -> None:
        self._on_line = on_line
        self._rest = b""
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        asyncio.get_running_loop().add_reader(self._read_end, self._read)
        self._open = True
        self._writable = True

    def started(self) -> None:
        """The process has its copy of the write end: give up ours, so that its end is seen."""
        if self._writable:
            self._writable = False
            os.close(self.write_end)

    def drain(self) -> None:
        """Pass on everything that has been written by now."""
        while self._open and self._read():
            pass

    def close(self) -> None:
        """Pass on what is left, an unfinished line too."""
        self.drain()
        self.started()
        self._close_read_end()
        if self._rest:
            self._emit(self._rest)
            self._rest = b""

    def _read(self) -> bool:
        """Read once; whether there was something."""
        data = b""
        with suppress(BlockingIOError):
            data = os.read(self._read_end, _READ_SIZE)
            if not data:
                self._close_read_end()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._emit(line)
        if len(self._rest) > _LINE_LIMIT:
            self._emit(self._rest)
            self._rest = b""
        return bool(data)

    def _close_read_end(self) -> None:
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._read_end)
            os.close(self._read_end)

    def _emit(self, line: bytes) -> None:
        self._on_line(line.removesuffix(b"\r").decode(errors="replace"))
