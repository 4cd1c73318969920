"""Whether an answer streamed, from nothing but the times at which its parts arrived. Pure.

A server that buffers an answer sends it in one go: head, first byte and last event come together,
as close as the network allows. An answer whose last event came well after its first byte cannot
have been buffered. The reverse proves less: a quick answer comes together, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from poe.check.finding import Finding, Verdict, duration, failed, passed, unproved
from poe.client.turn import DONE, PING, Turn

# A buffered answer reaches a client within this time from first byte to last (two slow round
# trips), and through a slow network at this many bytes a second.
TOGETHER = 0.25  # seconds
SLOW_NETWORK = 50_000

# To be called buffered, an answer has to take so long and have so many events.
MADE_FOR = 0.5  # seconds
MADE_OF = 3

# Events that arrive closer to each other count as one burst.
BURST = 0.005  # seconds
# No user sees that an event waited for so long.
UNSEEN = 0.25  # seconds

# Events that are produced at an even pace and then arrive in one burst were held on the way, if as
# many arrive as are produced at that pace in the pause; a bot that was thinking produced none.
HELD = 1.0  # seconds of a pause, at least
HELD_EVENTS = 5  # at least, in one go
PACED_EVENTS = 5  # at least, each alone, to know the pace

LONGER = "add TEXT='Tell a long story' to the command for a longer answer"


@dataclass(frozen=True)
class Arrivals:
    """When the parts of one answer came, in seconds after the request.

    head      status and headers
    first     the first byte of the body, be it a comment line
    events    each event but pings; `done`, if it came, is the last
    parts     those events that carry an answer: neither `meta` nor `done`
    size      of the events, in bytes (about)
    overhead  what a warm request takes that the bot answers at once
    """

    head: float
    first: float
    events: tuple[float, ...]
    parts: tuple[float, ...]
    size: int
    overhead: float

    @classmethod
    def of(cls, turn: Turn, overhead: float) -> "Arrivals | None":
        """None where nothing of an answer came."""
        events = [event for event in turn.events if event.name != PING]
        if turn.head_seconds is None or turn.first_response_seconds is None or not events:
            return None
        return cls(
            turn.head_seconds,
            turn.first_response_seconds,
            tuple(event.seconds for event in events),
            tuple(event.seconds for event in events if event.name not in ("meta", DONE)),
            sum(len(event.name) + len(event.data.encode()) for event in events),
            overhead,
        )

    @property
    def span(self) -> float:
        return self.events[-1] - self.first

    @property
    def made_for(self) -> float:
        """For how long the client waited for a body."""
        return self.first - self.overhead

    @property
    def came_together(self) -> bool:
        return self.span < TOGETHER + self.size / SLOW_NETWORK


def streams(arrivals: Arrivals) -> Finding:
    """Passes only for an answer that can't have been buffered; fails only for one that was produced
    for a while, of several events, and came in one go, its head included."""
    count = f"{len(arrivals.parts)} event{'' if len(arrivals.parts) == 1 else 's'}"
    if not arrivals.came_together:
        return passed(
            f"first byte after {duration(arrivals.first)}, {count}, the last "
            f"{duration(arrivals.span)} later"
        )
    came = f"{count} came within {duration(arrivals.span)}, {duration(arrivals.first)} after"
    if len(arrivals.parts) < MADE_OF or arrivals.made_for < MADE_FOR:
        return unproved(f"{came} the question, too little or too quick to tell: {LONGER}")
    if arrivals.first - arrivals.head > TOGETHER:
        return unproved(f"{came} the question, but the head came earlier: {LONGER}")
    return failed(
        f"{came} the question, with the head: the answer is buffered before it is sent (a buffered "
        "handler or URL, or a proxy that buffers)"
    )


def lateness(arrivals: Arrivals) -> Finding:
    """How long an event can have been held back. One that arrived in a burst can have been produced
    at any time since the arrival before; one that came alone is taken to have been sent at once."""
    parts = arrivals.parts
    if len(parts) < 2:
        return unproved(f"too few events to tell ({len(parts)}): {LONGER}")
    groups = _groups(parts)
    before = (arrivals.head, *(group[-1] for group in groups))
    pauses = [group[0] - last for last, group in zip(before, groups, strict=False)]
    held = [pause for pause, group in zip(pauses, groups, strict=True) if len(group) > 1]
    if not held:
        apart = duration(max(pauses[1:]))
        return passed(f"{len(parts)} events, each alone, {apart} apart at most")
    together = f"{sum(len(group) for group in groups if len(group) > 1)} of {len(parts)} events"
    if streams(arrivals).verdict is Verdict.FAIL:
        return failed(f"{together} arrived in a burst, up to {duration(arrivals.made_for)} late")
    if caught_up := _caught_up(groups):
        return failed(
            f"{together} arrived in a burst, after {duration(caught_up)} without any and as many as"
            " are produced in that time: something on the way held them back"
        )
    if max(held) <= UNSEEN:
        return passed(f"{together} arrived in a burst, {duration(max(held))} late at most")
    return unproved(
        f"{together} arrived in a burst, after up to {duration(max(held))} without any: the bot "
        "sent them so, or something on the way held them back"
    )


def _caught_up(groups: Sequence[Sequence[float]]) -> float:
    """The longest pause whose burst catches up with the pace of the events that came alone, in
    seconds; 0 without one."""
    steps = [(after[0] - before[-1], len(after)) for before, after in pairwise(groups)]
    alone = [pause for pause, count in steps if count == 1]
    if len(alone) < PACED_EVENTS:
        return 0.0
    pace = median(alone)
    if sum(_near(pause, pace) for pause in alone) < 0.75 * len(alone):
        return 0.0
    return max(
        (
            pause
            for pause, count in steps
            if pause >= HELD and count >= HELD_EVENTS and _near(count * pace, pause)
        ),
        default=0.0,
    )


def _near(one: float, other: float) -> bool:
    return other / 1.5 <= one <= other * 1.5


def _groups(times: tuple[float, ...]) -> list[list[float]]:
    """Arrivals that are closer than BURST to the one before, put together."""
    groups = [[times[0]]]
    for time in times[1:]:
        if time - groups[-1][-1] < BURST:
            groups[-1].append(time)
        else:
            groups.append([time])
    return groups
