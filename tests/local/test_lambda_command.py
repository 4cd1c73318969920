"""`python -m local.aws_lambda`, as a user calls it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.local_lambda import write_package

ECHO_VARIABLE = """
while True:
    id, event, headers = next_invocation()
    respond(id, os.environ.get("GREETING"))
"""


def command(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "local.aws_lambda", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_it_serves_a_package_until_it_is_interrupted(tmp_path: Path):
    package = write_package(tmp_path / "package", ECHO_VARIABLE)
    with command(str(package), "--port", "0", "--env", "GREETING=hello") as server:
        line = server.stdout.readline()
        url = next(word for word in line.split() if word.startswith("http"))
        assert httpx.get(url).json() == "hello"
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=10) == 0
        assert server.stderr.read() == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such-directory"], "isn't a directory: give an unpacked package"),
        (["PACKAGE", "--env", "NAME"], "--env needs NAME=VALUE"),
        (["PACKAGE", "--python", "/no/python"], "--python /no/python doesn't exist"),
        (["PACKAGE", "--port", "TAKEN"], "add --port PORT"),
        (["PACKAGE", "--port", "70000"], "--port 70000 is invalid: use 0 to 65535"),
        (["PACKAGE", "--memory", "much"], "--memory much is invalid: use 128 to 10240"),
        (["PACKAGE", "--timeout", "0"], "--timeout 0 is invalid: use 1 to 900"),
        (["PACKAGE", "--port", "0"], "Runtime.ExitError: Runtime exited with error"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path: Path, words: list[str], said: str):
    package = write_package(tmp_path / "package", "sys.exit(1)")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        names = {"PACKAGE": str(package), "TAKEN": str(taken.getsockname()[1])}
        with command(*(names.get(word, word) for word in words)) as server:
            assert server.wait(timeout=10) == 1
            complaint = server.stderr.read()
    assert complaint.count("\n") == 1
    assert complaint.startswith("error: ")
    assert said in complaint
