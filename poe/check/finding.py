"""The result for one promise: whether it is kept, and the figure that shows it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNPROVED = "unproved"


@dataclass(frozen=True)
class Finding:
    verdict: Verdict
    figure: str  # one line


def passed(figure: str) -> Finding:
    return Finding(Verdict.PASS, figure)


def failed(figure: str) -> Finding:
    return Finding(Verdict.FAIL, figure)


def unproved(figure: str) -> Finding:
    return Finding(Verdict.UNPROVED, figure)


def duration(seconds: float) -> str:
    """In the unit that reads well: "34 ms", "1.52 s"."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
