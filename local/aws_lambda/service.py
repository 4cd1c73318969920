"""A local Lambda: one function behind a Function URL, in execution environments as Lambda has them.

As a program: `python -m local.aws_lambda PACKAGE` serves any package with a `bootstrap`, or with a
handler for awslambdaric.
"""

import asyncio
import secrets
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Self

from local.aws_lambda.config import FunctionConfig
from local.aws_lambda.environment import Environment
from local.aws_lambda.event import new_trace_id
from local.aws_lambda.function_url import FunctionUrl, InvokeMode
from local.aws_lambda.invocation import (
    BufferedAnswer,
    FunctionError,
    InitError,
    InitTimeout,
    Invocation,
    InvocationRecord,
    Outcome,
    Responder,
)
from local.aws_lambda.isolation import Isolations
from local.aws_lambda.logs import LineSink
from local.aws_lambda.reaper import Reaper

__all__ = [
    "FunctionConfig",
    "FunctionError",
    "InitError",
    "InvocationRecord",
    "LocalLambda",
    "Outcome",
]

# An environment that has answered is about to ask for more: worth waiting for, in seconds, where
# AWS's own front end is no faster and another start would be a hundred times slower.
_NEARLY_FREE_S = 0.1

_RECORDS_KEPT = 1000


class LocalLambda:
    """One function behind a Function URL on this machine; what it started ends when it is left.

        config = FunctionConfig(package=Path("build/package-3.13-x86_64"), python=Path("python3"))
        async with LocalLambda(config, port=9000) as function:
            await function.warm()
            httpx.get(function.url)

    config    the package and its settings
    host      the Function URL's address; anything but loopback opens it to the network
    port      the Function URL's port; 0 takes a free one
    on_line   gets each line of the function's log, Lambda's START, END and REPORT included

    Entering raises OSError, with its errno, if the port is unavailable.
    """

    def __init__(
        self,
        config: FunctionConfig,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_line: LineSink = print,
    ) -> None:
        self.config = config
        self.url = ""
        self.directory = Path()
        """Holds each environment's /tmp; removed at the end."""
        self.records: deque[InvocationRecord] = deque(maxlen=_RECORDS_KEPT)
        """The last invocations, in the order of their ends."""
        self._address = (host, port)
        self._on_line = on_line
        self._function_url = FunctionUrl(self._invoke, self._invoke_mode)
        self._environments: list[Environment] = []
        self._idle: dict[Environment, asyncio.TimerHandle] = {}  # the one used last is the last
        self._runs: dict[Environment, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        port = await self._function_url.start(*self._address)
        self.url = f"http://{self._address[0]}:{port}/"
        self.directory = Path(tempfile.mkdtemp(prefix="local-lambda-"))
        self._reaper = Reaper(self.directory)
        self._isolations = Isolations(self.directory, self._on_line)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        closing = asyncio.ensure_future(self._close())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing  # it takes milliseconds, and half of it would leave sockets open
            raise

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._function_url.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stop(*self._environments)
        self._reaper.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """The environments' processes (each the leader of its group), the oldest first."""
        return tuple(each.pid for each in self._environments if each.pid is not None)

    async def warm(self) -> None:
        """Start one environment, which serves the next request. Raises InitError."""
        environment = self._new_environment()
        await self._start(environment, self.config.init_timeout_s)
        self._release(environment)

    async def replace(self, config: FunctionConfig) -> None:
        """Serve new requests by `config`; requests that are under way finish as they began."""
        self.config = config
        for timer in self._idle.values():
            timer.cancel()
        idle, self._idle = list(self._idle), {}
        await self._stop(*idle)

    async def invoke(self, payload: bytes) -> BufferedAnswer:
        """Run the function with any event, as `aws lambda invoke` does. `payload` is JSON.

        Returns when the function has answered; never raises for what the function does.
        """
        answer = BufferedAnswer()
        trace_id = new_trace_id(time.time())
        if not await self._invoke(str(uuid.uuid4()), payload, trace_id, answer):
            await answer.fail(FunctionError.of("TooManyRequestsException", "Rate Exceeded."))
        return answer

    async def settled(self) -> None:
        """Wait until every invocation under way is over and in `records`."""
        while self._runs:
            await asyncio.wait(self._runs.values())

    def _invoke_mode(self) -> InvokeMode:
        return self.config.invoke_mode

    async def _invoke(
        self, request_id: str, event: bytes, trace_id: str, responder: Responder
    ) -> bool:
        """Run the function and return when it has answered; False if all environments are busy."""
        environment = await self._free_environment()
        if environment is None:
            if self._is_full():
                self.records.append(InvocationRecord(request_id, Outcome.THROTTLED))
                return False
            environment = self._new_environment()
        trace_id = f"{trace_id};Parent={secrets.token_hex(8)};Sampled=0"
        invocation = Invocation(request_id, event, self.config.arn, trace_id, responder)
        # A task of its own: a client that goes away ends its connection, never the invocation.
        run = self._task(self._run(invocation, environment))
        self._runs[environment] = run
        answered = asyncio.ensure_future(invocation.answered.wait())
        try:
            await asyncio.wait({answered, run}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answered.cancel()
        return True

    async def _free_environment(self) -> Environment | None:
        """A warm environment; for one that has answered already, wait a moment."""
        finishing = {run for environment, run in self._runs.items() if environment.answered}
        if not self._idle and finishing:
            await asyncio.wait(
                finishing, timeout=_NEARLY_FREE_S, return_when=asyncio.FIRST_COMPLETED
            )
        while self._idle:
            environment, timer = self._idle.popitem()
            timer.cancel()
            if environment.alive:
                return environment
            await self._stop(environment)
        return None

    def _is_full(self) -> bool:
        current = [each for each in self._environments if each.config is self.config]
        return len(current) >= self.config.max_environments

    async def _run(self, invocation: Invocation, environment: Environment) -> None:
        """One invocation from the start of its environment, if need be, to that one's release."""
        try:
            if environment.pid is None:
                environment = await self._start_for_request(environment)
            self.records.append(await environment.run(invocation))
        except InitError as error:
            await invocation.fail(FunctionError.of(error.error_type, error.message))
            self.records.append(
                InvocationRecord(invocation.id, Outcome.INIT_ERROR, error=invocation.error)
            )
        finally:
            self._runs = {
                each: run for each, run in self._runs.items() if run is not asyncio.current_task()
            }
        self._release(environment)

    async def _start_for_request(self, environment: Environment) -> Environment:
        """As on AWS, an init that was too slow starts again within the function's own time."""
        try:
            await self._start(environment, environment.config.init_timeout_s)
        except InitTimeout:
            environment = self._new_environment()
            await self._start(environment, environment.config.timeout_s)
        return environment

    async def _start(self, environment: Environment, time_limit_s: float) -> None:
        try:
            await environment.start(time_limit_s)
        except BaseException:
            await self._stop(environment)
            raise

    def _new_environment(self) -> Environment:
        """One more environment, not started yet, but counted."""
        isolation = self._isolations.make(self.config)
        environment = Environment(self.config, isolation, self._reaper, self._on_line)
        self._environments.append(environment)
        return environment

    def _release(self, environment: Environment) -> None:
        """Keep a warm environment for the next request; end one that nothing will come to."""
        if not environment.alive or environment.config is not self.config:
            self._task(self._stop(environment))
            return
        loop = asyncio.get_running_loop()
        self._idle[environment] = loop.call_later(
            environment.config.idle_s, self._expire, environment
        )

    def _expire(self, environment: Environment) -> None:
        del self._idle[environment]
        self._task(self._stop(environment))

    async def _stop(self, *environments: Environment) -> None:
        self._environments = [each for each in self._environments if each not in environments]
        await asyncio.gather(*(each.stop() for each in environments))

    def _task(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
