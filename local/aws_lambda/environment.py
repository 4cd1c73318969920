"""One execution environment: a process (group), its Runtime API, its logs and its limits."""

import asyncio
import time
from collections.abc import Coroutine

from local.aws_lambda.config import VERSION, FunctionConfig, lambda_environment
from local.aws_lambda.invocation import (
    FunctionError,
    InitError,
    InitTimeout,
    Invocation,
    InvocationRecord,
    Outcome,
)
from local.aws_lambda.isolation import Isolation
from local.aws_lambda.logs import (
    LineSink,
    Phase,
    end_line,
    exit_message,
    report_line,
    restore_start_line,
    start_line,
    start_report_line,
    timeout_message,
)
from local.aws_lambda.output import OutputPipe
from local.aws_lambda.process import Process
from local.aws_lambda.reaper import Reaper
from local.aws_lambda.runtime_api import RuntimeApi

# How long a process may take to end by itself once it has posted `init/error`, in seconds.
_EXIT_GRACE_S = 1.0

_RESTORE_S = 10  # Lambda's limit, hooks included
_STANDSTILL_S = 0.2  # where Lambda would take a snapshot

# How long it may take from its first `next` to as many as it has slots, in seconds.
_SLOTS_S = 0.5


class Environment:
    """Starts a function's process, hands it invocations, and ends it."""

    def __init__(
        self, config: FunctionConfig, isolation: Isolation, reaper: Reaper, on_line: LineSink
    ) -> None:
        self.config = config
        self.running: list[Invocation] = []
        self.reserved = 0  # invocations that are about to be handed over
        self._isolation = isolation
        self._reaper = reaper
        self._on_line = on_line
        self._api = RuntimeApi(
            private=config.wrapper is not None,
            snapstart=config.snapstart,
            concurrency=config.concurrency,
        )
        self._output = OutputPipe(on_line)
        self._process: Process | None = None
        self._start_ms: float | None = None  # of the init or, under SnapStart, of the restore
        self._stop: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def answered(self) -> bool:
        """Whether a running invocation has its answer, so that `next` is to be expected."""
        return any(invocation.answered.is_set() for invocation in self.running)

    @property
    def has_room(self) -> bool:
        """Whether another invocation could be handed over right now."""
        return self.alive and self._api.free > self.reserved

    async def start(self, time_limit_s: float) -> None:
        """Run the init, to the first `next`. Raises InitError, and leaves nothing running."""
        if self.config.snapstart:
            await self._timed("init", self._init(self.config.snapshot_init_s))
            await asyncio.sleep(_STANDSTILL_S)
            await self._timed("restore", self._restore())
        else:
            await self._timed("init", self._init(time_limit_s))

    async def _timed(self, phase: Phase, start: Coroutine[None, None, None]) -> None:
        """Raises InitError, and leaves nothing running."""
        started = time.monotonic()
        try:
            await start
        except BaseException as error:
            self._output.drain()
            if isinstance(error, InitError):
                error_type = None if isinstance(error, InitTimeout) else error.error_type
                ms = (time.monotonic() - started) * 1000
                self._on_line(start_report_line(phase, ms, error_type))
            await self.stop()
            raise
        self._start_ms = (time.monotonic() - started) * 1000
        self._output.drain()
        self._started.freeze()

    async def run(self, invocation: Invocation) -> InvocationRecord:
        """Hand over an invocation and see it to its end: `next`, an exit, or the deadline.

        If the environment did not survive (see `alive`), it has been stopped.
        """
        self.reserved = max(0, self.reserved - 1)
        self.running.append(invocation)
        self._on_line(start_line(invocation.id, VERSION))
        started = time.monotonic()
        invocation.deadline_ms = int((time.time() + self.config.timeout_s) * 1000)
        over = self._api.dispatch(invocation)
        self._started.thaw()
        await self._wait_or_exit(over, self.config.timeout_s)
        duration_ms = (time.monotonic() - started) * 1000
        outcome = await self._conclude(invocation, over.done())
        self.running.remove(invocation)
        return self._report(invocation, outcome, duration_ms)

    async def stop(self) -> None:
        """Kill the processes and release what the environment holds."""
        if self._stop is None:  # else another invocation of its own has begun to
            self._stop = asyncio.create_task(self._release_everything())
        await asyncio.shield(self._stop)

    async def _release_everything(self) -> None:
        if self._process is not None:
            await self._process.stop()
        await self._api.close()  # when nothing is left that connects to it
        self._output.close()
        await asyncio.to_thread(self._isolation.remove)

    async def _spawn(self) -> None:
        self._isolation.prepare()
        for directory in self._isolation.cgroups.directories:
            self._reaper.watch_cgroup(directory)
        api = await self._api.start()
        stream = f"{time.strftime('%Y/%m/%d')}/[{VERSION}]{self._isolation.name}"
        variables = lambda_environment(self.config, api, stream, self._isolation.tmpdir)
        self._process = await Process.start(
            self.config, variables, self._isolation, self._output, self._reaper
        )

    async def _init(self, time_limit_s: float) -> None:
        await self._spawn()
        await self._reach("init", time_limit_s)

    async def _restore(self) -> None:
        self._on_line(restore_start_line(self.config))
        self._api.restore()
        self._started.thaw()
        await self._reach("restore", _RESTORE_S)

    async def _reach(self, phase: Phase, time_limit_s: float) -> None:
        """The end of the phase. Raises InitError."""
        ready, exited = self._api.initialised, self._started.exited
        await self._wait_or_exit(ready, time_limit_s)
        if ready.done():
            if ready.exception() is not None:
                await asyncio.wait({exited}, timeout=_EXIT_GRACE_S)
            ready.result()
            await self._all_slots()
        elif exited.done():
            raise InitError(*self._exit_error(exited.result()))
        else:
            message = f"the {phase} took longer than {time_limit_s:g} seconds"
            raise InitTimeout("Sandbox.Timeout", message)

    async def _all_slots(self) -> None:
        """The init is over at the first `next`; the others follow within a moment."""
        until = time.monotonic() + _SLOTS_S
        while self._api.free < self.config.concurrency and time.monotonic() < until:
            await asyncio.sleep(0.005)

    async def _conclude(self, invocation: Invocation, survived: bool) -> Outcome:
        """What it came to; ends an environment that did not come back for more."""
        self._output.drain()
        if survived:
            return Outcome.DONE if invocation.error is None else Outcome.FUNCTION_ERROR
        exited = self._started.exited
        outcome, error = (
            Outcome.TIMEOUT,
            ("Sandbox.Timeout", timeout_message(invocation.id, self.config.timeout_s)),
        )
        if exited.done():
            outcome = Outcome.OUT_OF_MEMORY if self._started.out_of_memory else Outcome.EXIT
            error_type, message = self._exit_error(exited.result())
            error = error_type, f"RequestId: {invocation.id} Error: {message}"
        if exited.done() or self.config.concurrency == 1:
            await self.stop()
        else:
            self._api.time_out(invocation)  # the process goes on: it has others
        self._on_line(error[1])
        if outcome is not Outcome.TIMEOUT:
            self._on_line(error[0])
        await invocation.fail(FunctionError.of(*error))
        invocation.answered.set()
        return outcome

    def _report(
        self, invocation: Invocation, outcome: Outcome, duration_ms: float
    ) -> InvocationRecord:
        record = InvocationRecord(
            id=invocation.id,
            outcome=outcome,
            error=invocation.error,
            bytes_out=invocation.bytes_out,
            duration_ms=duration_ms,
            init_ms=None if self.config.snapstart else self._start_ms,
            restore_ms=self._start_ms if self.config.snapstart else None,
            max_memory_mb=self._started.max_memory_mb,
            pid=self.pid,
        )
        self._start_ms = None
        self._on_line(end_line(invocation.id))
        self._on_line(report_line(record, self.config.memory_mb))
        if self.alive and not self.running:
            self._started.freeze()
        return record

    def _exit_error(self, returncode: int) -> tuple[str, str]:
        error_type = "Runtime.OutOfMemory" if self._started.out_of_memory else "Runtime.ExitError"
        return error_type, exit_message(returncode)

    @property
    def _started(self) -> Process:
        assert self._process is not None, "the environment has not been started"
        return self._process

    async def _wait_or_exit(self, event: asyncio.Future[None], time_limit_s: float) -> None:
        either: set[asyncio.Future[None] | asyncio.Future[int]] = {event, self._started.exited}
        await asyncio.wait(either, timeout=time_limit_s, return_when=asyncio.FIRST_COMPLETED)
