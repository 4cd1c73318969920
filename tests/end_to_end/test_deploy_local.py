"""`make deploy-local` as its user meets it, and as another user of the machine does."""

import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from commands import deploy_local
from infra.toolchain.folders import ROOT
from local.aws.ministack import MiniStack
from local.ports import free_port
from local.signature import Credentials
from tests.support.bot_folder import remove_output, write_folder

BOT = """
import os
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text="OTHER is " + os.environ.get("OTHER", "unset"))

bot = Bot()
"""


def test_the_next_commands_find_the_credentials_in_a_file_of_this_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "it's here"
    monkeypatch.setattr(deploy_local, "VARIABLES", file)
    aws = MiniStack("http://localhost:1", Credentials.random())
    umask = os.umask(0)
    try:
        deploy_local._keep_variables(aws)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shell = ["sh", "-c", f". {shlex.quote(str(file))}; env"]
    given = subprocess.run(shell, env={}, capture_output=True, text=True, check=True).stdout
    assert {f"{name}={value}" for name, value in aws.variables.items()} <= set(given.splitlines())


@dataclass(frozen=True)
class Deployed:
    """What the command printed, up to its banner."""

    said: str
    folder: Path

    @property
    def url(self) -> str:
        return re.findall(r"URL +(http://127\S+)", self.said)[0]

    def in_another_terminal(self, *command: str, stdin: str = "") -> str:
        """What it prints, after the line that the banner gives."""
        line = re.findall(r"first run\n +(\. .+)", self.said)[0]
        words = shlex.join([sys.executable, "-m", *command, "--bot-dir", str(self.folder)])
        done = subprocess.run(
            ["sh", "-c", f"{line}; exec {words}"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": "/nowhere"},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = write_folder(tmp_path_factory.mktemp("local") / "my-bot", {"bot.py": BOT})
    ports = ["--port", str(free_port(None)), "--aws-port", str(free_port(None))]
    command = [sys.executable, "-m", "commands.deploy_local", *ports, "--bot-dir", str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        said = ""
        assert process.stdout
        for line in process.stdout:
            said += line
            if "Press Ctrl-C" in line:
                break
        assert "Press Ctrl-C" in said, said
        yield Deployed(said, folder)
        process.send_signal(signal.SIGINT)
        rest = process.communicate()[0]
    remove_output(folder)
    assert rest.endswith(f"{deploy_local.STOPPED}\n")


@pytest.mark.slow
@pytest.mark.node
@pytest.mark.timeout(300)
def test_what_its_banner_offers_works_and_a_stranger_gets_nothing(running: Deployed) -> None:
    assert stat.S_IMODE(deploy_local.FOLDER.stat().st_mode) == 0o700
    said = running.in_another_terminal(
        "commands.set_secret", "set-secret", "--name", "OTHER", stdin="x\n"
    )
    assert "OTHER of MyBot is set." in said
    (command,) = re.findall(r"Next +(POE_ACCESS_KEY=\S+) make chat URL=", running.said)
    variables = os.environ | {"POE_ACCESS_KEY": command.partition("=")[2]}
    chat = [sys.executable, "-m", "commands.chat", "--url", running.url]
    answered = subprocess.run(
        chat, cwd=ROOT, env=variables, input="hello\n", capture_output=True, text=True, check=True
    )
    assert "OTHER is unset" in answered.stdout  # the environment that was started before
    credentials = deploy_local.VARIABLES.read_text()
    endpoint = re.findall(r"AWS_ENDPOINT_URL=(\S+)", credentials)[0]
    for key in re.findall(r"AWS_(?:SECRET|SESSION|ACCESS)\w+=(\S+)", credentials):
        assert key not in running.said
    for path in ("/_ministack/reset", "/_ministack/config", "/?Action=ListStacks"):
        assert httpx.post(endpoint + path, trust_env=False).status_code == 403
