"""`secrets.json` and several bots under `make run`: what is read, refused, made and kept."""

import json
from pathlib import Path

import pytest

from infra.aws.secret_members import BadMember
from infra.package.bot_folder import BotFolder
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT
from local.secrets_file import kept_key, misplaced, read_members, with_keys
from poe.client import access
from poe.client.access import Unusable, access_key, kept_key_file
from poe.client.served_bot import ServedBot, keep_keys
from tests.commands.test_run import Run, free_port
from tests.support.bot_folder import write_folder

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
        ("", "isn't JSON: line 1, column 1"),
        ("OPENAI_API_KEY=VALUE", "isn't JSON: line 1, column 1"),
        ('{\n  "A" "VALUE"\n}', "isn't JSON: line 2, column 7"),
        ('{"A": "VALUE" "B": 1}', "isn't JSON: line 1, column 15"),
        ('["VALUE"]', "isn't a JSON object"),
        ('{"A": "VALUE", "A": "b"}', "has a member twice"),
        ('{"openai_api_key": "VALUE"}', "name has to match"),
        ('{"sk-VALUE": "OPENAI_API_KEY"}', "name has to match"),
        ('{"AWS_PROFILE": "VALUE"}', "AWS_PROFILE would change how the function runs"),
        ('{"A": {"b": "VALUE"}}', "the value of A is not a text"),
        ('{"A": "VALUE\\u0000"}', "the value of A is not a text"),
        ('{"POE_ACCESS_KEY": "VALUE"}', "has 5 characters, not 32"),
    ],
)
def test_what_is_wrong_with_the_file_is_one_line_without_a_value(
    tmp_path: Path, text: str, words: str
) -> None:
    file = secrets_file(tmp_path, text)
    with pytest.raises(UserError) as refused:
        read_members(file)
    line = str(refused.value)
    assert line.startswith(str(file))
    assert words in line
    assert "\n" not in line
    assert "VALUE" not in line


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    assert read_members(secrets_file(tmp_path, '\ufeff{"A": "b"}')) == {"A": "b"}


def test_a_file_that_isnt_utf_8_is_one_line(tmp_path: Path) -> None:
    file = secrets_file(tmp_path, "")
    file.write_bytes('{"A": "é"}'.encode("latin-1"))
    with pytest.raises(UserError, match="isn't UTF-8: save it as UTF-8"):
        read_members(file)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "my bot"
    folder.mkdir()
    file = secrets_file(folder, "{}", mode=0o640)
    with pytest.raises(UserError, match=f"run `chmod 600 '{file}'`"):
        read_members(file)


def test_a_file_in_the_place_of_earlier_versions_is_named_with_its_right_place(
    tmp_path: Path,
) -> None:
    bot = BotFolder(tmp_path / "bot")
    bot.path.mkdir()
    assert misplaced(bot, tmp_path / "secrets.json") == ""
    old = secrets_file(tmp_path, "{}")
    assert misplaced(bot, old).endswith(f"Move it to {bot.path}")
    secrets_file(bot.path, "{}")
    assert misplaced(bot, old) == ""


def test_the_access_key_is_the_kept_one_unless_another_is_given(tmp_path: Path) -> None:
    file = tmp_path / "run" / "access-key"
    key = kept_key(file, None)
    assert len(key) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert kept_key(file, None) == key
    assert kept_key(file, f" {'p' * 32}\n") == "p" * 32
    assert kept_key(file, None) == "p" * 32
    with pytest.raises(BadMember, match="has 5 characters, not 32"):
        kept_key(file, "short")


def test_a_key_and_its_folder_that_others_could_read_are_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / "run" / "access-key"
    file.parent.mkdir(mode=0o755)
    file.write_text("k" * 32)
    file.chmod(0o644)
    with file.open() as opened_before:
        kept_key(file, "p" * 32)
        assert opened_before.read() == "k" * 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    file.chmod(0o644)
    assert kept_key(file, None) == "p" * 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["access-key"]


def test_git_ignores_the_file() -> None:
    assert "secrets.json" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_bot_gets_a_key_that_stays_unless_it_has_one() -> None:
    members = {"POE_ACCESS_KEY": "k" * 32, "ECHO_ACCESS_KEY": "e" * 32}
    names = ["POE_ACCESS_KEY", "ECHO_ACCESS_KEY", "REVERSE_ACCESS_KEY"]
    made = with_keys(members, "k" * 32, names)
    assert made == with_keys(members, "k" * 32, names)
    assert {name: made[name] for name in members} == members
    assert len(made["REVERSE_ACCESS_KEY"]) == 32
    assert made != with_keys(members, "j" * 32, names)


