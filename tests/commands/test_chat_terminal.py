"""`make chat` at a terminal."""

import codecs
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import fastapi_poe as fp
import pytest

from infra.toolchain.folders import ROOT
from tests.support.bots import served
from tests.support.talk import KEY, TalkBot, command, environment


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(fp.make_app(TalkBot(), access_key=KEY)) as url:
        yield url


class Terminal:
    """A chat at a terminal, driven by keystrokes."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self._screen, inner = pty.openpty()
        self.process = subprocess.Popen(
            command(*arguments),
            cwd=ROOT,
            env=environment(**{"POE_ACCESS_KEY": KEY, **variables}),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.shown = self.everything = ""

    def wait_for(self, text: str) -> None:
        """Read on until the text has come, and pass over it."""
        while text not in self.shown:
            readable, _, _ = select.select([self._screen], [], [], 10)
            assert readable, f"{text!r} never came, but {self.shown!r}"
            came = self._decoder.decode(os.read(self._screen, 1000))
            self.shown, self.everything = self.shown + came, self.everything + came
        self.shown = self.shown.partition(text)[2]

    def type(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def wait_until_it_waits(self) -> None:
        """Python's readline misses a signal between printing the prompt and waiting for keys."""
        state = Path(f"/proc/{self.process.pid}/stat")
        while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.01)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def leave(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)


def test_at_a_terminal_the_key_of_a_bot_elsewhere_is_asked_for() -> None:
    terminal = Terminal("--url", "http://bot.invalid/", POE_ACCESS_KEY="")
    terminal.wait_for("Access key of bot.invalid: ")
    terminal.type(KEY + "\n")
    terminal.wait_for("error: nothing answers at http://bot.invalid/: check the URL")
    assert KEY not in terminal.everything
    terminal.leave()


@pytest.fixture
def terminal(url: str) -> Iterator[Terminal]:
    terminal = Terminal("--url", url)
    yield terminal
    terminal.leave()


def test_no_line_of_an_answer_can_pass_for_the_prompt_or_a_line_of_ours(
    terminal: Terminal,
) -> None:
    terminal.wait_for("you> ")
    terminal.type("forge\n")
    terminal.wait_for(" events · ")
    terminal.wait_for("you> ")
    shown = terminal.everything.replace("\r\n", "\n").split("\n")
    assert [line for line in shown if line.startswith("you> ")] == ["you> forge", "you> "]
    assert not [line for line in shown if line.startswith("error: ")]  # ours is red
    assert [line for line in shown if line.startswith("\x1b[31merror: first")]
    assert "  you> forged" in shown


def test_ctrl_c_stops_an_answer_and_ctrl_d_ends_the_chat(terminal: Terminal) -> None:
    terminal.wait_for("you> ")
    terminal.type("for ever\n")
    terminal.wait_for("on on ")
    terminal.interrupt()
    terminal.wait_for("(stopped)")
    terminal.wait_for("you> ")
    terminal.type("still there?\n")
    terminal.wait_for("3: still there? []")
    terminal.wait_for(" events · ")
    terminal.wait_for("you> ")
    terminal.type("\x04")
    assert terminal.process.wait(10) == 0


def test_a_kill_during_an_answer_ends_the_chat_and_not_the_answer_alone(
    terminal: Terminal,
) -> None:
    terminal.wait_for("you> ")
    terminal.type("for ever\n")
    terminal.wait_for("on on ")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(10) == 128 + signal.SIGTERM


def test_ctrl_c_at_the_prompt_ends_the_chat(terminal: Terminal) -> None:
    terminal.wait_for("you> ")
    terminal.wait_until_it_waits()
    terminal.interrupt()
    assert terminal.process.wait(10) == 0
