"""`make run` and `make chat` as their user meets them: whole processes and what they print."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from commands.command import run_command
from commands.run import access_key, main
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT

BOT = """
import os
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        print("pid", os.getpid())
        yield fp.PartialResponse(text="WORD ")
        async for message in fp.stream_request(request, "Echo", request.access_key):
            yield message

    async def get_settings(self, setting):
        return fp.SettingsResponse(server_bot_dependencies={"Echo": 1})

bot = Bot()
"""


class Run:
    """A `make run` under way, with everything it has printed."""

    def __init__(self, port, bot_file, *options):
        self.port = port
        self.output = ""
        command = [
            sys.executable,
            "-m",
            "commands.run",
            "--port",
            str(port),
            "--bot-file",
            bot_file,
        ]
        command += options
        # Without PYTHONUNBUFFERED: what is printed has to arrive through a pipe all the same.
        shell = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=shell,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, words, times=1):
        until = time.monotonic() + 30
        while self.output.count(words) < times:
            assert time.monotonic() < until, f"no {words!r} in:\n{self.output}"
            assert self.process.poll() is None or words in self.output, self.output
            time.sleep(0.02)

    def end(self, with_signal=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        status = self.process.wait(20)
        self._reader.join(20)
        self.process.stdout.close()
        return status

    def chat(self, text, path=""):
        url = f"http://127.0.0.1:{self.port}/{path}"
        command = [sys.executable, "-m", "commands.chat", "--url", url]
        return subprocess.run(
            command, cwd=ROOT, input=text, capture_output=True, text=True, timeout=30
        )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def running(tmp_path):
    """A `make run` of a bot that a test can change."""
    bot_file = tmp_path / "bot.py"
    bot_file.write_text(BOT)
    run = Run(free_port(), bot_file)
    run.bot_file = bot_file
    yield run
    run.end()


def test_the_bot_runs_reloads_and_everything_ends_with_ctrl_c(running):
    running.wait_for("Ctrl-C ends everything.")
    url = f"http://127.0.0.1:{running.port}/"
    assert f"URL         {url}" in running.output
    assert re.search(r"Access key  [0-9a-f]{32}\n", running.output)
    assert f"make chat URL={url}" in running.output
    page = re.search(r"Chat page   (http://127\.0\.0\.1:\d+/)", running.output)
    assert "<title>Your bot</title>" in httpx.get(page[1], trust_env=False).text

    said = running.chat("hello there\n")
    assert said.returncode == 0, said.stderr
    assert "WORD " in said.stdout
    assert "hello there" in said.stdout  # from the stand-in for Poe
    running.wait_for("query: done")

    running.bot_file.write_text(BOT.replace("WORD", "CHANGED"))
    running.wait_for("Reloaded in")
    assert "CHANGED " in running.chat("again\n").stdout

    running.bot_file.write_text("import nowhere_to_be_found")
    running.wait_for("No module named 'nowhere_to_be_found'")
    running.bot_file.write_text(BOT)
    running.wait_for("Reloaded in", times=2)
    assert running.chat("and again\n").returncode == 0
    assert "Traceback" not in running.output

    pids = {int(pid) for pid in re.findall(r"pid (\d+)", running.output)}
    assert pids
    assert running.end() == 0
    assert running.output.endswith("Stopped.\n")
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_kill_ends_everything_with_the_status_that_shells_expect(running):
    running.wait_for("Ctrl-C ends everything.")
    assert running.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert running.output.endswith("Stopped.\n")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("def f(:\n", "bot.py:1"),
        ("bot = 1\n", "has to end with `bot = …`"),
    ],
)
def test_a_bot_that_cannot_start_gives_one_clear_line(tmp_path, source, words):
    bot_file = tmp_path / "bot.py"
    bot_file.write_text(source)
    run = Run(free_port(), bot_file)
    run.process.wait(30)
    assert run.end() == 1
    [line] = [line for line in run.output.splitlines() if line and line != "Stopped."]
    assert line.startswith("error: ")
    assert words in line


def test_a_port_in_use_gives_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = Run(port, ROOT / "examples" / "echo.py")
        assert run.process.wait(30) == 1
        run.end()
    [line] = run.output.splitlines()
    assert line.startswith(f"error: port {port} is in use")


def test_a_bot_file_that_is_not_there_gives_one_clear_line(tmp_path):
    run = Run(free_port(), tmp_path / "none.py")
    assert run.process.wait(30) == 1
    run.end()
    [line] = run.output.splitlines()
    assert "none.py" in line


def test_a_memory_that_lambda_does_not_have_gives_one_clear_line(capsys):
    assert run_command(main, ["--memory", "64"]) == 1
    assert capsys.readouterr().err == "error: MEMORY=64 is invalid: use 128 to 10240 MB\n"


def test_the_key_is_kept_from_run_to_run_for_its_owner_alone(tmp_path):
    file = tmp_path / "run" / "access-key"
    key = access_key(file, None)
    assert len(key) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert access_key(file, None) == key
    assert access_key(file, "p" * 32) == "p" * 32
    assert access_key(file, None) == "p" * 32


def test_a_given_key_of_another_size_is_refused(tmp_path):
    with pytest.raises(UserError, match="POE_ACCESS_KEY has to be 32"):
        access_key(tmp_path / "access-key", "short")
