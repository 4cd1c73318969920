import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sse_starlette.event import ServerSentEvent

from handler.app import tally
from handler.app.tally import count, warn_of_limits
from handler.log.record import Tally


def counted(*events):
    found = Tally()
    for event in events:
        count(found, event)
    return found


@given(st.text(), st.sampled_from(["text", "replace_response"]), st.booleans())
def test_characters_are_those_of_the_text_however_it_is_escaped(text, kind, ascii_alone):
    data = json.dumps({"text": text}, ensure_ascii=ascii_alone)
    assert counted(ServerSentEvent(data, event=kind)).characters == len(text)


@pytest.mark.parametrize(
    "data", [None, 7, "", "x", "{", "\\", "[]", '{"text": 1}\\', '{"t": "a\\n"}', "[\\" * 9999]
)
def test_data_that_is_not_a_text_of_poes_has_no_characters(data):
    found = counted(ServerSentEvent(data, event="text"))
    assert (found.events, found.characters) == (1, 0)


def test_errors_the_end_and_the_first_events_time_are_kept():
    error, done = ServerSentEvent("{}", event="error"), ServerSentEvent("{}", event="done")
    first = counted(7)  # whatever a bot yields
    assert (first.events, first.errors, first.done) == (1, 0, False)
    assert first.first_event > 0
    found = counted(7, error, error, done)
    assert (found.events, found.errors, found.done) == (4, 2, True)


@pytest.mark.parametrize(
    ("events", "characters", "warnings"), [(2, 10, 0), (3, 10, 1), (2, 11, 1), (0, 0, 0)]
)
def test_an_answer_past_poes_limits_is_warned_of(monkeypatch, caplog, events, characters, warnings):
    monkeypatch.setattr(tally, "MOST_EVENTS", 2)
    monkeypatch.setattr(tally, "MOST_CHARACTERS", 10)
    found = Tally()
    found.events, found.characters = events, characters
    with caplog.at_level(logging.WARNING):
        warn_of_limits(found)
    assert len(caplog.records) == warnings
