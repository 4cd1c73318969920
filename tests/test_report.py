import json
import math

import pytest

from handler.report import UNITS, Outcome, Refusals, Report

NOW = 1_795_406_706.789  # 2026-11-23T04:05:06.789Z

# "Standard units" of CloudWatch's MetricDatum.
CLOUDWATCH_UNITS = {"Count", "Milliseconds"}


def report(outcome=Outcome.DONE, **metrics):
    return Report("my-bot", "query", outcome, True, 12.345, 3, 456, metrics)


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


METRICS = {
    Outcome.DONE: {"Answers": 1, "FirstEventTime": 12.3},
    Outcome.BOT_ERROR: {"Answers": 1, "FirstEventTime": 12.3, "BotErrors": 2},
    Outcome.DEADLINE: {"Answers": 1, "DeadlineEndings": 1},
    Outcome.REFUSED: {"Refused": 7},
    Outcome.RUNTIME_ERROR: {"Answers": 1},
}


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcomes_line_is_in_embedded_metric_format(outcome):
    line = json.loads(json.dumps(report(outcome, **METRICS[outcome]).fields(NOW)))
    check_embedded_metric_format(line)
    assert line["outcome"] == outcome.value


def test_a_line_reads_as_designed():
    assert report(Answers=1, FirstEventTime=2.5).fields(NOW) == {
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


def test_a_line_without_metrics_is_no_directive():
    assert "_aws" not in report().fields(NOW)


def test_there_are_six_metrics_at_most():
    line = report(**dict.fromkeys(UNITS, 1.0)).fields(NOW)
    check_embedded_metric_format(line)
    assert [metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]] == [
        "Answers",
        "FirstEventTime",
        "BotErrors",
        "DeadlineEndings",
        "Refused",
        "SecretReadFailures",
    ]


def test_no_metric_has_the_name_of_a_property():
    properties = report().fields(NOW)
    assert not set(UNITS) & set(properties)


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
