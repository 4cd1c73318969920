"""`make deploy-local` as its user meets it, and as another user of the machine does."""

import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from commands import deploy_local
from infra.stack.options import Options
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT
from local.aws.ministack import MiniStack
from local.ports import free_port
from local.signature import Credentials
from tests.support.bot_folder import remove_output, write_folder
from tests.support.home import NOBODYS

# It calls a bot on Poe, with the key that Poe sent.
BOT = """
import os
import fastapi_poe as fp

MINE = os.environ["MINE"]
AT_ONCE = os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1")

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text=f"{AT_ONCE} at once. MINE is {MINE}. ")
        async for message in fp.stream_request(request, "Echo", request.access_key):
            yield message

    async def get_settings(self, setting):
        return fp.SettingsResponse(server_bot_dependencies={"Echo": 1})

bot = Bot()
"""
NEW_KEY = "n" * 32


def test_the_next_commands_find_the_credentials_in_a_file_of_this_user_alone(
    tmp_path: Path,
) -> None:
    file = tmp_path / "it's here"
    aws = MiniStack("http://localhost:1", Credentials.random())
    umask = os.umask(0)
    try:
        deploy_local._keep_variables(aws, file)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shell = ["sh", "-c", f". {shlex.quote(str(file))}; env"]
    given = subprocess.run(shell, env={}, capture_output=True, text=True, check=True).stdout
    assert {f"{name}={value}" for name, value in aws.variables.items()} <= set(given.splitlines())


def test_a_function_for_managed_instances_is_deployed_as_a_plain_one_with_their_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for network in ({"vpc": "vpc-0a1b2c3d4e5f67890"}, {"zones": "us-east-1a"}):
        given = {"concurrency": 64, **network}
        plain = Options.from_context({**given, **deploy_local._plain(Options.from_context(given))})
        assert (plain.concurrency, plain.vpc, plain.zones, plain.memory) == (None, None, None, 2048)
    assert capsys.readouterr().out.startswith("The local AWS has no Managed Instances: it gets a ")
    assert deploy_local._plain(Options.from_context({})) == {}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(deploy_local, "FOLDERS", tmp_path)
    return tmp_path


