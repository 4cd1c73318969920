import importlib
import io
import json
import logging
import re
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.log import errors, lines, records
from handler.log.explain import explain
from handler.log.places import BOT, ROOT

SECRET = "k" * 32


@pytest.fixture(autouse=True)
def root_logger():
    root = logging.getLogger()
    handlers, level = [*root.handlers], root.level
    yield root
    root.handlers, root.level = handlers, level
    root.setLevel(level)


@pytest.fixture
def written(capsys):
    """What was written since the last call, each line parsed."""

    def read():
        out, err = capsys.readouterr()
        assert not err
        assert out == "" or out.endswith("\n")
        return [json.loads(line) for line in out.splitlines()]

    return read


def failing(error):
    raise error


def saying(file):
    """A function that logs as the code in `file` would: `say(level, message, *arguments)`."""
    code = (
        "import logging\n"
        "def say(level, *arguments, name='handler', **more):\n"
        "    getattr(logging.getLogger(name), level)(*arguments, **more)\n"
    )
    names = {}
    exec(compile(code, file, "exec"), names)
    return names["say"]


host_says = saying(f"{ROOT}/handler/of_the_host.py")


# The line


def test_a_line_has_time_level_and_request_id(written):
    lines.write("INFO", {"message": "hello", "n": 1}, now=1_795_406_706.0999)
    assert written() == [
        {
            "timestamp": "2026-11-23T04:05:06.099Z",
            "level": "INFO",
            "requestId": "",
            "message": "hello",
            "n": 1,
        }
    ]


@given(st.floats(0, 2**35))
def test_a_timestamp_is_rfc_3339_with_milliseconds(now):
    stdout, sys.stdout = sys.stdout, io.StringIO()
    try:
        lines.write("INFO", {}, now=now)
        timestamp = json.loads(sys.stdout.getvalue())["timestamp"]
    finally:
        sys.stdout = stdout
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp)
    assert 0 <= now - datetime.fromisoformat(timestamp).timestamp() < 0.00101


def test_now_is_the_time_by_default(written):
    lines.write("INFO", {})
    age = datetime.now().timestamp() - datetime.fromisoformat(written()[0]["timestamp"]).timestamp()
    assert -1 < age < 600


def test_a_line_is_one_write(monkeypatch):
    writes = []

    class Stdout:
        write = writes.append

    monkeypatch.setattr(sys, "stdout", Stdout())
    lines.write("INFO", {"message": "two\nlines"})
    assert len(writes) == 1
    assert writes[0].count("\n") == 1
    assert writes[0].endswith("\n")


def test_the_request_id_is_that_of_the_context(written):
    records.configure("INFO")
    token = lines.request_id.set("id-1")
    try:
        host_says("info", "hello")
        thread = threading.Thread(target=host_says, args=("info", "hello"))
        thread.start()
        thread.join()
    finally:
        lines.request_id.reset(token)
    mine, anothers = written()
    assert mine["requestId"] == "id-1"
    assert anothers["requestId"] in ("", "id-1")  # a thread has a context of its own until 3.14


# Levels


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (logging.DEBUG, "DEBUG"),
        (logging.INFO, "INFO"),
        (logging.WARNING, "WARN"),
        (logging.ERROR, "ERROR"),
        (logging.CRITICAL, "FATAL"),
        (1, "TRACE"),
        (25, "INFO"),
        (35, "WARN"),
        (99, "FATAL"),
    ],
)
def test_a_level_is_written_by_lambdas_name(written, number, name):
    records.configure("TRACE")
    host_says("log", number, "hello")
    assert [line["level"] for line in written()] == [name]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("TRACE", ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"]),
        ("DEBUG", ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"]),
        ("INFO", ["INFO", "WARN", "ERROR", "FATAL"]),
        ("info", ["INFO", "WARN", "ERROR", "FATAL"]),
        ("WARN", ["WARN", "ERROR", "FATAL"]),
        ("ERROR", ["ERROR", "FATAL"]),
        ("FATAL", ["FATAL"]),
        ("nonsense", ["INFO", "WARN", "ERROR", "FATAL"]),
        ("", ["INFO", "WARN", "ERROR", "FATAL"]),
    ],
)
def test_a_configured_level_drops_what_is_below_it(written, level, expected):
    records.configure(level)
    for number in (10, 20, 30, 40, 50):
        host_says("log", number, "hello")
    assert [line["level"] for line in written()] == expected


@pytest.mark.parametrize("name", ["handler", "handler.runtime.loop"])
def test_our_loggers_pass_at_debug(written, name):
    records.configure("DEBUG")
    host_says("debug", "hello", name=name)
    assert [line["logger"] for line in written()] == [name]


@pytest.mark.parametrize("name", ["bot", "prompts", "MyBot", "httpx", None])
@pytest.mark.parametrize("file", ["bot.py", "prompts/__init__.py"])
def test_what_a_file_of_the_bot_says_passes_whole_under_any_name(written, name, file):
    records.configure("INFO")
    saying(f"{BOT}/{file}")("info", "hello: %s", "there", name=name)
    assert [line["message"] for line in written()] == ["hello: there"]


@pytest.mark.parametrize("file", [f"{BOT}s/bot.py", f"{ROOT}/httpx/bot/bot.py"])
def test_what_a_librarys_file_says_under_a_bots_name_does_not_pass(written, file):
    records.configure("INFO")
    say = saying(file)
    for name in ("bot", "handler", None):
        say("info", "hello: %s", "there", name=name)
    assert not written()


