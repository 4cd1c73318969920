"""The peers as one picture, for docs/performance.md: SVG by hand, for light and dark pages."""

from html import escape

from bench.measure import Figure
from bench.results import Report

PANELS = {
    "first_answer": "Cold, to first event",
    "first_event": "Warm, to first event",
    "cpu": "CPU for 200 events",
    "memory": "Peak memory",
}
REFERENCE = "uvicorn, no Lambda"
LABELS, PANEL, GAP, BAR, ROW, TOP = 275, 150, 14, 14, 24, 46  # pixels
OURS, OTHERS, INK = "#1f883d", "#9aa4b2", "#777"
WIDEST = 3.0  # times uvicorn: a longer bar is cut, its figure is not


def svg(report: Report) -> str:
    """Bars for each measure and peer, as multiples of uvicorn's."""
    one = Figure(1, 1, 1, 1, 1)
    rows = {**report.peers, REFERENCE: dict.fromkeys(PANELS, one)}
    width = LABELS + len(PANELS) * (PANEL + GAP)
    height = TOP + len(rows) * ROW + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">'
    ]
    for column, title in enumerate(PANELS.values()):
        lines.append(_text(_left(column), TOP - 16, title, weight="bold"))
    for number, (name, figures) in enumerate(rows.items()):
        lines += _row(TOP + number * ROW, name, figures, OTHERS if number else OURS)
    caption = "uvicorn = 1; shorter is better. Measured by `make bench`, see bench/results.md."
    lines += [_text(0, height - 8, caption), "</svg>"]
    return "\n".join(lines) + "\n"


def _row(top: int, name: str, figures: dict[str, Figure], colour: str) -> list[str]:
    lines = [_text(0, top + BAR - 3, name)]
    for column, measure in enumerate(PANELS):
        ratio = figures[measure].ratio
        length = round(min(ratio, WIDEST) / WIDEST * (PANEL - 34))
        left = _left(column)
        lines.append(
            f'<rect x="{left}" y="{top}" width="{length}" height="{BAR}" fill="{colour}"/>'
        )
        lines.append(_text(left + length + 4, top + BAR - 3, f"{ratio:.2f}"))
    return lines


def _left(column: int) -> int:
    return LABELS + column * (PANEL + GAP)


def _text(x: int, y: int, text: str, weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" font-weight="{weight}">{escape(text)}</text>'
