"""The local Lambda's limits, by the values that users meet."""

import asyncio
import os
import sys

import pytest

from local.aws_lambda import invocation
from local.aws_lambda.invocation import BufferedAnswer, Invocation
from local.aws_lambda.memory import MemoryWatch
from local.aws_lambda.output import OutputPipe

pytestmark = pytest.mark.anyio

MB = 1024 * 1024


class Nowhere(BufferedAnswer):
    async def write(self, data: bytes) -> None:
        """Two hundred megabytes need not be kept."""


async def test_a_stream_has_200_mb_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "UNPACED", 200 * MB)
    streamed = Invocation("id", b"", "arn", "Root=1", Nowhere())
    for _ in range(200):
        await streamed.write(bytes(MB))
    assert streamed.error is None
    await streamed.write(b"x")
    assert streamed.error
    assert streamed.error.type == "Function.ResponseSizeTooLarge"


async def test_a_line_of_the_log_has_a_megabyte_at_most() -> None:
    lines: list[str] = []
    pipe = OutputPipe(lines.append)
    sent = 0
    while sent < 2 * MB + 1:  # in pieces that a pipe holds
        sent += os.write(pipe.write_end, b"x" * 32_768)
        pipe.drain()
    pipe.close()
    assert sum(len(line) for line in lines) == sent
    assert max(len(line) for line in lines) <= MB + 65_536  # what one read brings


class WithoutMemory:
    """Cgroups where the kernel doesn't keep the limit."""

    memory = None
    ran_out_of_memory = False


@pytest.mark.parametrize(("limit_mb", "exceeded"), [(40, True), (400, False)])
async def test_memory_is_watched_where_the_kernel_does_not_limit_it(limit_mb, exceeded) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "held = bytearray(60 << 20); print(flush=True); input()"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    await process.stdout.readline()
    watch = MemoryWatch(process.pid, limit_mb, WithoutMemory(), process.kill)  # type: ignore
    watch.active.set()
    watching = asyncio.create_task(watch.run())
    await asyncio.wait({watching}, timeout=0.5)
    assert watching.done() is watch.exceeded is exceeded
    watching.cancel()
    await process.communicate(b"\n")  # it ends by itself unless it was ended
    assert (process.returncode == 0) is not exceeded
