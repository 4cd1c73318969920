"""What the arrival times of an answer prove, and what they leave open."""

import pytest

from poe.check.finding import Verdict
from poe.check.streaming import Arrivals, lateness, streams
from poe.client.turn import Event, TurnBuilder


def arrivals(
    *parts: float, head: float, first: float | None = None, overhead: float = 0.02
) -> Arrivals:
    """`done` comes right after the last part."""
    done = parts[-1] + 0.001
    return Arrivals(head, first or parts[0], (*parts, done), parts, 20 * len(parts), overhead)


def burst(at: float, count: int) -> list[float]:
    return [at + number * 0.0005 for number in range(count)]


def paced(pace: float, count: int) -> list[float]:
    return [pace * number for number in range(1, count + 1)]


STREAMED = arrivals(*(0.1 * number for number in range(1, 20)), head=0.02)
BUFFERED = arrivals(*burst(1.5, 10), head=1.499)


@pytest.mark.parametrize(
    ("times", "verdict"),
    [
        (STREAMED, Verdict.PASS),
        (arrivals(0.1, 0.5, head=0.09), Verdict.PASS),  # few, but a pause between them
        (BUFFERED, Verdict.FAIL),
        # Too quick, or too little, to tell.
        (arrivals(*burst(0.03, 10), head=0.029), Verdict.UNPROVED),
        (arrivals(*burst(0.4, 10), head=0.399), Verdict.UNPROVED),
        (arrivals(3.0, head=2.999), Verdict.UNPROVED),
        (arrivals(*burst(3.0, 2), head=2.999), Verdict.UNPROVED),
        # Far away: what takes so long is the way, not the making.
        (arrivals(*burst(1.0, 10), head=0.999, overhead=0.9), Verdict.UNPROVED),
        # The head came at once, so that it is the bot that thought and then spoke in one go.
        (arrivals(*burst(3.0, 10), head=0.03), Verdict.UNPROVED),
        # A comment line came at once: bytes pass before the answer's end.
        (arrivals(*burst(3.0, 10), head=0.03, first=0.031), Verdict.PASS),
    ],
)
def test_streaming_is_proved_by_arrival_times(times: Arrivals, verdict: Verdict) -> None:
    assert streams(times).verdict is verdict


def test_a_buffered_answer_that_takes_a_slow_network_a_while_has_not_streamed() -> None:
    parts = burst(1.5, 1000)
    size = 60_000
    slow = Arrivals(1.499, 1.499, (*parts, 2.5), tuple(parts), size, 0.02)
    assert streams(slow).verdict is Verdict.FAIL
    assert streams(Arrivals(1.499, 1.499, (*parts, 4.5), tuple(parts), size, 0.02)).verdict is (
        Verdict.PASS
    )


@pytest.mark.parametrize(
    ("times", "verdict", "figure"),
    [
        (STREAMED, Verdict.PASS, "19 events, each alone, 100 ms apart at most"),
        (
            arrivals(*paced(0.02, 40), head=0.02),
            Verdict.PASS,
            "40 events, each alone, 20 ms apart at most",
        ),
        (BUFFERED, Verdict.FAIL, "10 of 10 events arrived in a burst, up to 1.48 s late"),
        (arrivals(0.1, head=0.02), Verdict.UNPROVED, "too few events to tell (1)"),
        (
            arrivals(0.1, 0.2, *burst(0.3, 4), 0.5, head=0.02),
            Verdict.PASS,
            "4 of 7 events arrived in a burst, 100 ms late at most",
        ),
        # As through a proxy that holds 4 KB at a time.
        (
            arrivals(*burst(1, 50), *burst(2, 50), *burst(3, 50), head=0.02),
            Verdict.UNPROVED,
            "150 of 150 events arrived in a burst, after up to 980 ms without any",
        ),
        # Held once: the burst makes up for the pause.
        (
            arrivals(*paced(0.1, 8), *burst(2.1, 13), *(2.1 + n for n in paced(0.1, 9)), head=0.02),
            Verdict.FAIL,
            "13 of 30 events arrived in a burst, after 1.30 s without any",
        ),
        (arrivals(*paced(0.1, 8), *burst(2.1, 13), head=0.02), Verdict.FAIL, "held them back"),
        # A bot that thinks, and then says a paragraph, a few replies, or goes on as before.
        (
            arrivals(*paced(0.1, 8), *burst(3.8, 6), head=0.02),
            Verdict.UNPROVED,
            "6 of 14 events arrived in a burst",
        ),
        (arrivals(*paced(0.02, 50), *burst(3, 3), head=0.02), Verdict.UNPROVED, "3 of 53 events"),
        (
            arrivals(*paced(0.1, 8), *(3 + n for n in paced(0.1, 9)), head=0.02),
            Verdict.PASS,
            "17 events, each alone, 2.30 s apart at most",
        ),
        # No pace, no telling.
        (
            arrivals(0.1, 0.2, 1.0, 1.1, 3.0, 3.1, *burst(4.5, 6), head=0.02),
            Verdict.UNPROVED,
            "6 of 12 events arrived in a burst",
        ),
    ],
)
def test_what_comes_in_company_may_be_late(times: Arrivals, verdict: Verdict, figure: str) -> None:
    finding = lateness(times)
    assert (finding.verdict, figure in finding.figure) == (verdict, True), finding


def test_arrivals_are_those_of_the_turn_without_pings() -> None:
    builder = TurnBuilder(head_seconds=0.1, first_response_seconds=0.2)
    for seconds, name in enumerate(("meta", "ping", "text", "text", "done"), start=1):
        builder.take(Event(name, '{"text": "é"}', seconds))
    found = Arrivals.of(builder.finish(5), overhead=0.3)
    assert found == Arrivals(0.1, 0.2, (1, 3, 4, 5), (3, 4), 72, 0.3)
    assert Arrivals.of(TurnBuilder().finish(5), overhead=0) is None
