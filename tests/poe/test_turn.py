"""Poe's limits on one answer, by the values of its protocol; and what it makes of the events."""

import json

import pytest

from poe.client.turn import POE_LIMITS, Event, TurnBuilder

DONE = Event("done", "{}", 1)


def text(words: str) -> Event:
    return Event("text", json.dumps({"text": words}), 1)


def turn_of(*events: Event):
    builder = TurnBuilder()
    for event in events:
        if not builder.take(event):
            break
    return builder.finish(1)


def test_poe_waits_5_s_for_a_first_response_and_600_s_for_the_whole():
    assert (POE_LIMITS.first_response_seconds, POE_LIMITS.total_seconds) == (5, 600)


@pytest.mark.parametrize(("count", "broken"), [(9_999, ()), (10_000, ("more than 10,000 events",))])
def test_an_answer_has_10_000_events_at_most_with_its_done(count, broken):
    assert turn_of(*[text("x")] * count, DONE).broken == broken


@pytest.mark.parametrize(
    ("characters", "broken"),
    [(100_000, ()), (100_001, ("more than 100,000 characters of text, with what was replaced",))],
)
def test_an_answer_has_100_000_characters_at_most(characters, broken):
    assert turn_of(text("x" * characters), DONE).broken == broken


def test_replaced_text_counts_although_it_is_not_shown():
    replacing = Event("replace_response", json.dumps({"text": "y" * 60_000}), 1)
    turn = turn_of(text("x" * 60_000), replacing, DONE)
    assert turn.broken == ("more than 100,000 characters of text, with what was replaced",)


def test_the_first_error_is_the_answers():
    errors = [Event("error", json.dumps({"text": words}), 1) for words in ("first", "second")]
    assert turn_of(*errors, DONE).error == "first"
