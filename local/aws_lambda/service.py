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
from dataclasses import replace
from pathlib import Path
from typing import Self

from local.aws_lambda.config import FunctionConfig
from local.aws_lambda.credentials import CredentialsEndpoint
from local.aws_lambda.environment import Environment
from local.aws_lambda.environments import Environments
from local.aws_lambda.event import new_trace_id
from local.aws_lambda.function_url import FunctionUrl, InvokeMode
from local.aws_lambda.invocation import (
    BufferedAnswer,
    FunctionError,
    InitError,
    Invocation,
    InvocationRecord,
    Outcome,
    Responder,
)
from local.aws_lambda.logs import LineSink

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

        package, python = Path("build/package-3.13-x86_64"), Path("/usr/bin/python3.13")
        async with LocalLambda(FunctionConfig(package, python), port=9000) as function:
            await function.warm()
            async with httpx.AsyncClient() as client:
                reply = await client.get(function.url)

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
        self._credentials: CredentialsEndpoint | None = None
        self._runs: dict[asyncio.Task[None], Environment] = {}

    async def __aenter__(self) -> Self:
        port = await self._function_url.start(*self._address)
        self.url = f"http://{self._address[0]}:{port}/"
        if self.config.snapstart:
            self._credentials = CredentialsEndpoint(self.config.environment)
            environment = {**self.config.environment, **await self._credentials.start()}
            self.config = replace(self.config, environment=environment)
        self.directory = Path(tempfile.mkdtemp(prefix="local-lambda-"))
        self._environments = Environments(self.config, self.directory, self._on_line)
        return self

    async def __aexit__(self, *exception: object) -> None:
        closing = asyncio.ensure_future(self._close())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing  # it takes milliseconds, and half of it would leave sockets open
            raise

    async def _close(self) -> None:
        runs = list(self._runs)
        for run in runs:
            run.cancel()
        await self._function_url.close()
        await asyncio.gather(*runs, return_exceptions=True)
        await self._environments.close()
        if self._credentials:
            await self._credentials.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """The environments' processes (each the leader of its group), the oldest first."""
        return self._environments.pids

    async def warm(self, config: FunctionConfig | None = None) -> None:
        """Start one environment, which serves the next request. With a `config`, all requests from
        then on are served by that one. Raises InitError, and then nothing has changed."""
        config = config or self.config
        environment = self._environments.new(config)
        await self._environments.start(environment, config.init_timeout_s)
        if config is not self.config:
            await self.replace(config)
        self._environments.release(environment)

    async def replace(self, config: FunctionConfig) -> None:
        """Serve new requests by `config`; requests that are under way finish as they began."""
        self.config = config
        await self._environments.replace(config)

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
            await asyncio.wait(self._runs)

    def _invoke_mode(self) -> InvokeMode:
        return self.config.invoke_mode

    async def _invoke(
        self, request_id: str, event: bytes, trace_id: str, responder: Responder
    ) -> bool:
        """Run the function and return when it has answered; False if all environments are busy."""
        environment = await self._warm_environment() or self._environments.starting()
        if environment is None:
            if self._environments.full:
                self.records.append(InvocationRecord(request_id, Outcome.THROTTLED))
                return False
            environment = self._environments.start_for_request()
        trace_id = f"{trace_id};Parent={secrets.token_hex(8)};Sampled=0"
        invocation = Invocation(request_id, event, self.config.arn, trace_id, responder)
        start = self._environments.start_of(environment)
        # A task of its own: a client that goes away ends its connection, never the invocation.
        run = asyncio.create_task(self._run(invocation, environment, start))
        self._runs[run] = environment
        run.add_done_callback(self._runs.pop)
        answered = asyncio.ensure_future(invocation.answered.wait())
        try:
            await asyncio.wait({answered, run}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answered.cancel()
        return True

    async def _warm_environment(self) -> Environment | None:
        """One that is free; where one has answered already, wait a moment for it."""
        finishing = [run for run, environment in self._runs.items() if environment.answered]
        if not self._environments.some_are_idle and finishing:
            await asyncio.wait(
                finishing, timeout=_NEARLY_FREE_S, return_when=asyncio.FIRST_COMPLETED
            )
        return await self._environments.warm()

    async def _run(
        self,
        invocation: Invocation,
        environment: Environment,
        start: asyncio.Task[Environment] | None,
    ) -> None:
        """One invocation, from when its environment is ready, to that one's release."""
        try:
            if start:
                environment = await asyncio.shield(start)
            self.records.append(await environment.run(invocation))
        except InitError as error:
            await invocation.fail(FunctionError.of(error.error_type, error.message))
            self.records.append(
                InvocationRecord(invocation.id, Outcome.INIT_ERROR, error=invocation.error)
            )
        self._environments.release(environment)
