"""`make chat` through a pipe."""

import asyncio
import io
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastapi_poe as fp
import pytest

from commands.chat import main
from commands.command import run_command
from infra.toolchain.folders import ROOT
from poe.client import access
from poe.standin.standin import PoeStandIn
from tests.support.bot_folder import write_folder
from tests.support.bots import served
from tests.support.closed import CLOSED
from tests.support.talk import KEY, TalkBot, command, environment


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(fp.make_app(TalkBot(), access_key=KEY)) as url:
        yield url


@dataclass(frozen=True)
class Run:
    stdout: str
    stderr: str
    returncode: int


Chat = Callable[..., Run]


@pytest.fixture
def chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Chat:
    """Runs a chat through a pipe in this process, in an empty folder, with nothing built yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(access, "BUILD", tmp_path / "build")
    for name in ("POE_ACCESS_KEY", "POE_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str | Path, said: str = "", **variables: str) -> Run:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.stdin", io.StringIO(said))
        status = run_command(main, [str(argument) for argument in arguments])
        return Run(*capsys.readouterr(), status)

    return run


def process(
    *arguments: str | Path, said: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        input=said,
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_pipe_gives_one_answer_a_line_and_nothing_else(url: str) -> None:
    run = process("--url", url, said="one\n\ntwo\n", POE_ACCESS_KEY=KEY)
    assert run.stdout == "1: one []\n3: two []\n"
    assert run.returncode == 0
    notes = run.stderr.splitlines()
    assert notes[0] == "I talk."
    assert notes[1].startswith("first event ")
    assert " · 3 events · " in notes[1]


def test_a_reader_that_leaves_ends_the_chat_quietly(url: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(
        command("--url", url),
        input="one\n",
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(POE_ACCESS_KEY=KEY),
        text=True,
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert (run.stderr, run.returncode) == ("I talk.\n", 128 + signal.SIGPIPE)


def test_a_failed_turn_shows_the_bots_error_and_gives_status_1(chat: Chat, url: str) -> None:
    run = chat("--url", url, said="fail\nagain\n", POE_ACCESS_KEY=KEY)
    assert "error: The bot encountered an unexpected issue.\n" in run.stderr
    assert run.stdout == "2: again []\n"
    assert run.returncode == 1


def test_what_an_error_says_besides_its_text_is_folded_unless_it_is_asked_for(
    chat: Chat, url: str
) -> None:
    run = chat("--url", url, said="explain", POE_ACCESS_KEY=KEY)
    shown = "error: no\n  not a traceback\n  forged\\x1b[2J\n  more\n  more\n  …\n"
    assert run.stderr.startswith(f"I talk.\n{shown}first event")
    assert chat("--url", url, "--raw", said="explain").stderr.count("\n  more") == 9


def test_everything_of_an_answer_is_shown_and_no_control_character(chat: Chat, url: str) -> None:
    run = chat("--url", url, said="replace", POE_ACCESS_KEY=KEY)
    assert run.stdout == "draft\\x1b[2J\nfinal\n"
    assert "(replaced by)" in run.stderr
    assert "suggested reply: More?" in run.stderr
    assert "file: b.png (image/png) https://a/b" in run.stderr


def test_half_an_emoji_is_replaced_and_two_halves_are_joined_in_what_follows(
    chat: Chat, url: str
) -> None:
    run = chat("--url", url, said="halves\nlast answer", POE_ACCESS_KEY=KEY)
    shown, last = run.stdout.splitlines()
    assert shown == "\ufffd\ufffd and \ufffd"
    assert last == ascii("\U0001f600 and \ufffd")
    assert run.returncode == 0


def test_a_message_that_isnt_utf_8_is_sent_with_replaced_characters(url: str) -> None:
    run = subprocess.run(
        command("--url", url),
        input=b"caf\xe9 \xff\n",
        cwd=ROOT,
        env=environment(POE_ACCESS_KEY=KEY),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert run.stdout.decode() == "1: caf\ufffd \ufffd []\n"
    assert (run.returncode, b"Traceback" in run.stderr) == (0, False)


@pytest.mark.parametrize("options", [(), ("--raw",)])
def test_an_answer_cant_control_the_terminal(
    chat: Chat, url: str, options: tuple[str, ...]
) -> None:
    run = chat("--url", url, *options, said="forge", POE_ACCESS_KEY=KEY)
    lines = (run.stdout + run.stderr).split("\n")
    assert [line for line in lines if not line.isprintable()] == []
    assert not [line for line in run.stderr.split("\n") if line.startswith("you> ")]


def test_raw_shows_the_events(chat: Chat, url: str) -> None:
    run = chat("--url", url, "--raw", said="hello", POE_ACCESS_KEY=KEY)
    lines = [line.split(maxsplit=3) for line in run.stdout.splitlines()]
    assert [line[1:] for line in lines] == [
        ["s", "text", '{"text": "1: "}'],
        ["s", "text", '{"text": "hello []"}'],
        ["s", "done", "{}"],
    ]


def test_files_go_with_the_first_message(chat: Chat, url: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha")
    arguments = ("--url", url, "--attach", tmp_path / "a.txt")
    run = chat(*arguments, said="one\ntwo", POE_ACCESS_KEY=KEY)
    assert run.stdout == "2: one ['a.txt']\n3: two []\n"


def test_a_file_is_looked_for_where_the_users_make_runs_and_then_in_the_bots_folder(
    chat: Chat, url: str, tmp_path: Path
) -> None:
    write_folder(tmp_path, {"bot/a.txt": "the bot's", "bot/b.txt": "more", "there/a.txt": "mine"})
    places = ("--bot-dir", tmp_path / "bot", "--caller", tmp_path / "there")
    for name in ("a.txt", "b.txt"):
        run = chat("--url", url, *places, "--attach", name, said="one", POE_ACCESS_KEY=KEY)
        assert run.stdout == f"2: one ['{name}']\n"
    run = chat("--url", url, *places, "--attach", "c.txt", said="one", POE_ACCESS_KEY=KEY)
    assert run.stderr.startswith(f"error: cannot read {tmp_path}/there/c.txt: No such file")


def keep_key(folder: Path) -> None:
    """As `make run` does."""
    kept = folder / "build" / "run" / "access-key"
    kept.parent.mkdir(parents=True)
    kept.write_text(KEY + "\n")


def test_the_key_is_read_from_the_file_that_make_run_keeps(
    chat: Chat, url: str, tmp_path: Path
) -> None:
    keep_key(tmp_path)
    assert chat("--url", url, said="hello").stdout == "1: hello []\n"


@pytest.mark.parametrize(
    "host",
    [
        *("bot.invalid", "localhost.evil.invalid", "127.0.0.1.evil.invalid", "2130706433", "127.1"),
        *("0x7f.1", "localhost.", "[::ffff:127.0.0.1]", "0.0.0.0"),
        "[::1]",  # where any other user may listen: `make run` is on 127.0.0.1
    ],
)
def test_another_host_never_gets_the_key_that_make_run_keeps(
    chat: Chat, tmp_path: Path, host: str
) -> None:
    keep_key(tmp_path)
    run = chat("--url", f"http://{host}/", said="hello")
    named = host.strip("[]")
    assert run.stderr == f"error: no access key for {named}: set POE_ACCESS_KEY\n"


def test_localhost_is_where_make_run_listens_whatever_the_machine_takes_it_for(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the name is looked up")

    keep_key(tmp_path)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    asked = url.replace("127.0.0.1", "LocalHost")
    assert chat("--url", asked, said="hello").stdout == "1: hello []\n"


def test_a_redirect_takes_the_key_nowhere(chat: Chat) -> None:
    asked: list[str] = []

    async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])

    with served(elsewhere, lifespan="off") as away:

        async def redirects(scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"location", away.encode())]
            await send({"type": "http.response.start", "status": 307, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

        with served(redirects, lifespan="off") as url:
            run = chat("--url", url, said="hello", POE_ACCESS_KEY=KEY)
    assert "error: status 307" in run.stderr
    assert (asked, run.returncode) == ([], 1)


@pytest.mark.parametrize(
    ("arguments", "variables", "line"),
    [
        (
            ("--url", "http://bot.invalid/"),
            {"POE_ACCESS_KEY": KEY},
            "error: nothing answers at http://bot.invalid/: check the URL",
        ),
        (
            (),
            {},
            (
                "error: no access key in build/run/access-key (No such file or directory): "
                "start the bot with `make run`, or set POE_ACCESS_KEY"
            ),
        ),
        (
            (),
            {"POE_ACCESS_KEY": "kéy"},
            "error: POE_ACCESS_KEY holds no access key: use the key from the bot's form on Poe",
        ),
        (
            ("--url", "http://127.0.0.1:9000@evil.example/"),
            {"POE_ACCESS_KEY": KEY},
            "error: URL= has a user or a password: leave out everything before the @",
        ),
        (
            ("--url", "http://127.0.0.1:99999/"),
            {"POE_ACCESS_KEY": KEY},
            (
                "error: URL=http://127.0.0.1:99999/ is invalid: "
                "use an address such as http://127.0.0.1:9000/"
            ),
        ),
        (
            ("--url", "localhost:9000"),
            {"POE_ACCESS_KEY": KEY},
            "error: URL=localhost:9000 is invalid: did you mean http://localhost:9000 ?",
        ),
        (
            ("--url", "9530"),
            {"POE_ACCESS_KEY": KEY},
            "error: URL=9530 is invalid: did you mean http://127.0.0.1:9530/ ?",
        ),
        (
            ("--url", "abc.lambda-url.eu-west-1.on.aws/echo"),
            {"POE_ACCESS_KEY": KEY},
            "error: URL=abc.lambda-url.eu-west-1.on.aws/echo is invalid:"
            " did you mean https://abc.lambda-url.eu-west-1.on.aws/echo ?",
        ),
        (
            ("--url", "99999"),
            {"POE_ACCESS_KEY": KEY},
            "error: URL=99999 is invalid: use an address such as http://127.0.0.1:9000/",
        ),
        (
            ("--attach", "no.txt"),
            {"POE_ACCESS_KEY": KEY},
            "error: cannot read no.txt: No such file or directory",
        ),
        (
            ("--bot", "GPT-3.5-Turbo"),
            {},
            (
                "error: to talk to GPT-3.5-Turbo, Poe needs your key: "
                "get it at https://poe.com/api_key and set POE_API_KEY"
            ),
        ),
        (
            ("--bot", "Echo", "--attach", "no.txt"),
            {"POE_API_KEY": "p" * 20},
            "error: cannot read no.txt: No such file or directory",
        ),
    ],
)
def test_what_keeps_a_chat_from_beginning_is_one_line(
    chat: Chat, arguments: tuple[str, ...], variables: dict[str, str], line: str
) -> None:
    run = chat(*arguments, said="hello", **variables)
    assert run == Run("", line + "\n", 1)


def test_a_bot_that_is_not_there_is_one_line(chat: Chat) -> None:
    run = chat("--url", f"http://{CLOSED}/", said="hello", POE_ACCESS_KEY=KEY)
    line = f"error: nothing answers at http://{CLOSED}/: start it with `make run`"
    assert run == Run("", line + "\n", 1)


def test_a_refused_key_is_one_line(chat: Chat, url: str) -> None:
    run = chat("--url", url, said="hello", POE_ACCESS_KEY="w" * 32)
    key = "POE_ACCESS_KEY"
    remedy = f"set {key} to its key, or try again in 10 s if it has just been changed"
    assert run.stderr == f"error: the bot refused the access key in {key}: {remedy}\n"
    assert run.returncode == 1


@pytest.mark.anyio
async def test_any_bot_on_poe_answers_to_a_persons_key(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha")
    options = {"access_key": KEY, "personal_key": "p" * 20, "on_line": lambda line: None}
    async with PoeStandIn(folder=tmp_path, **options) as poe:

        async def ask(*arguments: str | Path, key: str = "p" * 20) -> Any:
            variables = poe.environment | {"POE_API_KEY": key}
            return await asyncio.to_thread(process, *arguments, said="Hi\nand on", **variables)

        answered = await ask("--bot", "Echo", "--attach", tmp_path / "a.txt")
        refused, unknown = await asyncio.gather(
            ask("--bot", "Echo", key="w" * 20), ask("--bot", "NoSuchBot")
        )
        history = [len(call.query.query) for call in poe.record.calls][:2]
    assert (answered.stdout, answered.returncode) == ("Hi\nand on\n", 0)
    assert history == [1, 3]
    assert [upload.name for upload in poe.record.uploads] == ["a.txt"]
    assert refused.stderr.splitlines()[0] == "error: Invalid API key."
    assert unknown.stderr.splitlines()[0] == "error: Bot NoSuchBot does not exist."
    assert (refused.returncode, unknown.returncode) == (1, 1)


def test_an_unreachable_poe_is_one_line(chat: Chat) -> None:
    variables = {"POE_API_KEY": "p" * 20, "HTTPS_PROXY": f"http://{CLOSED}"}
    run = chat("--bot", "Echo", said="hello", **variables)
    assert run.stderr.splitlines()[0] == "error: Poe can't be reached (ConnectError)"
    assert (run.stdout, run.returncode) == ("", 1)