@pytest.mark.parametrize("taken", ["PORT", "AWS_PORT"])
def test_a_port_in_use_is_found_before_anything_is_touched(taken: str, folders: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        used, free = listener.getsockname()[1], free_port(None)
        ports = (used, free) if taken == "PORT" else (free, used)
        kept = write_folder(folders / str(ports[0]), {"aws.sh": "of another run"}) / "aws.sh"
        choose = f"choose another with `make deploy-local {taken}="
        with pytest.raises(UserError, match=f"^port {used} is in use: .*{choose}"):
            deploy_local.own_folder(*ports).__enter__()
        assert kept.exists()


def test_a_port_that_another_command_is_about_to_use_is_in_use(folders: Path) -> None:
    port, one, other = (free_port(None) for _ in range(3))
    with deploy_local.own_folder(port, one) as folder:
        (folder / "aws.sh").touch()
        with pytest.raises(UserError, match=f"^port {port} is in use"):
            deploy_local.own_folder(port, other).__enter__()
        assert (folder / "aws.sh").exists()
    with deploy_local.own_folder(port, other) as folder:
        assert list(folder.iterdir()) == []


def test_two_ports_that_are_one_are_refused(folders: Path) -> None:
    port = free_port(None)
    with pytest.raises(UserError, match=f"^PORT and AWS_PORT are both {port}: choose two"):
        deploy_local.own_folder(port, port).__enter__()


@dataclass(frozen=True)
class Deployed:
    """What the command printed, up to its banner."""

    said: str
    bot: Path
    port: int

    @property
    def folder(self) -> Path:
        return deploy_local.FOLDERS / str(self.port)

    @property
    def url(self) -> str:
        return re.findall(r"URL +(http://127\S+)", self.said)[0]

    def make(self, verb: str, stdin: str = "", *, in_its_aws: bool = False) -> str:
        """What one of the banner's commands prints, as another terminal runs it."""
        (line,) = re.findall(rf"^ +(?:Next +)?(make {verb}.*?)(?: +\(.*)?$", self.said, re.M)
        begin = re.findall(r"^  (\. .+)$", self.said, re.M)[0] if in_its_aws else "true"
        done = subprocess.run(
            ["sh", "-c", f"{begin}; exec {line}"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": NOBODYS},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Deployed]]:
    """Two of them, side by side."""
    files = {"bot.py": BOT, "cdk.json": '{"context": {"concurrency": 8}}'}
    bot = write_folder(tmp_path_factory.mktemp("local") / "my-bot", files)
    (bot / "secrets.json").touch(mode=0o600)
    (bot / "secrets.json").write_text('{"MINE": "of secrets.json"}')
    ports = [free_port(None) for _ in range(2)]
    processes = []
    for port in ports:
        given = ["--port", str(port), "--aws-port", str(free_port(None)), "--bot-dir", str(bot)]
        command = [sys.executable, "-m", "commands.deploy_local", *given]
        processes.append(
            subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    try:
        banners = [_until_banner(process) for process in processes]
        yield [Deployed(said, bot, port) for said, port in zip(banners, ports, strict=True)]
    finally:
        ends = (signal.SIGINT, signal.SIGTERM)
        for process, end in zip(processes, ends, strict=True):
            process.send_signal(end)
        rests = [process.communicate()[0] for process in processes]
        remove_output(bot)
    assert all(rest.endswith(f"{deploy_local.STOPPED}\n") for rest in rests), rests
    assert not any("Traceback" in rest for rest in rests)
    assert [process.returncode for process in processes] == [0, 128 + signal.SIGTERM]


def wait_until_accepted(url: str, key: str) -> None:
    """The bot reads its secret again at most every ten seconds, and `make check` had it read."""
    until, headers = time.monotonic() + 30, {"Authorization": f"Bearer {key}"}
    settings = {"type": "settings", "version": "1.2"}
    while httpx.post(url, json=settings, headers=headers, trust_env=False).status_code == 401:
        assert time.monotonic() < until
        time.sleep(0.5)


def _until_banner(process: subprocess.Popen[str]) -> str:
    said = ""
    assert process.stdout
    for line in process.stdout:
        said += line
        if "Press Ctrl-C" in line:
            break
    assert "Press Ctrl-C" in said, said
    return said


@pytest.mark.slow
@pytest.mark.node
@pytest.mark.timeout(600)
def test_what_its_banner_offers_works_and_a_stranger_gets_nothing(two: list[Deployed]) -> None:
    changed, other = two
    assert stat.S_IMODE(changed.folder.stat().st_mode) == 0o700
    assert changed.folder != other.folder
    for one in two:
        assert "8 at once. MINE is of secrets.json. hello" in one.make("chat", "hello\n")
    assert "0 fail" in changed.make("check")
    said = changed.make("set-key", f"{NEW_KEY}\n", in_its_aws=True)
    assert "The access key of MyBot is set." in said
    said = changed.make("set-secret", "x\n", in_its_aws=True)
    assert "OPENAI_API_KEY of MyBot is set." in said
    wait_until_accepted(changed.url, NEW_KEY)
    assert "MINE is of secrets.json. again" in changed.make("chat", "hello\nagain\n")
    assert "MINE is of secrets.json. hello" in other.make("chat", "hello\n")
    credentials = (changed.folder / deploy_local.VARIABLES).read_text()
    endpoint = re.findall(r"AWS_ENDPOINT_URL=(\S+)", credentials)[0]
    for key in re.findall(r"AWS_(?:SECRET|SESSION|ACCESS)\w+=(\S+)", credentials):
        assert key not in changed.said
    for path in ("/_ministack/reset", "/_ministack/config", "/?Action=ListStacks"):
        assert httpx.post(endpoint + path, trust_env=False).status_code == 403