def test_a_chat_finds_the_key_of_the_bot_at_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "BUILD", tmp_path)
    monkeypatch.delenv("POE_ACCESS_KEY", raising=False)
    base = "http://127.0.0.1:9001/"
    file = tmp_path / "run" / "9001" / "access-keys.json"
    keep_keys(file, [ServedBot(f"{base}echo", "e" * 32), ServedBot(base, "k" * 32)])
    kept = tmp_path / "access-key"
    kept.write_text("d" * 32)
    assert file.stat().st_mode & 0o777 == 0o600
    assert access_key("http://127.0.0.1:9001/echo", kept=kept) == ("e" * 32, str(file))
    asked = access.checked_url("http://localhost:9001")  # 127.0.0.1, where `make run` listens
    assert access_key(asked, kept=kept) == ("k" * 32, str(file))
    # Another port, another path: what is kept for the bot's folder. Another host gets neither.
    for url in ("http://127.0.0.1:9000/", "http://127.0.0.1:9001/x"):
        assert access_key(url, kept=kept)[0] == "d" * 32
    for host in ("example.com", "localhost"):
        with pytest.raises(Unusable, match=f"no access key for {host}: set POE_ACCESS_KEY"):
            access_key(f"http://{host}:9001/", kept=kept)
    monkeypatch.setenv("POE_ACCESS_KEY", "s" * 32)
    assert access_key("http://127.0.0.1:9001/echo", kept=kept) == ("s" * 32, "POE_ACCESS_KEY")


def test_a_bot_that_misses_a_member_says_where_to_put_it_and_then_finds_it(
    tmp_path: Path,
) -> None:
    folder = write_folder(tmp_path / "my bot", {"bot.py": BOT})
    missing = Run(free_port(), folder)
    missing.process.wait(30)
    assert missing.end() == 1
    line = missing.output.splitlines()[-1]
    assert line.startswith("error: the bot doesn't start: KeyError: 'OTHER_KEY'")
    assert line.endswith(
        f'Add OTHER_KEY to {folder}/secrets.json, as {{"OTHER_KEY": "…"}}, and run `make run` again'
    )

    secrets_file(folder, '{"OTHER_KEY": "abcdefghi"}')
    running = Run(free_port(), folder)
    try:
        running.wait_for("Press Ctrl-C to stop everything.")
        assert running.chat("hello\n").stdout.startswith("the other key ends with ghi")
    finally:
        running.end()
    assert "abcdefghi" not in running.output


COMPUTED = """
import os
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text=f"{self.path} {request.query[-1].content}")

names = open("names.txt").read().split()
bot = (Bot(path=f"/{name}", access_key=os.environ.get(f"{name.upper()}_ACCESS_KEY"))
       for name in names)
"""


SETTINGS = """
import os
import fastapi_poe as fp
from pydantic import BaseModel

class Settings(BaseModel):  # as a class of pydantic-settings reads them, and complains
    model_url: str
    echo_access_key: str

class Bot(fp.PoeBot):
    async def get_response(self, request):
        yield fp.PartialResponse(text="hello")

os.environ.setdefault("MODEL_URL", {url})
settings = Settings(**{{name.lower(): value for name, value in os.environ.items() if value}})
bot = Bot(path="/echo", access_key=settings.echo_access_key)
"""


def test_a_key_that_a_settings_class_requires_is_created(tmp_path: Path) -> None:
    missing = Run(free_port(), write_folder(tmp_path / "a", {"bot.py": SETTINGS.format(url="''")}))
    missing.process.wait(60)
    assert missing.end() == 1
    assert "error: the bot doesn't start: ValidationError: 1 validation error" in missing.output
    assert "model_url" in missing.output

    running = Run(free_port(), write_folder(tmp_path / "b", {"bot.py": SETTINGS.format(url="'x'")}))
    try:
        running.wait_for("Press Ctrl-C to stop everything.")
        assert "ECHO_ACCESS_KEY isn't in secrets.json: an access key was" in running.output
        assert running.chat("a\n", path="echo").stdout.startswith("hello")
    finally:
        running.end()


def test_bots_that_code_computes_run_with_keys_of_their_own(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "computed", {"bot.py": COMPUTED, "names.txt": "loud low"})
    running = Run(free_port(), folder)
    try:
        running.wait_for("Press Ctrl-C to stop everything.")
        assert running.output.count("an access key was created for local runs.") == 2
        assert "Your bots run on a local Lambda" in running.output
        assert f"make chat URL=http://127.0.0.1:{running.port}/loud " in running.output
        assert running.chat("a\n", path="loud").stdout.startswith("/loud a")
        assert running.chat("b\n", path="low").stdout.startswith("/low b")
        (folder / "names.txt").write_text("low new")
        running.wait_for("Reloaded in")
        assert f"URL         http://127.0.0.1:{running.port}/new" in running.output
        assert running.chat("c\n", path="new").stdout.startswith("/new c")
        assert running.chat("d\n", path="loud").returncode != 0
        kept = kept_key_file(BotFolder.at(str(folder))).with_name("access-key-names.json")
        assert json.loads(kept.read_text()) == ["LOW_ACCESS_KEY", "NEW_ACCESS_KEY"]
    finally:
        running.end()
    assert "warning" not in running.output
