"""`make run` and `make chat` as their user meets them: whole processes and what they print."""

import asyncio
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import httpx
import pytest

from commands.command import run_command
from commands.run import main
from commands.terminal.sources import with_own_names
from infra.package import bot_folder
from infra.package.bot_folder import BotFolder
from infra.toolchain.folders import BUILD, ROOT
from local.aws_lambda.cgroups import Cgroups
from local.changes import Changes
from local.ports import own_port
from poe.client import access
from poe.client.access import kept_key_file
from tests.support.bot_folder import remove_output, write_folder
from tests.support.closed import CLOSED

BOT = """
import os
import fastapi_poe as fp
from words import WORD

class Bot(fp.PoeBot):
    async def get_response(self, request):
        print("pid", os.getpid())
        yield fp.PartialResponse(text=WORD)
        async for message in fp.stream_request(request, "Echo", request.access_key):
            yield message

    async def get_settings(self, setting):
        return fp.SettingsResponse(server_bot_dependencies={"Echo": 1})

bot = Bot()
"""


class Run:
    """A `make run` under way, with everything it has printed."""

    def __init__(self, port, folder, *options, **variables):
        self.port = port
        self.folder = folder
        self.output = ""
        command = [
            sys.executable,
            "-m",
            "commands.run",
            "--port",
            str(port),
            "--bot-dir",
            folder,
        ]
        command += options
        # Without PYTHONUNBUFFERED: what is printed has to arrive through a pipe all the same.
        shell = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=shell | variables,
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
        remove_output(self.folder)
        return status

    def only_line(self):
        """What it has printed but for its farewell."""
        [line] = [line for line in self.output.splitlines() if line not in ("", "Stopped.")]
        return line

    def chat(self, text, path=""):
        url = f"http://127.0.0.1:{self.port}/{path}"
        command = [sys.executable, "-m", "commands.chat", "--url", url]
        return subprocess.run(
            command, cwd=ROOT, input=text, capture_output=True, text=True, timeout=30
        )


class Browser:
    """What of the chat page a program can read."""

    def __init__(self, http):
        self._http = http

    def open(self, address):
        self.opened = self._http.get(address)
        return self.opened.text

    def wait_for_phase(self, phase):
        until = time.monotonic() + 30
        while (state := self._http.get(f"{self.opened.url}state").json())["phase"] != phase:
            assert time.monotonic() < until, state
            time.sleep(0.05)
        return state


def cpu_quotas(run):
    """Of its functions' cgroups, in microseconds of 20,000; None if it can't create any."""
    probe = Cgroups.create(f"local-lambda-test-{os.getpid()}", 300, ["cpu"])
    if probe.cpu is None:
        return None
    probe.remove()
    return [
        limit.read_text().split()[0]
        for group in probe.cpu.parent.glob(f"local-lambda-{run.process.pid}-*")
        for limit in (group / "cpu.cfs_quota_us", group / "cpu.max")
        if limit.exists()
    ]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def running(tmp_path):
    """A `make run` of a bot that a test can change."""
    folder = write_folder(tmp_path / "my bot's", {"bot.py": BOT, "words.py": "WORD = 'WORD '"})
    run = Run(free_port(), folder)
    yield run
    run.end()


@pytest.fixture
def browser():
    with httpx.Client(trust_env=False, follow_redirects=True) as http:
        yield Browser(http)


