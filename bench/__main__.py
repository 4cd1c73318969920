"""`make bench`: measures everything in one run, for bench/results.md and bench/results.svg."""

import argparse
import itertools
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import picture, results
from bench.behind import BehindLocalLambda
from bench.measure import ROUNDS, Figure, cold, compare, concurrent, held, many, warm
from bench.results import Report, Row
from bench.variants import Variants, built, node, zip_size

HERE = Path(__file__).parent
ONE_EVENT = "1 0"
EVENTS = "200 0"
SLOW_EVENTS = "100 0.005"
PACED_EVENTS = "50 0.01"
AT_ONCE = 64
LONG, LONGEST = 100_000, 1_000_000  # bytes of earlier messages
MEMORIES = (256, 512, 1024, 1769)  # MB

Figures = dict[str, Figure]

RIC = "awslambdaric + Mangum, no secret"
UVICORN = "uvicorn"


def main() -> None:
    options = _parse()
    if sys.platform != "linux":
        sys.exit("error: `make bench` needs Linux: it reads CPU and memory of processes in /proc")
    started = time.time()
    with tempfile.TemporaryDirectory() as directory, built(Path(directory)) as variants:
        report = Report(
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
            f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d', time.gmtime())}, "
            f"medians of {options.rounds} rounds"
        )
        for name in options.parts or PARTS:
            _say(f"{name} …")
            PARTS[name](variants, options.rounds, report)
    if options.write or not options.parts:
        _write(report, is_whole=not options.parts)
    _say(f"{time.time() - started:.0f} s")
    print(results.markdown(report))


def _write(report: Report, is_whole: bool) -> None:
    """Put what was measured into the files. Unless it is the whole, the rest stays as it is."""
    file, text = HERE / "results.md", results.markdown(report)
    file.write_text(text if is_whole else results.merged(file.read_text("utf-8"), text), "utf-8")
    if report.peers:
        (HERE / "results.svg").write_text(picture.svg(report), "utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", action="store_true", help="put these parts into the files")
    names = "|".join(PARTS)
    parser.add_argument("parts", nargs="*", metavar=names, help="these alone, writing no file")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"unknown part {', '.join(sorted(unknown))}: use {names}")
    return options


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _targets(variants: Variants, rounds: int, report: Report) -> None:
    rows = (_cold_rows, _warm_rows, _other_rows)
    for row in itertools.chain.from_iterable(each(variants, rounds) for each in rows):
        _say(f"  {row.what}: {row.result}")
        report.targets.append(row)


def _cold_rows(variants: Variants, rounds: int) -> Iterator[Row]:
    ours, buffered = variants.ours(), variants.buffered()
    found = compare(partial(cold, ours), partial(cold, buffered), rounds)
    yield Row("cold start: process start to first `next`", RIC, found["start"], 0.75)
    yield Row("– its CPU", RIC, found["start_cpu"], None)
    yield Row("cold start and first event", RIC, found["first_answer"], 0.70)
    yield Row("– its CPU", RIC, found["first_answer_cpu"], None)
    try:
        found = compare(partial(cold, ours, 512), partial(cold, buffered, 512), rounds)
    except LookupError as error:
        _say(f"  512 MB's share of the CPU: {error}")
        return
    yield Row("cold start with the CPU of 512 MB", RIC, found["start"], 0.75)
    yield Row("– and first event", RIC, found["first_answer"], None)


def _warm_rows(variants: Variants, rounds: int) -> Iterator[Row]:
    ours, floor, uvicorn = variants.ours(), variants.floor(), variants.uvicorn()

    def against_uvicorn(question: str, asks: int) -> tuple[Figures, Figures]:
        reference = partial(warm, uvicorn, question, asks)
        found, least = (
            compare(partial(warm, each, question, asks), reference, rounds)
            for each in (ours, floor)
        )
        return found, least

    found, least = against_uvicorn(ONE_EVENT, 15)
    yield _row("warm: time to first event", found, least, "first_event", 0.8)
    found, least = against_uvicorn(EVENTS, 15)
    yield _row("warm: 200 events without pauses, time", found, least, "total", 0.6)
    yield _row("– CPU", found, least, "cpu", 0.5)
    memory = found["memory"]
    found, least = against_uvicorn(SLOW_EVENTS, 2)
    yield _row("warm: 5 ms between events, CPU", found, least, "cpu", 0.65)
    yield Row("peak memory (MB), key fetched, warm", UVICORN, memory, 45, is_absolute=True)


def _row(what: str, found: Figures, least: Figures, measure: str, target: float) -> Row:
    return Row(what, UVICORN, found[measure], target, floor=least[measure])


