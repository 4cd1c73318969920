"""A function's execution environments: started when none is free, kept warm, ended when idle."""

import asyncio
from functools import partial
from pathlib import Path

from local.aws_lambda.config import FunctionConfig
from local.aws_lambda.environment import Environment
from local.aws_lambda.invocation import InitTimeout
from local.aws_lambda.isolation import Isolations
from local.aws_lambda.logs import LineSink
from local.aws_lambda.reaper import Reaper


class Environments:
    """Those that serve `config`, and those of an earlier one that still answer.

    config     what new environments run
    directory  takes each environment's /tmp; removed at the end
    on_line    gets each line of the function's log
    """

    def __init__(self, config: FunctionConfig, directory: Path, on_line: LineSink) -> None:
        self.config = config
        self._on_line = on_line
        self._reaper = Reaper(directory)
        self._isolations = Isolations(directory, on_line)
        self._all: list[Environment] = []
        self._idle: dict[Environment, asyncio.TimerHandle] = {}  # the one used last is the last
        self._busy: list[Environment] = []  # with room, perhaps
        self._starting: dict[Environment, asyncio.Task[Environment]] = {}  # for requests
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> tuple[int, ...]:
        """Their processes (each the leader of its group), the oldest first."""
        return tuple(each.pid for each in self._all if each.pid is not None)

    @property
    def some_are_idle(self) -> bool:
        return bool(self._idle) or any(each.has_room for each in self._busy)

    @property
    def full(self) -> bool:
        """Whether there are as many as the function may have."""
        current = [each for each in self._all if each.config is self.config]
        return len(current) >= self.config.max_environments

    def new(self, config: FunctionConfig | None = None) -> Environment:
        """One more, not started yet, but counted; of `config`, by default the current one."""
        config = config or self.config
        isolation = self._isolations.make(config)
        environment = Environment(config, isolation, self._reaper, self._on_line)
        self._all.append(environment)
        return environment

    async def start(self, environment: Environment, time_limit_s: float) -> None:
        """Raises InitError, and then the environment is gone."""
        try:
            await environment.start(time_limit_s)
        except BaseException:
            await self._stop(environment)
            raise
        if environment.config.concurrency > 1:
            self._busy.append(environment)

    def starting(self) -> Environment | None:
        """One that starts for other requests and has room for this one, too; None without any."""
        for environment in self._starting:
            current = environment.config is self.config
            if current and environment.reserved < environment.config.concurrency:
                environment.reserved += 1
                return environment
        return None

    def start_for_request(self) -> Environment:
        """Begin to start one more; see `start_of`."""
        environment = self.new()
        environment.reserved = 1
        self._starting[environment] = task = asyncio.create_task(self._start_twice(environment))
        task.add_done_callback(partial(self._has_started, environment))
        return environment

    def start_of(self, environment: Environment) -> asyncio.Task[Environment] | None:
        """Its start, if that is under way. Gives the environment that can take the request, which
        may be another one. Raises InitError. Others may wait for it, so it has to be shielded."""
        return self._starting.get(environment)

    async def _start_twice(self, environment: Environment) -> Environment:
        """As on AWS, an init that was too slow starts again within the function's own time."""
        try:
            await self.start(environment, environment.config.init_timeout_s)
            return environment
        except InitTimeout:
            another = self.new()
            await self.start(another, another.config.timeout_s)
            return another

    def _has_started(self, environment: Environment, task: asyncio.Task[Environment]) -> None:
        del self._starting[environment]
        if not task.cancelled():
            task.exception()  # seen: whoever waited for it may be gone

    async def warm(self) -> Environment | None:
        """One that has room, or the idle one that was used last; None without any."""
        for environment in self._busy:
            if environment.config is self.config and environment.has_room:
                environment.reserved += 1
                return environment
        while self._idle:
            environment, timer = self._idle.popitem()
            timer.cancel()
            if environment.alive:
                environment.reserved += 1
                if environment.config.concurrency > 1:
                    self._busy.append(environment)
                return environment
            await self._stop(environment)
        return None

    def release(self, environment: Environment) -> None:
        """Keep it warm for the next request; end one that nothing will come to."""
        if environment.running:
            return  # others use it
        if environment in self._busy:
            self._busy.remove(environment)
        if environment not in self._all:
            return  # another one's end was its end
        if not environment.alive or environment.config is not self.config:
            self._end(environment)
            return
        loop = asyncio.get_running_loop()
        self._idle[environment] = loop.call_later(
            environment.config.idle_s, self._expire, environment
        )

    async def replace(self, config: FunctionConfig) -> None:
        """New ones run `config`. Ends idle ones; the others end when they are released."""
        self.config = config
        for timer in self._idle.values():
            timer.cancel()
        idle, self._idle = list(self._idle), {}
        await self._stop(*idle)

    async def close(self) -> None:
        """End all of them, once no request is under way."""
        for timer in self._idle.values():
            timer.cancel()
        for task in self._starting.values():
            task.cancel()
        await asyncio.gather(*self._starting.values(), *self._ends, return_exceptions=True)
        await self._stop(*self._all)
        self._reaper.close()

    def _expire(self, environment: Environment) -> None:
        del self._idle[environment]
        self._end(environment)

    def _end(self, environment: Environment) -> None:
        task = asyncio.get_running_loop().create_task(self._stop(environment))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _stop(self, *environments: Environment) -> None:
        self._all = [each for each in self._all if each not in environments]
        await asyncio.gather(*(each.stop() for each in environments))
