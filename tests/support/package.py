"""The real package as Lambda starts it, with the variables that a test names and no other."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.runtime_api import Request, RuntimeAPIDouble

KEY = "k" * 32
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
SNAPSTART = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}


class Process:
    """A started package: its output, and the Runtime API that it talks to."""

    def __init__(self, process: asyncio.subprocess.Process, double: RuntimeAPIDouble) -> None:
        self._process = process
        self.double = double

    async def line(self) -> str:
        """The next line of its output."""
        assert self._process.stdout
        return (await asyncio.wait_for(self._process.stdout.readline(), 20)).decode().rstrip("\n")

    async def invoke(self, event: object) -> Request:
        return await self.double.invoke(event)

    async def end(self) -> tuple[int, list[dict[str, object]]]:
        """Wait for its exit: the status, and what it logged."""
        assert self._process.stdout
        output = await asyncio.wait_for(self._process.stdout.read(), 20)
        status = await asyncio.wait_for(self._process.wait(), 20)
        return status, [json.loads(line) for line in output.decode().splitlines()]


@asynccontextmanager
async def started(
    package: Path,
    python: Path,
    environment: Mapping[str, str] | None = None,
    prefix: str = "",
    concurrency: int = 1,
    *,
    snapstart: bool = False,
) -> AsyncIterator[Process]:
    """Start `bootstrap` with two arguments, as Lambda does; end it afterwards."""
    double = RuntimeAPIDouble(prefix, concurrency, snapstart=snapstart)
    async with double.serve() as address:
        process = await asyncio.create_subprocess_exec(
            package / "bootstrap",
            python,
            "/var/runtime/bootstrap.py",
            cwd="/",
            env={
                "AWS_LAMBDA_RUNTIME_API": address,
                "LAMBDA_TASK_ROOT": str(package),
                "_HANDLER": "handler.function.handler",
                "AWS_REGION": "eu-west-1",
                **(SNAPSTART if snapstart else KEYS),
                **({"POE_ACCESS_KEY": KEY} if environment is None else environment),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            yield Process(process, double)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            process._transport.close()  # type: ignore[attr-defined]  # or its pipe outlives the loop
