"""A soak: many conversations at once, environments killed at random, nothing else lost.

    .venv/bin/python -m bench.soak [--minutes 20]

Every request whose environment was not killed has to be answered completely and in order, and an
environment's memory must not grow with its requests. Linux: memory is read from /proc.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import Target
from infra.toolchain.pythons import runtime_python
from local.aws_lambda.service import FunctionConfig, LocalLambda, Outcome

KEY = "k" * 32
WORDS = 20
CONVERSATIONS = 10
MEMORY_REQUESTS = (500, 5_000)
MEMORY_GROWTH = 1.05

BOT = f"""
import asyncio
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        pause = float(request.query[-1].content)
        for number in range({WORDS}):
            yield fp.PartialResponse(text=f"{{number}} ")
            await asyncio.sleep(pause)

bot = Bot()
"""

EXPECTED = b":\r\n\r\n" + b"".join(
    b'event: text\r\ndata: {"text": "%d "}\r\n\r\n' % number for number in range(WORDS)
) + b"event: done\r\ndata: {}\r\n\r\n"  # fmt: skip


@dataclass
class Result:
    """What became of the requests. `killed`: their environment was; `lost`: no such excuse."""

    answered: int = 0
    killed: int = 0
    lost: list[str] = field(default_factory=list)
    kills: int = 0


@contextmanager
def soak_package() -> Iterator[Path]:
    """The real package with a bot that counts."""
    with tempfile.TemporaryDirectory() as folder:
        bot = Path(folder, "bot")
        bot.mkdir()
        (bot / "bot.py").write_text(BOT)
        yield build(BotFolder.at(str(bot)), Target.here(), Path(folder, "package"))


def function(package: Path, environments: int) -> LocalLambda:
    config = FunctionConfig(
        package,
        runtime_python(),
        environment={"POE_ACCESS_KEY": KEY},
        max_environments=environments,
    )
    return LocalLambda(config, on_line=lambda line: None)


async def ask(http: httpx.AsyncClient, url: str, pause: float) -> tuple[str, bytes]:
    """(request id, body); the body is short if the answer was cut."""
    query = {
        "type": "query",
        "version": "1.2",
        "query": [{"role": "user", "content": str(pause)}],
        "user_id": "u",
        "conversation_id": "c",
        "message_id": "m",
    }
    headers = {"Authorization": f"Bearer {KEY}"}
    body = b""
    async with http.stream("POST", url, json=query, headers=headers) as response:
        with suppress(httpx.RemoteProtocolError):
            async for piece in response.aiter_raw():
                body += piece
    return response.headers["x-amzn-requestid"], body


async def soak(package: Path, seconds: float) -> Result:
    """`CONVERSATIONS` at once for `seconds`, one environment killed each second."""
    result, until = Result(), time.monotonic() + seconds
    async with (
        function(package, CONVERSATIONS * 2) as service,
        httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as http,
    ):

        async def converse() -> None:
            while time.monotonic() < until:
                request_id, body = await ask(http, service.url, random.choice([0, 0.002, 0.02]))
                if body == EXPECTED:
                    result.answered += 1
                    continue
                await service.settled()
                [record] = [each for each in service.records if each.id == request_id]
                if record.outcome in (Outcome.EXIT, Outcome.INIT_ERROR):
                    result.killed += 1
                else:
                    result.lost.append(f"{record.outcome.value}: {len(body)} bytes")

        async def kill() -> None:
            while True:
                await asyncio.sleep(1)
                if service.pids:
                    with suppress(ProcessLookupError):
                        os.kill(random.choice(service.pids), signal.SIGKILL)
                        result.kills += 1

        killer = asyncio.create_task(kill())
        await asyncio.gather(*(converse() for _ in range(CONVERSATIONS)))
        killer.cancel()
    return result


async def memory(package: Path) -> dict[int, float]:
    """An environment's resident memory in MB after each of `MEMORY_REQUESTS` requests."""
    seen = {}
    async with function(package, 1) as service, httpx.AsyncClient(timeout=60) as http:
        for number in range(1, MEMORY_REQUESTS[-1] + 1):
            _, body = await ask(http, service.url, 0)
            assert body == EXPECTED
            if number in MEMORY_REQUESTS:
                [pid] = service.pids
                seen[number] = resident_mb(pid)
    return seen


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    minutes = parser.parse_args().minutes
    with soak_package() as package:
        seen = asyncio.run(memory(package))
        result = asyncio.run(soak(package, minutes * 60))
    first, last = (seen[number] for number in MEMORY_REQUESTS)
    print(
        f"{result.answered} answers whole and in order, {result.kills} environments killed, "
        f"{result.killed} requests with them, {len(result.lost)} lost otherwise\n"
        f"memory: {first:.1f} MB after {MEMORY_REQUESTS[0]} requests, "
        f"{last:.1f} MB after {MEMORY_REQUESTS[-1]} ({last / first:.3f})"
    )
    return int(bool(result.lost) or last > first * MEMORY_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
