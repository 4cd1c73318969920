"""The local Lambda's limits, by the values that users meet."""

import os

import pytest

from local.aws_lambda import invocation
from local.aws_lambda.invocation import BufferedAnswer, Invocation
from local.aws_lambda.output import OutputPipe

pytestmark = pytest.mark.anyio

MB = 1024 * 1024


async def test_a_stream_has_200_mb_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "UNPACED", 200 * MB)
    streamed = Invocation("id", b"", "arn", "Root=1", BufferedAnswer())
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