def test_the_bot_runs_reloads_and_everything_ends_with_ctrl_c(running, browser):
    running.wait_for("Press Ctrl-C to stop everything.")
    assert f"It reloads when a file in {running.folder} changes." in running.output
    url = f"http://127.0.0.1:{running.port}/"
    assert f"URL         {url}" in running.output
    assert re.search(r"Access key  [0-9a-f]{32}\n", running.output)
    assert f"make chat URL={url}" in running.output
    assert "3391" not in (cpu_quotas(running) or ())  # as with MEMORY=300
    assert "cgroups" not in running.output
    page = re.search(r"Chat page   (http://127\.0\.0\.1:\d+/\?token=[\w-]{43})\s", running.output)
    assert "<title>Your bot</title>" in browser.open(page[1])
    starts = browser.wait_for_phase("ready")["starts"]
    assert httpx.get(page[1].partition("?")[0], trust_env=False).status_code == 403
    assert stat.S_IMODE((BUILD / "run" / str(running.port)).stat().st_mode) == 0o700

    said = running.chat("hello there\n")
    assert said.returncode == 0, said.stderr
    assert "WORD " in said.stdout
    assert "hello there" in said.stdout  # from the stand-in for Poe
    running.wait_for("query: done")

    (running.folder / "words.py").write_text("WORD = 'CHANGED '")
    running.wait_for("Reloaded in")
    assert "CHANGED " in running.chat("again\n").stdout

    # A change that doesn't start or doesn't compile is reported at once; what ran before goes on.
    faults = ("import nowhere_to_be_found", "No module named"), ("def f(:", "bot.py:1: invalid")
    for number, (broken, words) in enumerate(faults):
        (running.folder / "bot.py").write_text(broken)
        running.wait_for("as it was before this change, until that is fixed.", times=number + 1)
        assert words in running.output
        assert words in browser.wait_for_phase("broken")["reason"]
        said = running.chat("and?\n")
        assert "CHANGED " in said.stdout
        assert "your last change isn't served, the bot answers as before: " in said.stderr
        assert words in said.stderr
    (running.folder / "bot.py").write_text(BOT)
    running.wait_for("Reloaded in", times=2)
    said = running.chat("and again\n")
    assert (said.returncode, "isn't served" in said.stderr) == (0, False)
    assert browser.wait_for_phase("ready")["starts"] > starts
    assert "Traceback" not in running.output

    pids = {int(pid) for pid in re.findall(r"pid (\d+)", running.output)}
    assert pids
    assert running.end() == 0
    assert running.output.endswith("Stopped.\n")
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_snapstart_is_played_and_a_kill_ends_everything_with_the_status_of_shells(tmp_path):
    folder = write_folder(tmp_path / "bot", {"bot.py": BOT, "words.py": "WORD = 'WORD '"})
    run = Run(free_port(), folder, "--snapstart")
    try:
        run.wait_for("Press Ctrl-C to stop everything.")
        said = run.chat("hello there\n")
        run.wait_for("restored from the snapshot in ")
    finally:
        status = run.end(signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    assert run.output.endswith("Stopped.\n")
    assert "WORD hello there" in said.stdout
    assert "RESTORE_START" not in run.output
    assert "on a local Lambda, each start from an imitated snapshot (ready in" in run.output


def test_a_bot_that_blocks_the_others_is_shown_with_its_file_and_a_limit_is_passed_on(
    tmp_path,
):
    source = BOT.replace("        yield", "        import time; time.sleep(60)\n        yield", 1)
    files = {"bot.py": source, "words.py": "WORD = 'WORD '"}
    folder = write_folder(tmp_path / "bot", files)
    run = Run(free_port(), folder, "--concurrency", "2", BOT_BLOCK_LIMIT="1")
    try:
        run.wait_for("Press Ctrl-C to stop everything.")
        run.chat("hello there\n")
        run.wait_for("FAILED query: deadline")
    finally:
        run.end()
    place = f"bot.py:{1 + source[: source.index('time.sleep')].count(chr(10))} in get_response"
    assert re.search(rf"WARN the bot has blocked the event loop for 1\.. s at {place}", run.output)
    assert f"FATAL the bot has blocked the event loop for 1 s at {place}" in run.output
    assert "on a local Lambda, up to 2 messages at once in one process (ready in" in run.output


def test_a_run_that_is_still_starting_keeps_its_port_and_its_folder(tmp_path):
    port = free_port()
    kept = write_folder(BUILD / "run" / str(port), {"file": "of the other run"}) / "file"
    with own_port(port, kept.parents[1], ""):
        run = Run(port, write_folder(tmp_path / "bot", {"bot.py": BOT}))
        run.process.wait(30)
        assert kept.exists()
    assert run.end() == 1
    another = "stop what uses it, or choose another with `make run PORT=9001`"
    assert run.only_line() == f"error: port {port} is in use: {another}"
    shutil.rmtree(kept.parent)


def test_a_port_that_is_taken_during_the_start_gives_one_clear_line(tmp_path):
    run = Run(free_port(), write_folder(tmp_path / "bot", {"bot.py": BOT, "words.py": "WORD = ''"}))
    until = time.monotonic() + 30
    while not (BUILD / "run" / str(run.port)).exists():
        assert time.monotonic() < until, run.output
        time.sleep(0.002)
    with socket.create_server(("127.0.0.1", run.port)):
        run.process.wait(30)
    assert run.end() == 1
    assert run.only_line().startswith(f"error: port {run.port} is in use: ")


def test_a_bot_that_does_not_compile_gives_one_clear_line(tmp_path):
    run = Run(free_port(), write_folder(tmp_path / "bot", {"bot.py": "def f(:\n"}))
    run.process.wait(30)
    assert run.end() == 1
    assert run.only_line().startswith("error: ")
    assert "bot.py:1" in run.only_line()


PERSONS_BOT = """
import os

import fastapi_poe as fp
import httpx

KEY = os.environ["POE_API_KEY"]
URL = "https://api.poe.com/v1/chat/completions"

class Bot(fp.PoeBot):
    async def get_response(self, request):
        said = request.query[-1].content
        message = fp.ProtocolMessage(role="user", content=said)
        async for part in fp.get_bot_response([message], "Told", KEY):
            yield part
        body = {"model": "Echo", "messages": [{"role": "user", "content": said}]}
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as http:
            answer = (await http.post(URL, json=body)).json()
        yield fp.PartialResponse(text=" / " + answer["choices"][0]["message"]["content"])

bot = Bot()
"""


@pytest.fixture
def persons_bot(tmp_path):
    """The folder of a bot that calls Poe with POE_API_KEY, by both of Poe's APIs."""
    files = {
        "bot.py": PERSONS_BOT,
        "poe_answers.toml": '[[answer]]\nbot = "Told"\ntext = "as told"',
    }
    return write_folder(tmp_path / "bot", files)


def test_a_bots_own_key_on_poe_is_good_for_the_stand_in_and_a_file_tells_answers(persons_bot):
    secrets = write_folder(persons_bot, {"secrets.json": '{"POE_API_KEY": "any"}'}) / "secrets.json"
    secrets.chmod(0o600)
    run = Run(free_port(), persons_bot)
    try:
        run.wait_for("Press Ctrl-C to stop everything.")
        assert "as told / hello" in run.chat("hello\n").stdout
        assert "poe: Told is called; poe_answers.toml answers" in run.output
        (persons_bot / "poe_answers.toml").write_text("[[answer]]\nbot = 'Told'\ntext = 'anew'")
        assert "anew / again" in run.chat("again\n").stdout
        assert "Reloaded" not in run.output
    finally:
        run.end()


def test_a_key_on_poe_in_the_environment_is_the_bots_too_and_is_said_to_cost(persons_bot):
    proxy = f"http://{CLOSED}"
    run = Run(free_port(), persons_bot, POE_API_KEY="p" * 20, HTTPS_PROXY=proxy)
    try:
        run.wait_for("Calls to other bots go to Poe, and POE_API_KEY's owner pays for them.")
        run.chat("hello\n")
        assert "poe: Told is called on Poe" in run.output
        assert "poe: Poe can't be reached (ConnectError)" in run.output
    finally:
        run.end()


def test_a_key_on_poe_that_nobody_gave_is_one_line_that_says_where_it_belongs(persons_bot):
    run = Run(free_port(), persons_bot)
    run.process.wait(30)
    assert run.end() == 1
    line = run.only_line()
    assert line.startswith("error: the bot doesn't start: KeyError: 'POE_API_KEY'")
    assert line.endswith(
        f'. Add POE_API_KEY to {persons_bot}/secrets.json, as {{"POE_API_KEY": "…"}}'
        " (the stand-in for Poe takes any value), and run `make run` again"
    )


SLOW_BOT = """
import time

import fastapi_poe as fp
import slow_library
from own import words

time.sleep(1.2)

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text="hello")

bot = Bot()
"""
SLEEP = "import time\ntime.sleep({})\n"


@pytest.fixture
def slow_run(tmp_path):
    files = {
        "bot.py": SLOW_BOT,
        "slow_library.py": SLEEP.format(1.6),
        "own/__init__.py": "",
        "own/words.py": "import own.more\n" + SLEEP.format(0.4),
        "own/more.py": SLEEP.format(2.0),
    }
    run = Run(free_port(), write_folder(tmp_path / "bot", files))
    yield run
    run.end()


def test_a_start_that_poe_would_not_wait_for_is_explained_by_its_imports(slow_run):
    slow_run.wait_for("Press Ctrl-C to stop everything.")
    slow_run.wait_for("slowest at the start: ")
    slow_run.end()
    output = slow_run.output
    assert re.search(r"WARN the start took \d+\.\d s, and Poe waits 5 s", output)
    times = re.search(r"^warning: slowest at the start: (.*)\. Move what you can", output, re.M)
    assert times, output
    names = [each.rpartition(" ")[0].rpartition(" ")[0] for each in times[1].split(", ")]
    # The last grows with whatever else the machine does meanwhile.
    assert set(names) == {"own", "slow_library", "bot.py itself"}
    assert names.index("own") < names.index("slow_library")
    assert "longer still: 512 MB come with 29% of a CPU. `make run MEMORY=1769`" in output


def test_an_error_is_shown_whole_with_the_bots_own_file(tmp_path):
    source = BOT.replace("print(", "raise ValueError('boom', ")
    folder = write_folder(tmp_path, {"bot/words.py": "WORD = 'WORD '", "other.py": source})
    run = Run(free_port(), folder / "bot", "--bot-file", str(folder / "other.py"))
    try:
        run.wait_for("Press Ctrl-C to stop everything.")
        said = run.chat("hello\n").stderr
        run.wait_for("query: bot error")
    finally:
        run.end()
    number = 1 + source[: source.index("raise")].count("\n")
    frame = f'File "{folder}/other.py", line {number}, in get_response'
    assert frame in run.output
    assert "unexpected issue.\n    " + frame in said
    assert "ValueError: ('boom'" in said
    assert "fastapi_poe" not in said
    assert re.search(r"ValueError: \('boom', 'pid', \d+\)", run.output)
    assert f"ValueError at other.py:{number} in get_response" in run.output


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('File "bot/bot.py", line 7', 'File "{folder}/other.py", line 7'),
        ('File "bot/a/b.py", line 7', 'File "{folder}/bot/a/b.py", line 7'),
        ('File "fastapi_poe/bot/bot.py", line 7', 'File "fastapi_poe/bot/bot.py", line 7'),
        ("KeyError: 'x' (bot.py:7 in <module>)", "KeyError: 'x' (other.py:7 in <module>)"),
        ("UserWarning at bot/bot.py:7", "UserWarning at other.py:7"),
        ("UserWarning at bot/prompts.py:7", "UserWarning at prompts.py:7"),
        ("UserWarning at fastapi_poe/bot.py:7", "UserWarning at fastapi_poe/bot.py:7"),
        ("see bot.py, or bot/", "see bot.py, or bot/"),
        ("name 'Y' from 'x' (bot/x.py)", "name 'Y' from 'x' (x.py)"),
    ],
)
def test_the_bots_files_have_the_names_that_its_author_knows(tmp_path, text, shown):
    folder = write_folder(tmp_path, {"bot/x": "", "other.py": "1"})
    bot = BotFolder.at(str(folder / "bot"), str(folder / "other.py"))
    assert with_own_names(text, bot) == shown.replace("{folder}", str(folder))


