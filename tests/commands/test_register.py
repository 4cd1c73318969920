"""`make register`, as a process, with the stand-in for Poe where it expects Poe."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from commands.command import run_command
from commands.register import Poe, main
from infra.toolchain.folders import ROOT
from poe.client.conversation import Conversation
from poe.standin.standin import PoeStandIn
from tests.support.aws import Aws, Stack, aws, command, environment
from tests.support.bots import KEY, PacedBot, served, served_bot
from tests.support.closed import CLOSED

pytestmark = pytest.mark.anyio

NAME = "My-Bot"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Aws]:
    with aws() as cloud:
        yield cloud


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served_bot(PacedBot(3, pause=0.2)) as url:
        yield url


@dataclass(frozen=True)
class Done:
    stdout: str
    stderr: str
    returncode: int


Register = Callable[..., Awaitable[tuple[Done, PoeStandIn]]]


@pytest.fixture
def register(tmp_path: Path) -> Register:
    """Runs the command with a Poe that knows the bot My-Bot with KEY at `url`."""

    async def run(deployed: Stack, url: str, *arguments: str) -> tuple[Done, PoeStandIn]:
        async def settings() -> dict[str, Any]:
            async with Conversation(url, KEY) as conversation:
                return await conversation.settings()

        poe = PoeStandIn(
            access_key=KEY, bot_name=NAME, settings=settings, folder=tmp_path, on_line=print
        )
        async with poe:
            variables = environment({**deployed.environment, **poe.environment})
            process = await asyncio.create_subprocess_exec(
                *command("commands.register", "--stack", deployed.name, *arguments),
                cwd=ROOT,
                env=variables,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(60):
                out, err = await process.communicate()
        done = Done(out.decode(), err.decode(), process.returncode or 0)
        assert KEY not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done, poe

    return run


async def test_what_is_deployed_is_pushed_fetched_and_checked(
    register: Register, cloud: Aws, url: str
) -> None:
    done, poe = await register(cloud.stack(url=url), url, "--bot", NAME)
    [pushed] = poe.record.settings_pushed
    assert pushed["server_bot_dependencies"] == {"Echo": 2}
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "Poe has the settings of My-Bot: it calls Echo × 2",
        "Poe reaches My-Bot at the URL in its form.",
    ]
    assert f"Checking {url}" in lines
    assert any(line.startswith("pass      query streams") for line in lines)
    # fastapi_poe alone breaks one promise, and that is the status.
    assert lines[-1] == "My-Bot is registered, but the check failed."
    assert (done.returncode, done.stderr) == (1, "")


async def test_one_of_several_bots_is_registered_at_its_path_with_its_key(
    register: Register, cloud: Aws
) -> None:
    """Whichever name its key has in the secret, next to others that could be one."""
    members = {"POE_ACCESS_KEY": "p" * 32, "A_ACCESS_KEY": "a" * 32, "LOUD": KEY, "N": "short"}
    with served_bot(PacedBot(3, path="/echo")) as url:
        stack = cloud.stack(url=url, text=json.dumps(members))
        done, poe = await register(stack, f"{url}echo", "--bot", NAME, "--path", "/echo")
        missing, _ = await register(stack, url, "--bot", NAME, "--path", "/none")
        invalid, _ = await register(stack, url, "--bot", NAME, "--path", "echo")
        assert len(poe.record.settings_pushed) == 1
    assert f"Checking {url}echo" in done.stdout
    assert f"there is no bot at {url}none: set URL_PATH to the path of one" in missing.stderr
    assert invalid.stderr == "error: URL_PATH=echo is invalid: use a path such as /echo\n"


async def test_a_wrong_name_is_told_in_poes_words_with_what_to_look_at(
    register: Register, cloud: Aws, url: str
) -> None:
    done, poe = await register(cloud.stack(url=url), url, "--bot", "Your?Bot")
    first, *rest = done.stderr.splitlines()
    assert done.returncode == 1
    assert first == ("error: Poe refused update_settings, status 404: You have no bot Your?Bot.")
    assert any(url in line for line in rest)
    assert not poe.record.settings_pushed


async def test_a_key_that_is_not_that_of_poes_form_is_told_in_poes_words(
    register: Register, cloud: Aws
) -> None:
    other = "o" * 32
    bot = PacedBot(1)
    bot.access_key = other
    with served_bot(bot) as url:
        deployed = cloud.stack(url=url, text=f'{{"POE_ACCESS_KEY": "{other}"}}')
        done, _ = await register(deployed, url, "--bot", NAME)
    assert done.returncode == 1
    assert "status 403: This is not the access key of My-Bot." in done.stderr
    assert "make set-key" in done.stderr
    assert other not in done.stdout + done.stderr


async def test_a_form_with_another_url_is_found_out(
    register: Register, cloud: Aws, url: str
) -> None:
    done, poe = await register(cloud.stack(url=url), f"http://{CLOSED}/", "--bot", NAME)
    assert done.returncode == 1
    assert len(poe.record.settings_pushed) == 1
    assert "Poe refused fetch_settings, status 400" in done.stderr
    assert f"check that the URL in its form is {url}" in done.stderr


def test_an_answer_that_holds_the_key_is_shown_without_it() -> None:
    """Poe may send the address back, key and all."""
    said = Poe(NAME, KEY, "").without_key(f"no such address: /bot/{KEY}/1.2")
    assert said == "no such address: /bot/<the key>/1.2"


@pytest.fixture
def refused_early(
    cloud: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the command in this process without a Poe to reach; its error."""
    for name, value in {**cloud.environment, "HTTPS_PROXY": f"http://{CLOSED}"}.items():
        monkeypatch.setenv(name, value)

    def run(deployed: Stack, bot: str = NAME) -> str:
        assert run_command(main, ["--stack", deployed.name, "--bot", bot]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err

    return run


@contextmanager
def saying(answer: str, status: int = 200) -> Iterator[str]:
    """A bot that answers everything so."""

    async def say(request: Request) -> Response:
        return Response(answer, status)

    with served(Starlette(routes=[Route("/", say, methods=["GET", "POST"])])) as url:
        yield url


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ("no", 401, "the bot refused a settings request: status 401: no"),
        ("[]", 200, "the settings aren't a JSON object"),
        ('{"allow_attachments": "perhaps"}', 200, "Poe would refuse the bot's settings: allow_"),
        ("{}", 200, "Poe can't be reached: "),
    ],
)
def test_settings_that_cannot_be_had_or_pushed_give_one_clear_line(
    refused_early: Callable[..., str], cloud: Aws, answer: str, status: int, words: str
) -> None:
    with saying(answer, status) as url:
        assert words in refused_early(cloud.stack(url=url))


def test_a_bot_that_is_not_there_and_a_name_that_is_missing_give_one_clear_line(
    refused_early: Callable[..., str], cloud: Aws
) -> None:
    nowhere = cloud.stack()
    said = f"error: the bot can't be reached: nothing answers at http://{CLOSED}/\n"
    assert refused_early(nowhere) == said
    said = "error: BOT is missing: run `make register BOT=<its name on Poe>`\n"
    assert refused_early(nowhere, "") == said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "has no POE_ACCESS_KEY: run `make set-key`"),
        ('{"POE_ACCESS_KEY": "short"}', "the access key has 5 characters, not 32"),
    ],
)
def test_a_secret_without_a_usable_key_gives_one_clear_line(
    refused_early: Callable[..., str], cloud: Aws, text: str, words: str
) -> None:
    assert words in refused_early(cloud.stack(text=text))
