"""What the chat page knows of the run behind it: whether the bot starts, runs or is broken."""

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    STARTING = "starting"
    """Built and started, for the first time or after a change."""
    READY = "ready"
    BROKEN = "broken"
    """The last change doesn't start, for `reason`."""


@dataclass
class RunState:
    """`run` names this run, and `starts` counts the bot's starts in it: a page that sees another
    value asks for the bot's settings again."""

    run: str = field(default_factory=lambda: secrets.token_hex(8))
    phase: Phase = Phase.STARTING
    reason: str = ""
    starts: int = 0

    def starting(self) -> None:
        self._enter(Phase.STARTING)

    def ready(self) -> None:
        self.starts += 1
        self._enter(Phase.READY)

    def broken(self, reason: str) -> None:
        """`reason` as the terminal has it; it may have several lines."""
        self._enter(Phase.BROKEN, reason)

    def _enter(self, phase: Phase, reason: str = "") -> None:
        self.phase, self.reason = phase, reason

    def as_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "phase": self.phase,
            "reason": self.reason,
            "starts": self.starts,
        }
