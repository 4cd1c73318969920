"""What was measured, as the tables of bench/results.md."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from bench.measure import Figure

PEER_MEASURES = {
    "first_answer": "start to first event",
    "first_event": "warm, first event",
    "total": "warm, 200 events",
    "cpu": "CPU of 200 events",
    "memory": "peak memory",
}


@dataclass(frozen=True)
class Row:
    """A figure and its target: a ratio, or the value itself where `is_absolute`.

    `floor` is what no host can go below, against the same reference.
    """

    what: str
    reference: str
    figure: Figure
    target: float | None
    is_absolute: bool = False
    floor: Figure | None = None

    @property
    def measured(self) -> float:
        return self.figure.value if self.is_absolute else self.figure.ratio

    @property
    def result(self) -> str:
        if self.is_absolute:
            return f"{self.measured:.1f}"
        return f"{self.measured:.2f} × ({self.figure.low:.2f}–{self.figure.high:.2f})"

    @property
    def wanted(self) -> str:
        if self.target is None:
            return ""
        verdict = "✓" if round(self.measured, 2) <= self.target else "✗"
        return f"≤ {self.target:g}{'' if self.is_absolute else ' ×'} {verdict}"


@dataclass
class Report:
    """Everything of one run. `peers`: by name, each measure against uvicorn's; `curve`: from start
    to first event by memory size in MB, against awslambdaric, Mangum and boto3."""

    machine: str
    targets: list[Row] = field(default_factory=list)
    many: list[Row] = field(default_factory=list)
    peers: dict[str, dict[str, Figure]] = field(default_factory=dict)
    curve: dict[int, Figure] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)  # by section: what is missing from it


def markdown(report: Report) -> str:
    parts = [
        "# Measured by `make bench`",
        "Each row is two processes in turns, one against one; a ratio is the median of the rounds' "
        "ratios, with their quartiles. Times differ from machine to machine and from Lambda's, "
        "ratios much less.\n\n"
        "*At least*: the bot without a host, which is fastapi_poe's `handle_query` and a write for "
        "each event ([floor.py](peers/floor.py)). What a host adds can be saved, this cannot; on a "
        "machine with slow system calls it is most of the time.",
        *(f"## {title}\n\n{report.machine}.\n\n{text}" for title, text in _sections(report)),
    ]
    return "\n\n".join(parts) + "\n"


def _sections(report: Report) -> Iterator[tuple[str, str]]:
    """Titles and texts of what was measured."""
    targets, many, peers, curve = TITLES
    if report.targets:
        yield targets, _table(_TARGETS, map(_target_cells, report.targets))
    if report.many:
        yield many, f"{MANY}\n\n{_table(_TARGETS, map(_target_cells, report.many))}"
    if report.peers:
        header = ("uvicorn = 1", *PEER_MEASURES.values())
        rows = [_peer_cells(name, found) for name, found in report.peers.items()]
        yield peers, _table(header, rows) + _note(report, "peers")
    if report.curve or "curve" in report.notes:
        rows = [_curve_cells(memory, found) for memory, found in report.curve.items()]
        yield curve, _table(_CURVE, rows) + _note(report, "curve")


def _note(report: Report, section: str) -> str:
    return f"\n\n{report.notes[section]}" if section in report.notes else ""


def merged(old: str, new: str) -> str:
    """The sections of `new`, and those of `old` that it doesn't have."""
    head, *fresh = new.rstrip().split("\n## ")
    _, *kept = old.rstrip().split("\n## ")
    parts = {part.partition("\n")[0]: part.rstrip() for part in (*kept, *fresh)}
    ordered = [parts[title] for title in TITLES if title in parts]
    return "\n\n## ".join([head.rstrip(), *ordered]) + "\n"


TITLES = (
    "Against the targets",
    "64 conversations at once",
    "The same bot, hosted in other ways",
    "From start to first event, by memory size",
)
MANY = (
    "In one process, as on Managed Instances, and as many in one uvicorn. All ask in one moment; "
    "of the memory, the first conversation's isn't counted."
)
_TARGETS = (
    "what",
    "reference",
    "measured",
    "reference's value",
    "ratio (quartiles)",
    "at least",
    "target",
)
_CURVE = ("memory, with its share of the CPU", "this project", "awslambdaric + Mangum + boto3")


def _target_cells(row: Row) -> Sequence[str]:
    figure = row.figure
    if row.is_absolute:
        other = f"{figure.reference:.1f}" if row.reference else ""
        return row.what, row.reference, f"{figure.value:.1f}", other, "", "", row.wanted
    times = (_time(figure.value), _time(figure.reference))
    floor = f"{row.floor.ratio:.2f} ×" if row.floor else ""
    return row.what, row.reference, *times, row.result, floor, row.wanted


def _peer_cells(name: str, figures: dict[str, Figure]) -> Sequence[str]:
    return name, *(f"{figures[measure].ratio:.2f}" for measure in PEER_MEASURES)


def _curve_cells(memory: int, figure: Figure) -> Sequence[str]:
    return f"{memory:,} MB", _time(figure.value), _time(figure.reference)


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
