import json
import math

import pytest

from handler.log.metrics import UNITS, Outcome, Refusals, Report, Reporter

NOW = 1_795_406_706.789  # 2026-11-23T04:05:06.789Z

# Those of CloudWatch's MetricDatum that are in use.
CLOUDWATCH_UNITS = {"Count", "Milliseconds"}


def fields(outcome=Outcome.DONE, *, first_event=None, now=NOW, reporter=None, **more):
    """The line of a first invocation, or of a reporter's next one."""
    report = Report(outcome, 12.345, first_event, 456, True, **more)
    return (reporter or Reporter("my-bot")).fields(report, now)


def metrics(line):
    return {name: line[name] for name in UNITS if name in line}


def check_embedded_metric_format(line):
    """The rules of AWS, "Specification: Embedded metric format", one by one."""
    metadata = line["_aws"]
    assert isinstance(metadata["Timestamp"], int)
    assert 10**12 < metadata["Timestamp"] < 10**13  # milliseconds since the epoch
    for directive in metadata["CloudWatchMetrics"]:
        assert 1 <= len(directive["Namespace"]) <= 1024
        assert directive["Metrics"]
        assert len(directive["Metrics"]) <= 100
        for dimensions in directive["Dimensions"]:
            assert len(dimensions) <= 30
            for name in dimensions:  # a member of the root, with a text that is not empty
                assert isinstance(line[name], str)
                assert 1 <= len(line[name]) <= 1024
        for metric in directive["Metrics"]:
            assert set(metric) <= {"Name", "Unit", "StorageResolution"}
            assert 1 <= len(metric["Name"]) <= 1024
            assert metric["Unit"] in CLOUDWATCH_UNITS
            value = line[metric["Name"]]
            assert isinstance(value, (int, float))
            assert math.isfinite(value)


@pytest.mark.parametrize(
    ("outcome", "more", "expected"),
    [
        (
            Outcome.DONE,
            {"is_answer": True, "first_event": 2.49},
            {"Answers": 1, "FirstEventTime": 2.5},
        ),
        (
            Outcome.BOT_ERROR,
            {"is_answer": True, "first_event": 2.0, "errors": 2},
            {"Answers": 1, "FirstEventTime": 2.0, "BotErrors": 2},
        ),
        (Outcome.BOT_ERROR, {}, {"BotErrors": 1}),
        (Outcome.DEADLINE, {"is_answer": True}, {"Answers": 1, "DeadlineEndings": 1}),
        (Outcome.REFUSED, {}, {"Refused": 1}),
        (
            Outcome.REFUSED,
            {"secret_read_failures": 1},
            {"Refused": 1, "SecretReadFailures": 1},
        ),
        (Outcome.RUNTIME_ERROR, {"is_answer": True}, {"Answers": 1}),
    ],
)
def test_every_outcomes_line_is_in_embedded_metric_format(outcome, more, expected):
    line = json.loads(json.dumps(fields(outcome, **more)))
    check_embedded_metric_format(line)
    assert line["outcome"] == outcome.value
    assert metrics(line) == expected
    named = [metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
    assert sorted(named) == sorted(expected)


def test_a_line_reads_as_designed():
    assert fields(type="query", first_event=2.5, events=3, is_answer=True) == {
        "_aws": {
            "Timestamp": 1_795_406_706_789,
            "CloudWatchMetrics": [
                {
                    "Namespace": "PoeBot",
                    "Dimensions": [["FunctionName"]],
                    "Metrics": [
                        {"Name": "Answers", "Unit": "Count"},
                        {"Name": "FirstEventTime", "Unit": "Milliseconds"},
                    ],
                }
            ],
        },
        "FunctionName": "my-bot",
        "type": "query",
        "outcome": "done",
        "cold_start": True,
        "duration_ms": 12.3,
        "events": 3,
        "bytes": 456,
        "Answers": 1,
        "FirstEventTime": 2.5,
    }


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.RUNTIME_ERROR])
def test_a_line_without_metrics_has_no_directive(outcome):
    line = fields(outcome, type="settings")
    assert "_aws" not in line
    assert not metrics(line)


def test_the_six_metrics_are_those_that_the_design_names():
    assert [*UNITS] == [
        "Answers",
        "FirstEventTime",
        "BotErrors",
        "DeadlineEndings",
        "Refused",
        "SecretReadFailures",
    ]
    assert {*UNITS.values()} == CLOUDWATCH_UNITS


def test_refusals_within_a_minute_are_counted_in_the_next_line():
    reporter = Reporter("my-bot")
    lines = [fields(Outcome.REFUSED, reporter=reporter, now=second) for second in range(61)]
    assert [number for number, line in enumerate(lines) if line] == [0, 60]
    assert lines[0]["Refused"] == 1
    assert lines[60]["Refused"] == 60


def test_the_page_that_anybody_may_see_is_written_once_a_minute_and_not_counted_as_refused():
    reporter = Reporter("my-bot")
    lines = [fields(type="page", reporter=reporter, now=second) for second in range(61)]
    assert [number for number, line in enumerate(lines) if line] == [0, 60]
    assert not metrics(lines[60])


def test_a_page_and_a_refusal_of_one_minute_share_a_line():
    reporter = Reporter("my-bot")
    assert fields(type="page", reporter=reporter, now=0)
    assert not fields(Outcome.REFUSED, reporter=reporter, now=59)
    assert metrics(fields(type="page", reporter=reporter, now=60)) == {"Refused": 1}


@pytest.mark.parametrize("outcome", [Outcome.BOT_ERROR, Outcome.RUNTIME_ERROR, Outcome.DEADLINE])
def test_a_page_that_fails_is_written_each_time(outcome):
    reporter = Reporter("my-bot")
    assert all(fields(outcome, type="page", reporter=reporter, now=second) for second in range(3))


def test_an_answers_line_takes_the_refusals_along():
    reporter = Reporter("my-bot")
    for second in range(3):
        fields(Outcome.REFUSED, reporter=reporter, now=second)
    line = fields(is_answer=True, reporter=reporter, now=3)
    assert metrics(line) == {"Answers": 1, "Refused": 2}
    assert metrics(fields(is_answer=True, reporter=reporter, now=4)) == {"Answers": 1}


def test_a_failed_read_of_the_secret_is_not_kept_back():
    reporter = Reporter("my-bot")
    fields(Outcome.REFUSED, reporter=reporter, now=0)
    line = fields(Outcome.REFUSED, secret_read_failures=1, reporter=reporter, now=1)
    assert metrics(line) == {"Refused": 1, "SecretReadFailures": 1}


def test_a_flood_of_refusals_is_written_once_a_minute():
    refusals, written = Refusals(), []
    for second in range(180):
        for _ in range(100):
            refusals.count()
            if refusals.due(second):
                written.append((second, refusals.take(second)))
    assert written == [(0, 1), (60, 6000), (120, 6000)]


def test_a_line_for_another_reason_takes_the_refusals_along():
    refusals = Refusals()
    refusals.count()
    refusals.count()
    assert refusals.take(0) == 2
    assert refusals.take(1) == 0
    refusals.count()
    assert not refusals.due(59)
    assert refusals.due(60)
    assert refusals.take(60) == 1


def test_lines_without_refusals_do_not_hold_the_first_one_back():
    refusals = Refusals()
    assert refusals.take(0) == 0
    refusals.count()
    assert refusals.due(1)
    assert refusals.take(1) == 1
    assert refusals.take(60) == 0
    assert refusals.due(61)
