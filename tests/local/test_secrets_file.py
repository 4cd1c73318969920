"""`secrets.json` and several bots under `make run`: what is read, refused, made and kept."""

from pathlib import Path

import pytest

from commands import run
from infra.toolchain.folders import ROOT
from local.secrets_file import BadSecrets, read_members, with_keys
from poe.client.access import access_key
from poe.client.served_bot import DeclaredBot, declared_bots, keep_keys
from tests.commands.test_run import Run, free_port

BOT = """
import os
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text=f"the other key ends with {os.environ['OTHER_KEY'][-3:]}")

os.environ["OTHER_KEY"]
bot = Bot()
"""


def secrets_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "secrets.json"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_no_file_is_no_further_member(tmp_path: Path) -> None:
    assert read_members(tmp_path / "secrets.json") == {}


def test_the_files_members_are_read(tmp_path: Path) -> None:
    file = secrets_file(tmp_path, '{"OPENAI_API_KEY": "ä", "B_2": ""}')
    assert read_members(file) == {"OPENAI_API_KEY": "ä", "B_2": ""}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "one JSON object"),
        ("OPENAI_API_KEY=VALUE", "one JSON object"),
        ('["VALUE"]', "one JSON object"),
        ('{"A": "VALUE", "A": "b"}', "each name once"),
        ('{"openai_api_key": "VALUE"}', "'openai_api_key': a member's name has to match"),
        ('{"AWS_PROFILE": "VALUE"}', "AWS_PROFILE would change how the function runs"),
        ('{"A": {"b": "VALUE"}}', "the value of A is not a text"),
        ('{"A": "VALUE\\u0000"}', "the value of A is not a text"),
        ('{"POE_ACCESS_KEY": "VALUE"}', "has 5 characters, not 32"),
    ],
)
def test_what_is_wrong_with_the_file_is_one_line_without_a_value(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(BadSecrets) as refused:
        read_members(secrets_file(tmp_path, text))
    line = str(refused.value)
    assert line.startswith("secrets.json")
    assert words in line
    assert "\n" not in line
    assert "VALUE" not in line


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = secrets_file(tmp_path, "{}", mode=0o640)
    with pytest.raises(BadSecrets, match="run `chmod 600 secrets.json`"):
        read_members(file)


def test_the_files_access_key_is_used_unless_the_environment_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = secrets_file(tmp_path, f'{{"POE_ACCESS_KEY": "{"f" * 32}", "B": "b"}}')
    monkeypatch.setattr(run, "KEY_FILE", tmp_path / "access-key")
    monkeypatch.delenv("POE_ACCESS_KEY", raising=False)
    assert run.secret_members(file, []) == {"POE_ACCESS_KEY": "f" * 32, "B": "b"}
    monkeypatch.setenv("POE_ACCESS_KEY", "e" * 32)
    assert run.secret_members(file, []) == {"POE_ACCESS_KEY": "e" * 32, "B": "b"}


def test_git_ignores_the_file() -> None:
    assert "/secrets.json" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_bot_gets_a_key_that_stays_unless_it_has_one() -> None:
    members = {"POE_ACCESS_KEY": "k" * 32, "ECHO_ACCESS_KEY": "e" * 32}
    names = ["POE_ACCESS_KEY", "ECHO_ACCESS_KEY", "REVERSE_ACCESS_KEY"]
    made = with_keys(members, "k" * 32, names)
    assert made == with_keys(members, "k" * 32, names)
    assert {name: made[name] for name in members} == members
    assert len(made["REVERSE_ACCESS_KEY"]) == 32
    assert made != with_keys(members, "j" * 32, names)


@pytest.mark.parametrize(
    ("source", "bots"),
    [
        ("bot = Bot()", [DeclaredBot()]),
        ("bot = Bot(path='/a')", [DeclaredBot("/a")]),
        ("bot = Bot(access_key=os.environ['A_KEY'])", [DeclaredBot("/", "A_KEY")]),
        (
            "bot = [Bot(path='/a', access_key=os.environ['A_KEY']), Bot()]",
            [DeclaredBot("/a", "A_KEY"), DeclaredBot()],
        ),
        ("bot = Bot(path='/a')\nbot = Bot(path='/b')", [DeclaredBot("/b")]),
        # A name that no secret may hold, and what cannot be known without running it.
        ("bot = Bot(path='/a', access_key=os.environ['PATH'])", [DeclaredBot("/a")]),
        ("bot = [make(n) for n in range(2)]", [DeclaredBot()]),
        ("import bot", [DeclaredBot()]),
        ("def f(:", [DeclaredBot()]),
    ],
)
def test_bots_are_known_from_their_file(
    tmp_path: Path, source: str, bots: list[DeclaredBot]
) -> None:
    (tmp_path / "bot.py").write_text(source)
    assert declared_bots(tmp_path / "bot.py") == bots


def test_a_chat_finds_the_key_of_the_bot_at_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POE_ACCESS_KEY", raising=False)
    declared = [DeclaredBot("/echo", "ECHO_ACCESS_KEY"), DeclaredBot()]
    keys = {"ECHO_ACCESS_KEY": "e" * 32, "POE_ACCESS_KEY": "k" * 32}
    file = Path("build", "run", "9001", "access-keys.json")
    keep_keys(file, declared, keys)
    Path("build", "run", "access-key").write_text("d" * 32)
    assert file.stat().st_mode & 0o777 == 0o600
    assert access_key(url="http://127.0.0.1:9001/echo") == ("e" * 32, str(file))
    assert access_key(url="http://localhost:9001") == ("k" * 32, str(file))
    # Another port, another path, another machine: what `make run` keeps for any bot.
    for url in ("http://127.0.0.1:9000/", "http://127.0.0.1:9001/x", "http://example.com:9001/"):
        assert access_key(url=url)[0] == "d" * 32
    monkeypatch.setenv("POE_ACCESS_KEY", "s" * 32)
    assert access_key(url="http://127.0.0.1:9001/echo") == ("s" * 32, "POE_ACCESS_KEY")


def test_a_bot_that_misses_a_member_says_where_to_put_it_and_then_finds_it(
    tmp_path: Path,
) -> None:
    bot_file = tmp_path / "bot.py"
    bot_file.write_text(BOT)
    missing = Run(free_port(), bot_file, "--secrets", tmp_path / "secrets.json")
    missing.process.wait(30)
    assert missing.end() == 1
    [line] = [line for line in missing.output.splitlines() if line]
    assert line.startswith("error: the bot does not start: KeyError: 'OTHER_KEY'")
    assert line.endswith(
        'Put OTHER_KEY into secrets.json, as {"OTHER_KEY": "…"}, and start `make run` again'
    )

    file = secrets_file(tmp_path, '{"OTHER_KEY": "abcdefghi"}')
    running = Run(free_port(), bot_file, "--secrets", file)
    try:
        running.wait_for("Ctrl-C ends everything.")
        assert running.chat("hello\n").stdout.startswith("the other key ends with ghi")
    finally:
        running.end()
    assert "abcdefghi" not in running.output


def test_several_bots_run_and_each_is_talked_to_at_its_path() -> None:
    running = Run(free_port(), ROOT / "examples" / "several_bots.py")
    try:
        running.wait_for("Ctrl-C ends everything.")
        assert "Your bots run on a local Lambda" in running.output
        assert f"make chat URL=http://127.0.0.1:{running.port}/echo " in running.output
        assert running.chat("abc\n", path="reverse").stdout.startswith("cba")
        assert running.chat("abc\n", path="echo").stdout.startswith("abc")
    finally:
        running.end()
    assert "warning" not in running.output