def _other_rows(variants: Variants, rounds: int) -> Iterator[Row]:
    reference = partial(concurrent, variants.uvicorn(), 64, EVENTS)
    found, least = (
        compare(partial(concurrent, each, 64, EVENTS), reference, rounds)
        for each in (variants.ours_under_uvicorn(), variants.floor_under_uvicorn())
    )
    what = "64 conversations at once, `handler.asgi:app` under uvicorn, CPU"
    under = "`make_app`'s app under uvicorn"
    yield Row(what, under, found["cpu"], 0.7, floor=least["cpu"])
    size = zip_size(variants.package) / 1e6
    figure = Figure(size, size, 1, 1, 1)
    yield Row("zip, .pyc included (million bytes)", "", figure, 5.5, is_absolute=True)


def _many(variants: Variants, rounds: int, report: Report) -> None:
    for row in itertools.chain(_burst_rows(variants, rounds), _held_rows(variants, rounds)):
        _say(f"  {row.what}: {row.result}")
        report.many.append(row)


def _burst_rows(variants: Variants, rounds: int) -> Iterator[Row]:
    ours, floor = variants.ours_in_slots(AT_ONCE), variants.floor_in_slots(AT_ONCE)
    reference = partial(many, variants.uvicorn(), AT_ONCE, PACED_EVENTS)
    found, least = (
        compare(partial(many, each, AT_ONCE, PACED_EVENTS), reference, rounds)
        for each in (ours, floor)
    )
    yield _row("50 events each, 10 ms apart: CPU of an event", found, least, "cpu", 0.62)
    yield _row("– first event, median", found, least, "first_event", 0.5)
    last = found["first_event_99"]
    yield Row("– first event, 99th percentile (ms)", UVICORN, last * 1000, 60, is_absolute=True)
    behind = variants.behind_local_lambda(AT_ONCE)
    found = compare(
        partial(many, behind, AT_ONCE, PACED_EVENTS, kind=BehindLocalLambda), reference, rounds
    )
    yield Row("– CPU of an event, behind the local Lambda", UVICORN, found["cpu"], 0.62)
    alone = partial(many, variants.ours_in_slots(1), 1, PACED_EVENTS)
    found = compare(partial(many, ours, AT_ONCE, PACED_EVENTS), alone, rounds)
    yield Row("– CPU of an event, against one at a time", "this project", found["cpu"], 0.2)
    found = compare(
        partial(many, ours, AT_ONCE, ONE_EVENT, LONGEST),
        partial(many, variants.uvicorn(), AT_ONCE, ONE_EVENT, LONGEST),
        rounds,
    )
    yield Row("after 1 MB of earlier messages: first event", UVICORN, found["first_event"], 1)


def _held_rows(variants: Variants, rounds: int) -> Iterator[Row]:
    rounds = rounds // 2 + 1  # memory differs little from round to round
    ours, uvicorn = variants.ours_in_slots(AT_ONCE), variants.uvicorn()
    for history, after, target in ((0, "", 80), (LONG, " after 100 kB of earlier messages", 300)):
        found = compare(
            partial(held, ours, AT_ONCE, history), partial(held, uvicorn, AT_ONCE, history), rounds
        )
        what = f"memory of a further conversation{after} (kB)"
        yield Row(what, UVICORN, found["memory"], target, is_absolute=True)


def _peers(variants: Variants, rounds: int, report: Report) -> None:
    found_node = node()
    peers = {
        "this project": variants.ours(),
        "awslambdaric + Mangum (buffered)": variants.buffered(),
        "– with the key by boto3": variants.buffered_boto3(),
        "uvicorn behind a proxy": variants.uvicorn_behind_a_proxy(),
    }
    if isinstance(found_node, str):
        report.notes["peers"] = f"Node's runtime client: not measured, {found_node}."
    else:
        peers["Node's client, plain stream, no framework"] = found_node
    reference = variants.uvicorn()
    for name, variant in peers.items():
        _say(f"  {name}")
        figures = compare(partial(cold, variant), partial(cold, reference), rounds)
        many, one = (
            compare(partial(warm, variant, asked, 10), partial(warm, reference, asked, 10), rounds)
            for asked in (EVENTS, ONE_EVENT)
        )
        report.peers[name] = figures | many | {"first_event": one["first_event"]}


def _curve(variants: Variants, rounds: int, report: Report) -> None:
    ours, buffered = variants.ours(), variants.buffered_boto3()
    for memory in MEMORIES:
        try:
            figures = compare(partial(cold, ours, memory), partial(cold, buffered, memory), rounds)
        except LookupError as error:
            report.notes["curve"] = f"Not measured: {error}."
            return
        _say(f"  {memory} MB: {figures['first_answer'].value:.2f} s")
        report.curve[memory] = figures["first_answer"]


PARTS = {"targets": _targets, "many": _many, "peers": _peers, "curve": _curve}


if __name__ == "__main__":
    main()
