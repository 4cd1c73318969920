"""`make logs`: what it shows of a log group's events, and how it begins and ends."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from commands.logs import Log, chosen_lines, seconds
from commands.terminal.log_lines import LogPrinter
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT
from tests.support.aws import Aws, Stack, aws, command, environment, run
from tests.support.text import FORGED

MODULE = "commands.logs"
HEADING = len("2026-11-26 12:34:56  3f2a1c9b  ")
ID = "3f2a1c9b-0000-4000-8000-123456789abc"
INVOCATION = {
    "level": "INFO",
    "type": "query",
    "outcome": "bot_error",
    "cold_start": True,
    "duration_ms": 1234.5,
    "events": 3,
    "FirstEventTime": 56.7,
}


def as_written(line: dict[str, object]) -> str:
    """As this host or, for `platform.…`, Lambda writes it."""
    if str(line.get("type")).startswith("platform."):
        system = {"time": "2026-01-02T03:04:05.678Z"} | line
        return json.dumps(system, separators=(",", ":"))
    head = {"timestamp": "2026-01-02T03:04:05.678Z", "level": "INFO", "requestId": ""}
    return json.dumps(head | line)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Aws]:
    with aws() as cloud:
        yield cloud


@pytest.fixture
def deployed(cloud: Aws, monkeypatch: pytest.MonkeyPatch) -> Stack:
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    return cloud.stack()


def write(deployed: Stack, *messages: str, stream: str = "one", ago: float = 0) -> None:
    logs = deployed.aws.client("logs")
    names = [each["logStreamName"] for each in _streams(deployed)]
    if stream not in names:
        logs.create_log_stream(logGroupName=deployed.log_group, logStreamName=stream)
    at = int((time.time() - ago) * 1000)
    events = [{"timestamp": at, "message": message} for message in messages]
    logs.put_log_events(logGroupName=deployed.log_group, logStreamName=stream, logEvents=events)


def _streams(deployed: Stack) -> list[dict[str, str]]:
    logs = deployed.aws.client("logs")
    return logs.describe_log_streams(logGroupName=deployed.log_group)["logStreams"]


def test_the_log_is_followed_until_ctrl_c(deployed: Stack) -> None:
    write(deployed, "too old", ago=900)
    write(deployed, as_written(INVOCATION), ago=60)
    follower = subprocess.Popen(
        command(MODULE, "--stack", deployed.name),
        cwd=ROOT,
        env=environment(deployed.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout
    try:
        first = follower.stdout.readline()
        write(deployed, "a line of the bot's own")
        second = follower.stdout.readline()
    finally:
        follower.send_signal(signal.SIGINT)
    rest, said = follower.communicate(timeout=20)
    text = "FAILED query: bot error, cold start, first event after 57 ms, 3 events, 1,234 ms\n"
    today = f"{datetime.now() - timedelta(minutes=1):%Y-%m-%d} "
    assert first.startswith(today)
    assert first[HEADING:] == text
    assert (second[HEADING:], rest, follower.returncode) == ("│ a line of the bot's own\n", "", 0)
    assert said.startswith(f"{deployed.log_group}, since ")
    assert len(said.splitlines()) == 1 + bool("the end of the line with ^C")


@pytest.mark.parametrize("since", ["10m", "999999d"])
def test_a_reader_that_leaves_ends_it_quietly(deployed: Stack, since: str) -> None:
    write(deployed, "one", "two")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command(MODULE, "--stack", deployed.name, "--since", since),
        cwd=ROOT,
        env=environment(deployed.environment),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)


def test_of_a_log_with_nothing_to_show_one_line_says_so(deployed: Stack) -> None:
    write(deployed, as_written({"level": "INFO", "message": "all is well"}))
    follower = subprocess.Popen(
        command(MODULE, "--stack", deployed.name, "--only", "errors"),
        cwd=ROOT,
        env=environment(deployed.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout
    assert follower.stderr
    try:
        said = [follower.stderr.readline() for _ in range(2)]
        write(deployed, as_written({"level": "ERROR", "message": "broken", "requestId": ID}))
        line = follower.stdout.readline()
    finally:
        follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=20)
    assert said[1] == "Nothing yet.\n"
    assert line[len("2026-11-26 12:34:56  ") :] == "3f2a1c9b  ERROR broken\n"


FAILURES = [
    INVOCATION,
    INVOCATION | {"outcome": "deadline"},
    INVOCATION | {"outcome": "runtime_error"},
    {"level": "ERROR", "message": "m"},
    {"level": "FATAL", "message": "m"},
    {"type": "platform.report", "record": {"status": "timeout"}},
    {"type": "platform.initReport", "record": {"status": "error"}},
    "REPORT RequestId: 1\tDuration: 1.00 ms\tStatus: timeout",
]
OTHERS = [
    INVOCATION | {"outcome": "done"},
    INVOCATION | {"outcome": "refused"},
    {"level": "WARN", "message": "m"},
    {"type": "platform.report", "record": {"status": "success"}},
    {"type": "platform.report", "record": 3},
    {"outcome": "bot_error"},
    json.dumps(INVOCATION),  # without the beginning that a line of this host's has
    " " + as_written(INVOCATION),
    "REPORT RequestId: 1\tDuration: 1.00 ms",
    "ERROR of the bot's own",
]


@pytest.mark.parametrize("line", FAILURES + OTHERS)
def test_only_errors_shows_what_failed(line: dict[str, object] | str) -> None:
    text = line if isinstance(line, str) else as_written(line)
    assert chosen_lines("errors")(text) == (line in FAILURES)


def test_only_a_requests_id_shows_its_lines() -> None:
    of_request = [
        as_written({"level": "INFO", "message": "m", "requestId": ID}),
        as_written({"type": "platform.report", "record": {"requestId": ID}}),
        f"REPORT RequestId: {ID}\tDuration: 1.00 ms",
    ]
    for beginning in (ID, ID[:8], ID[:13], ID[:4]):
        assert all(map(chosen_lines(beginning), of_request))
        assert not chosen_lines(beginning)("3f2a1c9b is printed")
    assert not any(map(chosen_lines("deadbeef"), of_request))


@pytest.mark.parametrize("only", ["error", "ERRORS", "3f2", "3f2a1c9b0", "*", "3f2a1c9b\n"])
def test_another_choice_of_lines_is_refused(only: str) -> None:
    with pytest.raises(UserError, match="is invalid: use errors, or the beginning of a request's"):
        chosen_lines(only)


@pytest.mark.parametrize("forged", ["\x1b[2Jabcd", "12345678\n", "7", "", ID.upper()])
def test_what_is_no_requests_id_is_not_shown_as_one(forged: str) -> None:
    shown: list[str] = []
    line = as_written({"level": "INFO", "message": "a\nb", "requestId": forged})
    LogPrinter(shown.append, dated=True)(line, datetime(2026, 1, 2, 3, 4, 5))
    heading = "2026-01-02 03:04:05" + " " * 12
    assert shown == [f"{heading}INFO a\n{' ' * HEADING}│ b"]


def test_an_event_that_arrives_late_is_given_once(deployed: Stack) -> None:
    log = Log(deployed.log_group, time.time() - 600)
    write(deployed, "new")
    assert [event["message"] for event in log.new_events()] == ["new"]
    write(deployed, "late", stream="two", ago=20)
    assert [event["message"] for event in log.new_events()] == ["late"]
    assert list(log.new_events()) == []


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            INVOCATION,
            "FAILED query: bot error, cold start, first event after 57 ms, 3 events, 1,234 ms",
        ),
        (
            INVOCATION | {"outcome": "done", "cold_start": False, "events": 1},
            "query: done, first event after 57 ms, 1 event, 1,234 ms",
        ),
        ({"level": "WARN", "message": "careful"}, "WARN careful"),
        ({"level": "INFO", "message": "\x1b[2Jcleared"}, "INFO \\x1b[2Jcleared"),
        ({"level": "INFO", "message": "one\r\ntwo\rthree"}, "INFO one\n          │ two\\rthree"),
        ({"level": "INFO", "message": "half \ud83d"}, "INFO half \ufffd"),
        ({"outcome": "of a bot's own"}, None),
        ({"type": "platform.start", "record": {}}, ""),
        ({"type": "platform.report", "record": {"status": "success", "metrics": {}}}, ""),
        (
            {"type": "platform.report", "record": {"metrics": {"initDurationMs": 812.3}}},
            "cold start in 812 ms",
        ),
        (
            {"type": "platform.report", "record": {"status": "timeout"}},
            "the invocation ended with status timeout",
        ),
        (
            {"type": "platform.initReport", "record": {"status": "error"}},
            "the start ended with status error",
        ),
        (
            {"type": "platform.report", "record": {"metrics": {"restoreDurationMs": 312.3}}},
            "restored from the snapshot in 312 ms",
        ),
        (
            {"type": "platform.restoreReport", "record": {"status": "timeout"}},
            "the restore from the snapshot ended with status timeout",
        ),
    ],
)
def test_a_line_for_machines_becomes_one_for_people(
    line: dict[str, object], shown: str | None
) -> None:
    said: list[str] = []
    LogPrinter(said.append)(as_written(line), datetime(2026, 1, 2, 3, 4, 5))
    if shown is None:
        shown = f"│ {as_written(line)}"
    assert said == ([f"03:04:05  {shown}"] if shown else [])


def lambdas_account(request_id: str) -> list[str]:
    """Of a process that ended with this request, as text and as JSON."""
    report = {"requestId": request_id, "status": "error"}
    exited = f"RequestId: {request_id} Error: Runtime exited with error: exit status 1"
    return [
        exited,
        "Runtime.ExitError",
        f"REPORT RequestId: {request_id}\tDuration: 1.00 ms\tStatus: error",
        f"{exited}\nRuntime.ExitError",
        as_written({"type": "platform.report", "record": report}),
    ]


def test_an_end_that_a_requests_own_line_has_is_not_shown_again() -> None:
    said: list[str] = []
    show = LogPrinter(said.append)
    for request_id in (ID, ID.replace("3", "4")):
        show(as_written(INVOCATION | {"outcome": "deadline", "requestId": request_id}))
    for request_id in (ID, ID.replace("3", "4")):
        for line in lambdas_account(request_id):
            show(line)
    assert len(said) == 2
    show("Runtime.ExitError")  # which a bot prints
    assert said[2].endswith("│ Runtime.ExitError")


@pytest.mark.parametrize("outcome", ["done", "bot_error", "refused"])
def test_the_end_of_a_process_is_shown_where_the_requests_own_line_has_another(
    outcome: str,
) -> None:
    said: list[str] = []
    show = LogPrinter(said.append)
    show(as_written(INVOCATION | {"outcome": outcome, "requestId": ID}))
    show(as_written(INVOCATION | {"outcome": "deadline", "requestId": ""}))
    for request_id in (ID, "1"):
        for line in lambdas_account(request_id):
            show(line)
    assert len(said) == 2 + 2 * 5


@pytest.mark.parametrize(
    "line",
    [
        as_written({"message": "m", "errorType": "E", "stackTrace": [1]}),
        as_written({"message": "m", "errorType": "E", "stackTrace": None}),
        as_written({"type": "platform.report", "record": 3}),
        as_written(INVOCATION | {"duration_ms": "?"}),
        json.dumps(INVOCATION),
        json.dumps({"type": "platform.report", "record": {"status": "timeout"}}),
        " " + as_written(INVOCATION),
        " REPORT RequestId: 1\tStatus: timeout",
        "REPORT RequestId: 1\tInit Duration: none",
        "[" * 100_000,
    ],
)
def test_a_bots_own_line_that_only_resembles_a_known_one_is_shown_as_it_is(line: str) -> None:
    said: list[str] = []
    LogPrinter(said.append)(line, datetime(2026, 1, 2, 3, 4, 5))
    assert said == [f"03:04:05  │ {line}"]


@pytest.mark.parametrize(
    ("text", "expected"), [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400)]
)
def test_a_time_has_a_number_and_a_unit(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "10", "m", "-1m", "1.5h", "10 m", "1w"])
def test_another_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"SINCE={re.escape(text)} is invalid: .* 10m, 2h or 1d"):
        seconds(text)


def test_a_log_group_that_is_gone_gives_one_clear_line(deployed: Stack) -> None:
    deployed.aws.client("logs").delete_log_group(logGroupName=deployed.log_group)
    done = run(MODULE, "--stack", deployed.name, variables=deployed.environment)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        f"error: the log group {deployed.log_group} doesn't exist: run `make deploy`"
    ]


def test_of_an_error_the_bots_own_place_is_shown() -> None:
    stack = ["handler/app/answer.py:9 in answer", "bot/words.py:3 in f", "httpx/_api.py:1 in get"]
    line = {"level": "ERROR", "message": "it failed", "errorType": "KeyError", "stackTrace": stack}
    shown: list[str] = []
    LogPrinter(shown.append)(as_written(line))
    assert [text.partition("  ")[2] for text in shown] == [
        "ERROR it failed – KeyError at words.py:3 in f"
    ]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("logged", [True, False])
def test_no_message_can_look_like_a_line_of_its_own(logged: bool, forged: str) -> None:
    message = f"a{forged}03:04:05  ERROR b"
    shown: list[str] = []
    line = as_written({"message": message}) if logged else message
    LogPrinter(shown.append)(line, datetime(2026, 1, 2, 3, 4, 5))
    [text] = shown
    first, *others = text.split("\n")
    assert first.startswith(("03:04:05  │ a", "03:04:05  INFO a"))
    assert all(other.startswith("          │ ") for other in others)
    assert all(each.isprintable() for each in [first, *others])
