"""How commands end: by their own errors, a signal, Ctrl-D, or a reader that leaves."""

import errno
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from commands import chat, check, deploy, deploy_local, run
from commands.command import Main, run_command
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT

WAITS = """
    def main(arguments):
        try:
            print("begun")
            time.sleep(60)
        finally:
            print("cleaned up")
"""
WAITS_IN_A_LOOP = """
    def main(arguments):
        asyncio.run(wait())

    async def wait():
        try:
            print("begun")
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            print("cleaned up")
"""


def program(source: str, options: str = "") -> list[str]:
    begin = "import asyncio, atexit, threading, time\nfrom commands.command import exit_with\n"
    end = f"\nexit_with(main, {options})\n"
    return [sys.executable, "-c", begin + textwrap.dedent(source) + end]


def started(
    source: str,
    options: str = "",
    stdout: int | IO[str] = subprocess.PIPE,
    before: Callable[[], object] | None = None,
) -> subprocess.Popen[str]:
    """A command whose main is defined by `source`; `before` runs in its process before it does."""
    return subprocess.Popen(
        program(source, options),
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    """Exit status, the rest of stdout, and stderr of a command that was sent a signal."""
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


@pytest.mark.parametrize("source", [WAITS, WAITS_IN_A_LOOP], ids=["plain", "in an event loop"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_after_its_clean_up_with_the_status_of_shells(
    source: str, number: signal.Signals
) -> None:
    process = started(source, "interrupted='Nothing was changed.'")
    assert ended(process, number) == (128 + number, "cleaned up\n", "\nNothing was changed.\n")


def test_a_second_kill_leaves_the_clean_up_in_peace() -> None:
    """`make` passes on what its whole group gets, so each comes twice."""
    process = started("""
        def main(arguments):
            asyncio.run(wait())

        async def wait():
            try:
                print("begun")
                await asyncio.sleep(60)
            finally:
                print("cleaning up")
                await asyncio.sleep(0.5)
                print("cleaned up")
    """)
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "cleaning up\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("cleaned up\n", "\n")
    assert process.returncode == 143


def test_ctrl_c_is_the_regular_end_of_a_command_that_runs_until_stopped() -> None:
    process = started(WAITS, "runs_until_stopped=True")
    assert ended(process, signal.SIGINT) == (0, "cleaned up\n", "\n")


def test_a_second_ctrl_c_while_python_ends_shows_and_changes_nothing() -> None:
    process = started("""
        def main(arguments):
            atexit.register(last_words)

        def last_words():
            print("begun")
            time.sleep(1)
    """)
    assert ended(process, signal.SIGINT) == (0, "", "")


def test_a_thread_that_ctrl_c_left_behind_keeps_no_command_from_ending() -> None:
    process = started("""
        def main(arguments):
            threading.Thread(target=threading.Event().wait).start()
            print("begun")
            time.sleep(60)
    """)
    assert ended(process, signal.SIGINT) == (130, "", "\n")


def test_ctrl_c_ends_what_a_script_started_in_the_background() -> None:
    process = started(WAITS, before=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert ended(process, signal.SIGINT)[0] == 130


def test_under_nohup_a_terminal_that_closes_ends_nothing() -> None:
    process = started(WAITS, before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143


def test_ctrl_d_at_a_prompt_ends_a_command_as_ctrl_c_does() -> None:
    process = started("def main(arguments):\n    input()")
    assert (process.communicate(timeout=20)[1], process.returncode) == ("\n", 130)


@pytest.mark.parametrize(("options", "status"), [("", 141), ("runs_until_stopped=True", 0)])
def test_a_reader_that_leaves_ends_a_command_without_a_word(options: str, status: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = started("def main(arguments):\n    print('text', flush=True)", options, stdout=writer)
    os.close(writer)
    assert (process.communicate(timeout=20)[1], process.returncode) == ("", status)


def test_what_is_no_utf_8_is_replaced_on_the_way_in_and_half_an_emoji_on_the_way_out() -> None:
    source = r"""
    def main(arguments):
        print(input(), "\ud83d")
    """
    done = subprocess.run(
        program(source), cwd=ROOT, input="é\n".encode("latin-1"), capture_output=True, timeout=20
    )
    assert (done.stdout.decode(), done.stderr, done.returncode) == ("\ufffd ?\n", b"", 0)


def test_another_connection_that_breaks_is_not_taken_for_the_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(arguments: object) -> None:
        raise BrokenPipeError("a socket's")

    with pytest.raises(BrokenPipeError, match="a socket's"):
        run_command(main)


def test_a_users_mistake_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    def main(arguments: object) -> None:
        raise UserError("that is wrong: do this")

    assert run_command(main) == 1
    assert capsys.readouterr().err == "error: that is wrong: do this\n"


def test_ctrl_c_during_the_imports_shows_no_traceback(tmp_path: Path) -> None:
    """A module of Python's that the commands import stands for the moment."""
    (tmp_path / "argparse.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
    done = subprocess.run(
        [sys.executable, "-m", "commands.run"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        timeout=20,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_a_full_disk_or_a_folder_that_may_not_be_written_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/there/file")

    def forbidden(arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    assert run_command(full) == 1
    assert capsys.readouterr().err == "error: /there/file: no space left on device\n"
    assert run_command(forbidden) == 1
    assert capsys.readouterr().err == "error: permission denied\n"


def test_another_oserror_is_a_fault_of_the_commands_and_shows_where() -> None:
    def main(arguments: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "x")

    with pytest.raises(FileNotFoundError):
        run_command(main)


@pytest.mark.parametrize(
    ("main", "arguments", "line"),
    [
        (run.main, ["--port", "abc"], "PORT=abc is invalid: use 1 to 65535"),
        (run.main, ["--port", "70000"], "PORT=70000 is invalid: use 1 to 65535"),
        (run.main, ["--port=-1"], "PORT=-1 is invalid: use 1 to 65535"),
        (run.main, ["--memory", "lots"], "MEMORY=lots is invalid: use 128 to 10240 MB"),
        (run.main, ["--memory", "²"], "MEMORY=² is invalid: use 128 to 10240 MB"),
        (deploy_local.main, ["--aws-port", "x"], "AWS_PORT=x is invalid: use 1 to 65535"),
        (deploy.main, ["--contxt"], "unrecognized arguments: --contxt"),
        (
            deploy.main,
            ["concurrency=64"],
            'concurrency=64 needs a -c before it: ARGS="-c concurrency=64"',
        ),
        (chat.main, ["--url"], "argument --url: expected one argument"),
        (check.main, ["--url", "bot"], "URL=bot is invalid: use an address"),
    ],
)
def test_a_mistake_in_an_argument_is_one_line_that_names_it(
    main: Main, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(main, arguments) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {line}")


def test_deploy_local_finds_its_port_in_use_before_it_deploys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_command(deploy_local.main, ["--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: port {port} is in use")