@pytest.mark.parametrize(
    "name", ["httpx", "httpcore.http11", "botocore.auth", "handlers", "asyncio"]
)
def test_third_parties_pass_from_warning_on(written, name):
    records.configure("DEBUG")
    logger = logging.getLogger(name)
    logger.debug("GET https://poe/%s", SECRET)
    logger.info("GET https://poe/%s", SECRET)
    assert not written()
    logger.warning("careful")
    assert [line["message"] for line in written()] == ["careful"]


@pytest.mark.parametrize("name", ["httpx", "botocore", "asyncio"])
def test_a_third_partys_own_level_does_not_open_the_door(written, name, monkeypatch):
    records.configure("DEBUG")
    monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    logging.getLogger(name).info("GET https://poe/%s", SECRET)
    assert not written()


def test_configuring_twice_writes_once(written):
    records.configure("INFO")
    records.configure("INFO")
    host_says("info", "hello")
    assert len(written()) == 1


# Errors


def test_of_an_error_only_type_and_place_are_written(written):
    records.configure("DEBUG")
    try:
        try:
            failing(KeyError(SECRET))
        except KeyError as cause:
            raise ValueError(SECRET) from cause
    except ValueError:
        host_says("exception", "it failed")
    (line,) = written()
    assert line["message"] == "it failed"
    assert line["errorType"] == "ValueError"
    assert len(line["stackTrace"]) == 1
    assert re.fullmatch(r"tests/handler/test_log_lines.py:\d+ in test_\w+", line["stackTrace"][0])
    assert SECRET not in json.dumps(line)


def test_a_stack_ends_where_the_error_was_raised():
    try:
        failing(ValueError(SECRET))
    except ValueError as error:
        stack = errors.stack_of(error)
    assert [place.rpartition(" in ")[2] for place in stack] == [
        "test_a_stack_ends_where_the_error_was_raised",
        "failing",
    ]


def test_importlibs_own_frames_are_left_out(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError) as caught:
        importlib.import_module("broken_module")
    stack = errors.stack_of(caught.value)
    assert stack[-1].endswith("broken_module.py:1 in <module>")
    assert not [place for place in stack if "frozen" in place]


def test_the_stack_of_an_endless_recursion_is_cut_at_its_outer_end():
    def deeper():
        return deeper()

    try:
        deeper()
    except RecursionError as error:
        stack = errors.stack_of(error)
    assert len(stack) == errors.MOST_FRAMES
    assert all(place.endswith(" in deeper") for place in stack)


@pytest.mark.parametrize("exc_info", [True, (None, None, None), None])
def test_a_record_without_an_error_has_no_error_type(written, exc_info):
    records.configure("INFO")
    host_says("error", "hello", exc_info=exc_info)
    assert "errorType" not in written()[0]


def test_asyncios_report_of_a_lost_error_does_not_quote_it():
    script = (
        "import asyncio, gc\n"
        "from handler.log import records\n"
        "records.configure('DEBUG')\n"
        "async def fail(text):\n"
        "    raise ValueError(text)\n"
        "async def main():\n"
        f"    asyncio.ensure_future(fail({SECRET!r}))\n"
        "    await asyncio.sleep(0.01)\n"
        "    gc.collect()\n"
        "asyncio.run(main())\n"
    )
    done = run(script)
    (line,) = map(json.loads, done.stdout.splitlines())
    assert line["message"] == "Task exception was never retrieved"
    assert line["errorType"] == "ValueError"
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("missing", [SECRET, f"of {SECRET}", f"{SECRET}\n", SECRET[:12]])
@pytest.mark.parametrize("value", [SECRET, f"{SECRET}\n", f"first {SECRET} last"])
def test_a_missing_key_of_a_dictionary_that_a_variable_holds_is_not_quoted(
    monkeypatch, missing, value
):
    monkeypatch.setenv("OPENAI_API_KEY", value)
    assert explain(KeyError(missing)) == "KeyError"
    assert explain(KeyError("TAVILY_API_KEY")) == "KeyError: 'TAVILY_API_KEY'"


# Trouble


class Unprintable:
    def __str__(self):
        raise RuntimeError(SECRET)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("%d", (SECRET,)),
        ("%s %s", (SECRET,)),
        ("no place", (SECRET,)),
        ("%(name)s", ({"other": SECRET},)),
        ("%s", (Unprintable(),)),
        (Unprintable(), ()),
    ],
)
@pytest.mark.parametrize("by", ["host", "library"])
def test_a_message_that_cannot_be_formatted_says_where_it_is(written, by, message, arguments):
    records.configure("INFO")
    file = "handler/of_the_host.py" if by == "host" else "library.py"
    saying(f"{ROOT}/{file}")("error", message, *arguments)
    (line,) = written()  # and nothing on stderr, where logging would print the arguments
    assert f"{file}:3" in line["message"]
    assert SECRET not in json.dumps(line)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_any_text_can_be_written_in_any_encoding(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, write_through=True))
    records.configure("INFO")
    text = "é ✓ 😀 \ud800 \0 \x1b \u2028"
    host_says("info", text)
    assert json.loads(raw.getvalue())["message"] == text
    assert raw.getvalue().count(b"\n") == 1


def test_a_closed_stdout_costs_the_line_only(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    records.configure("INFO")
    lines.write("INFO", {})
    host_says("error", "hello %s", SECRET)


def test_a_stdout_that_nobody_reads_costs_the_line_only():
    script = (
        "import os, sys\n"
        "from handler.log import lines, setup\n"
        "setup.set_up('INFO')\n"
        "reader, writer = os.pipe()\n"
        "os.close(reader)\n"
        "os.dup2(writer, 1)\n"
        "lines.write('INFO', {})\n"
        "os.write(2, b'alive')\n"
    )
    assert run(script).stderr == "alive"


def run(script):
    return subprocess.run(
        [sys.executable, "-u", "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
