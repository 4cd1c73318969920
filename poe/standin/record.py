"""The callers that the stand-in for Poe accepts, and what they sent."""

from collections import deque
from collections.abc import Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi_poe.types import CostItem, QueryRequest

_REMEMBERED = 1000


@dataclass(frozen=True)
class BotCall:
    """A query that a bot was called with; `seconds` is time.monotonic() at its arrival."""

    bot: str
    query: "QueryRequest"
    seconds: float


@dataclass(frozen=True)
class Upload:
    name: str
    content_type: str
    url: str
    size: int


@dataclass(frozen=True)
class Cost:
    """A request to authorize or capture; `granted` is what was answered."""

    action: str
    bot_query_id: str
    items: "tuple[CostItem, ...]"
    granted: bool


@dataclass(frozen=True)
class Record:
    """What the stand-in was sent lately, oldest first."""

    calls: deque[BotCall] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    uploads: deque[Upload] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    costs: deque[Cost] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    settings_pushed: deque[dict[str, Any]] = field(
        default_factory=lambda: deque(maxlen=_REMEMBERED)
    )
    completions: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    reports: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


@dataclass(frozen=True)
class Keys:
    """`access`: the bots' own. `personal`: a person's, for direct access without a bot.
    `real`: a person's on Poe itself, with which calls go on to Poe's models."""

    access: Set[str]
    personal: str | None = None
    real: str | None = None

    def hidden(self, text: str) -> str:
        """`text` without any key that stands in it."""
        for key in sorted({*self.access, self.personal or "", self.real or ""}, reverse=True):
            text = text.replace(key, "…") if key else text
        return text

    def may_call(self, key: str) -> bool:
        return key in self.access or key == self.personal