def test_a_start_that_lambda_would_not_wait_for_names_its_slowest_imports(tmp_path):
    files = {"bot.py": SLOW_BOT, "slow_library.py": SLEEP.format(10), "own.py": "words = 1\n"}
    run = Run(free_port(), write_folder(tmp_path / "bot", files))
    run.process.wait(100)
    assert run.end() == 1
    line = next(line for line in run.output.splitlines() if line.startswith("error: "))
    words = (
        "the bot doesn't start: the init took longer than 10 seconds; slowest at the start: slow_"
    )
    assert words in line


def test_a_port_in_use_gives_one_clear_line(tmp_path):
    folder = write_folder(tmp_path / "bot", {"bot.py": BOT})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = Run(port, folder)
        assert run.process.wait(30) == 1
        run.end()
    [line] = run.output.splitlines()
    assert line.startswith(f"error: port {port} is in use")


def test_a_bot_file_that_is_not_there_gives_one_clear_line(tmp_path):
    run = Run(free_port(), tmp_path, "--bot-file", "none.py")
    assert run.process.wait(30) == 1
    run.end()
    [line] = run.output.splitlines()
    assert "none.py" in line


def test_a_memory_that_lambda_does_not_have_gives_one_clear_line(capsys):
    assert run_command(main, ["--memory", "64"]) == 1
    assert capsys.readouterr().err == "error: MEMORY=64 is invalid: use 128 to 10240 MB\n"


