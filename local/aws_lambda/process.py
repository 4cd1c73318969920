"""The process of an execution environment, and whatever it starts: one process group."""

import asyncio
import os
import signal
from contextlib import suppress

from local.aws_lambda.config import FunctionConfig, command
from local.aws_lambda.invocation import InitError
from local.aws_lambda.isolation import Isolation
from local.aws_lambda.memory import MemoryWatch
from local.aws_lambda.output import OutputPipe
from local.aws_lambda.reaper import Reaper


class Process:
    """A process that has been started, with its memory watched. Create one with `start`.

    pid     leads the process group
    exited  done with the return code, negative where a signal ended it
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        config: FunctionConfig,
        isolation: Isolation,
        reaper: Reaper,
    ) -> None:
        self.pid = process.pid
        self.exited: asyncio.Task[int] = asyncio.create_task(process.wait())
        self._reaper = reaper
        self._freezes = config.freeze and config.concurrency == 1  # an instance never stands still
        self._killed = False
        self._memory = MemoryWatch(self.pid, config.memory_mb, isolation.cgroups, self.kill)
        self._memory.active.set()
        self._watch = asyncio.create_task(self._memory.run())

    @classmethod
    async def start(
        cls,
        config: FunctionConfig,
        variables: dict[str, str],
        isolation: Isolation,
        output: OutputPipe,
        reaper: Reaper,
    ) -> "Process":
        """Start the function of `config` with `variables` as its environment. Raises InitError."""
        words = command(config)
        try:
            process = await asyncio.create_subprocess_exec(
                *isolation.prefix,
                *words,
                env=variables,
                cwd=config.package,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.write_end,
                stderr=output.write_end,
                start_new_session=True,  # a group to signal, out of reach of the terminal's Ctrl-C
            )
        except OSError as error:
            message = f"{words[0]}: {error.strerror}"
            raise InitError("Runtime.InvalidEntrypoint", message) from None
        reaper.watch(process.pid)
        output.started()
        return cls(process, config, isolation, reaper)

    @property
    def alive(self) -> bool:
        return not self.exited.done()

    @property
    def out_of_memory(self) -> bool:
        return self._memory.exceeded

    @property
    def max_memory_mb(self) -> int:
        return self._memory.max_mb

    def freeze(self) -> None:
        self._memory.active.clear()
        if self._freezes:
            self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._memory.active.set()
        if self._freezes:
            self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to the whole group, frozen or not; Lambda is as abrupt."""
        if not self._killed:
            self._signal(signal.SIGKILL)
        self._killed = True  # the number may be another's later

    async def stop(self) -> None:
        """Kill the group, and return when its leader is gone."""
        self.kill()
        self._watch.cancel()
        await asyncio.wait({self.exited})
        self._reaper.forget(self.pid)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
