"""Where a deployment's choices come from, and the stack's name where none is given."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.package.bot_folder import BotFolder
from infra.stack import context
from infra.stack.context import given_to_the_cdk, options_for
from infra.stack.stack_name import stack_name
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT
from tests.support.bot_folder import write_folder


def folder(path: Path, text: str = "") -> BotFolder:
    """A bot's folder whose cdk.json has this text, if any."""
    write_folder(path, {"bot.py": "bot = None\n", **({"cdk.json": text} if text else {})})
    return BotFolder.at(str(path))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the host's place, with a cdk.json."""
    monkeypatch.setattr(context, "ROOT", tmp_path / "host")
    hosts = {"context": {"memory": 1024, "timeout": 300, "dashboard": True, "cli-telemetry": False}}
    return write_folder(tmp_path / "host", {"cdk.json": json.dumps(hosts)})


def test_the_bots_own_file_overrides_the_hosts_and_the_command_line_both(
    host: Path, tmp_path: Path
) -> None:
    bot = folder(tmp_path / "bot", '\ufeff{"context": {"timeout": 100, "memory": 2048}}')
    options = options_for(bot, {"memory": "4096"})
    assert (options.memory, options.timeout, options.dashboard) == (4096, 100, True)


def test_of_what_the_cdk_has_merged_the_hosts_values_are_not_taken_for_given(
    host: Path, tmp_path: Path
) -> None:
    """As in a bare `npx cdk synth -c memory=4096`."""
    bot = folder(tmp_path / "bot", '{"context": {"timeout": 100}}')
    merged = {"memory": "4096", "timeout": 300, "dashboard": True, "aws:cdk:x": ["y"]}
    options = options_for(bot, given_to_the_cdk(merged))
    assert (options.memory, options.timeout, options.dashboard) == (4096, 100, True)


def test_the_host_says_nothing_that_a_bot_could_not_override() -> None:
    """Its values arrive merged with the command line's: one that equals both is taken for its."""
    assert json.loads((ROOT / "cdk.json").read_text())["context"] == {"cli-telemetry": False}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"context": {\n  "memory" 1024\n}}', "isn't JSON: line 2, column 12: "),
        ("", None),
        ("[]", "isn't a JSON object"),
        ('{"context": []}', '"context" in '),
        ('{"context": {"memmory": 1}}', "did you mean memory?"),
        ('{"context": {"stack": "my bot"}}', "stack=my bot is invalid"),
    ],
)
def test_a_mistake_in_the_bots_own_file_is_one_line(
    text: str, complaint: str | None, tmp_path: Path
) -> None:
    bot = folder(tmp_path / "bot", text)
    if complaint is None:
        options_for(bot, {})
        return
    with pytest.raises(UserError) as refused:
        options_for(bot, {})
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "stack"),
    [
        ("my-bot", "MyBot"),
        ("my_bot 2", "MyBot2"),
        ("MyBOT.v2", "MyBOTV2"),
        ("zoë's bot", "ZoeSBot"),
        ("bot", "Bot"),
    ],
)
def test_a_folder_deploys_as_a_stack_named_after_it(name: str, stack: str, tmp_path: Path) -> None:
    bot = folder(tmp_path / name)
    assert stack_name(bot) == options_for(bot, {}).stack == stack


def test_the_checkouts_own_folder_deploys_as_poebot() -> None:
    assert stack_name(BotFolder.without_bot(str(ROOT / "bot"))) == "PoeBot"
    assert stack_name(BotFolder.without_bot()) == "PoeBot"


@pytest.mark.parametrize("name", ["機器人", "機器人-bot", "2nd-bot", "---", "poe-bot", "b" * 200])
def test_a_folder_whose_name_gives_no_stack_of_its_own_needs_a_given_one(
    name: str, tmp_path: Path
) -> None:
    bot = folder(tmp_path / name)
    with pytest.raises(UserError, match="give one with STACK=…") as refused:
        options_for(bot, {})
    assert "\n" not in str(refused.value)
    assert options_for(bot, {"stack": "Mine"}).stack == "Mine"
    own: dict[str, Any] = {"context": {"stack": "Own"}}
    assert options_for(folder(bot.path, json.dumps(own)), {}).stack == "Own"