def test_a_memory_size_brings_its_share_of_the_cpu(tmp_path):
    folder = write_folder(tmp_path / "bot", {"bot.py": BOT, "words.py": "WORD = ''"})
    run = Run(free_port(), folder, "--memory", "300")
    try:
        run.wait_for("Press Ctrl-C to stop everything.")
        quotas = cpu_quotas(run)
    finally:
        run.end()
    if quotas is None:
        assert "can't write cgroups, so the function has the whole CPU" in run.output
    else:
        assert quotas == ["3391"]  # 300 / 1769


def test_two_folders_have_keys_of_their_own_and_never_each_others(tmp_path, monkeypatch):
    monkeypatch.setattr(access, "BUILD", tmp_path)
    monkeypatch.setattr(bot_folder, "BUILD", tmp_path)
    folders = [write_folder(tmp_path / name / "bot", {"bot.py": BOT}) for name in "ab"]
    kept = [kept_key_file(BotFolder.at(str(folder))) for folder in folders]
    assert len({*kept, kept_key_file(BotFolder.at())}) == 3
    assert kept_key_file(BotFolder.at()) == tmp_path / "run" / "access-key"


async def told(changes):
    async with asyncio.timeout(20):
        await changes.next()


@pytest.mark.anyio
async def test_a_change_during_a_build_causes_another(tmp_path):
    folder = write_folder(tmp_path / "bot", {"bot.py": BOT})
    async with Changes(BotFolder.at(str(folder))) as changes:
        (folder / "bot.py").write_text("changed while the first build is under way")
        await told(changes)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("new.py", True),
        ("data/words.csv", True),
        ("requirements.txt", True),
        ("requirements.lock", False),
        (".git/index", False),
        ("tests/test_bot.py", False),
        ("secrets.json", False),
        ("../elsewhere.py", False),
    ],
)
def test_a_bot_is_reloaded_for_what_its_package_is_made_of(tmp_path, name, counts):
    folder = write_folder(tmp_path / "bot", {"bot.py": BOT, "data/x": "", name: ""})
    assert Changes(BotFolder.at(str(folder))).affect(folder / name) is counts


@pytest.mark.anyio
async def test_a_bot_file_is_watched_where_it_lies_even_when_an_editor_replaces_it(tmp_path):
    folder = write_folder(tmp_path / "bot", {"x": ""})
    write_folder(tmp_path, {"other.py": "1", "new": "2", "newer": "3"})
    async with Changes(BotFolder.at(str(folder), str(tmp_path / "other.py"))) as changes:
        for name in ("new", "newer"):
            (tmp_path / name).rename(tmp_path / "other.py")
            await told(changes)
