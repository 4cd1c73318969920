"""Samples of one variant and its reference, taken in turns, and their ratios.

One against one: a round of many variants evicts everybody's caches and doubles first events.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.environment import Process, Variant
from bench.questions import query
from bench.variants import KEY
from local.aws_lambda.cgroups import Cgroups

Sample = Mapping[str, float]
Take = Callable[[], Sample]

ROUNDS = 9  # at least: medians of fewer move too much
WARM_UP = 6
BURSTS = 3
HELD = "2 0.7"  # seconds between an answer's two events
_names = itertools.count()


@dataclass(frozen=True)
class Figure:
    """One measure of a variant and of its reference. `low` and `high`: the ratio's quartiles."""

    value: float
    reference: float
    ratio: float
    low: float
    high: float

    def __mul__(self, factor: float) -> "Figure":
        """In another unit."""
        return replace(self, value=self.value * factor, reference=self.reference * factor)

    @classmethod
    def of(cls, values: Sequence[float], references: Sequence[float]) -> "Figure":
        """From paired samples: what slows both rounds of a pair cancels out."""
        ratios = [value / other for value, other in zip(values, references, strict=True)]
        low, ratio, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(statistics.median(values), statistics.median(references), ratio, low, high)


def compare(variant: Take, reference: Take, rounds: int = ROUNDS) -> dict[str, Figure]:
    """Every measure of the two, taken in turns; who goes first changes from round to round."""
    taken: tuple[list[Sample], list[Sample]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            taken[which].append((variant, reference)[which]())
    return {
        name: Figure.of([each[name] for each in taken[0]], [each[name] for each in taken[1]])
        for name in taken[0][0]
        if all(each[name] for each in taken[1])
    }


def cold(variant: Variant, memory_mb: int | None = None) -> Sample:
    """A start, and the first question. Times in seconds. `memory_mb`: with its share of the CPU;
    raises `LookupError` where this machine can't give one."""
    cgroups = Cgroups()
    if memory_mb:
        cgroups = Cgroups.create(f"bench-{next(_names)}", memory_mb, ["cpu"])
        if cgroups.cpu is None:
            raise LookupError("no writable cgroups")
    try:
        with Process(variant, cgroups.prefix) as process:
            answer = process.ask("1 0", KEY)
            return {
                "start": process.ready,
                "start_cpu": process.ready_cpu,
                "first_answer": process.ready + answer.first_event,
                "first_answer_cpu": process.ready_cpu + answer.cpu,
            }
    finally:
        cgroups.remove()


def warm(variant: Variant, question: str, asks: int) -> Sample:
    """Medians of one process's answers, once it has given some. Seconds, and MB at the most."""
    with Process(variant) as process:
        for _ in range(WARM_UP):
            process.ask("200 0", KEY)
        answers = [process.ask(question, KEY) for _ in range(asks)]
        return {
            "first_event": statistics.median(each.first_event for each in answers),
            "total": statistics.median(each.total for each in answers),
            "cpu": statistics.median(each.cpu for each in answers),
            "memory": process.peak_memory(),
        }


def concurrent(variant: Variant, conversations: int, question: str) -> Sample:
    """CPU seconds of a web server for that many conversations at once."""
    with Process(variant) as process:
        _warm_up_many(process)
        return {"cpu": process.ask_many(query(question), KEY, conversations).cpu}


def many(
    variant: Variant,
    conversations: int,
    question: str,
    history: int = 0,
    kind: type[Process] = Process,
) -> Sample:
    """Of a process that is warm, with that many conversations at once, `BURSTS` times: CPU seconds
    for an event, and seconds to a first event, the median and the 99th percentile."""
    with kind(variant) as process:
        _warm_up_many(process)
        asked = query(question, history)
        bursts = [process.ask_many(asked, KEY, conversations) for _ in range(BURSTS)]
    first_events = sorted(itertools.chain.from_iterable(each.first_events for each in bursts))
    return {
        "cpu": sum(each.cpu for each in bursts) / sum(each.events for each in bursts),
        "first_event": statistics.median(first_events),
        "first_event_99": first_events[math.ceil(len(first_events) * 0.99) - 1],
    }


def held(variant: Variant, conversations: int, history: int = 0) -> Sample:
    """kB of memory that each conversation takes beyond the first one while all are in their midst;
    in a process that had a few before, one at a time."""
    asked, seen = query(HELD, history), []
    with Process(variant) as process:
        _warm_up_many(process)
        for count in (1, conversations):
            process.ask_many(asked, KEY, count, lambda: seen.append(process.memory()))
    one, all_of_them = seen
    return {"memory": (all_of_them - one) / (conversations - 1)}


def _warm_up_many(process: Process) -> None:
    for _ in range(WARM_UP):
        process.ask_many(query("200 0"), KEY, 1)
