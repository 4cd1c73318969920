"""The bot's start before a deployment: what is refused, and what is only named."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from commands.trial import FORMS, Trial, _placeholder, try_start
from infra.package.bot_folder import BotFolder
from infra.stack.options import Options
from infra.toolchain.errors import UserError
from tests.support.bot_folder import write_folder

BOT = """
import json
import os
import urllib.parse
import fastapi_poe as fp

bot = fp.PoeBot()
"""
Try = Callable[..., Trial]


@pytest.fixture
def try_bot(tmp_path: Path) -> Try:
    """Starts a bot with these lines in bot.py, and these members in secrets.json, as it would be
    deployed with `context`."""

    def start(
        lines: str, *deployed: str, context: Mapping[str, Any] | None = None, **members: str
    ) -> Trial:
        folder = write_folder(tmp_path / "bot", {"bot.py": f"{BOT}{lines}\n"})
        if members:
            (folder / "secrets.json").write_text(json.dumps(members))
            (folder / "secrets.json").chmod(0o600)
        return try_start(BotFolder.at(str(folder)), Options.from_context(context or {}), deployed)

    return start


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ('raise ValueError("boom")', r"ValueError: boom \(bot\.py:8 in <module>\)$"),
        ('{}["A_NAME"]', r"KeyError: 'A_NAME' \(bot\.py:8 in <module>\)"),
        ('os.environ["AWS_NAME"]', r"KeyError: 'AWS_NAME'"),
    ],
)
def test_a_bot_that_cannot_start_is_refused_in_the_words_of_make_run(
    lines: str, reason: str, try_bot: Try
) -> None:
    with pytest.raises(UserError, match=f"^the bot doesn't start: {reason}"):
        try_bot(lines)


def test_what_only_the_deployed_secret_has_is_no_reason_to_refuse(try_bot: Try) -> None:
    lines = 'assert urllib.parse.urlsplit(os.environ["OTHER"]).scheme == "https"'
    trial = try_bot(lines, "POE_ACCESS_KEY", "OTHER")  # the last of the forms that are tried
    assert (trial.placeholders, trial.failure) == ({"OTHER"}, "")


@pytest.mark.parametrize(
    "is_taken",
    [
        lambda value: len(value) == 32,
        lambda value: value.startswith("sk-"),
        str.isdecimal,
        lambda value: isinstance(json.loads(value), dict),
        lambda value: urlsplit(value).scheme == "https",
    ],
    ids=["a bot's key", "a provider's key", "a number", "JSON", "an address"],
)
def test_a_placeholder_has_each_form_that_bots_ask_for(is_taken: Callable[[str], bool]) -> None:
    assert any(_suits(is_taken, _placeholder("OTHER", form)) for form in FORMS)


def _suits(is_taken: Callable[[str], bool], value: str) -> bool:
    try:
        return is_taken(value)
    except ValueError:
        return False


def test_a_variable_that_nobody_has_is_named_and_what_follows_it_is_still_tried(
    try_bot: Try,
) -> None:
    assert try_bot('os.environ["NEW"]; os.environ["NEWER"]').placeholders == {"NEW", "NEWER"}
    with pytest.raises(UserError, match="ZeroDivisionError") as raised:
        try_bot('os.environ["NEW"]\n1 / 0')
    assert "It had placeholders for NEW." in str(raised.value)


def test_a_failure_that_depends_on_a_placeholder_is_only_told(try_bot: Try) -> None:
    trial = try_bot('raise ValueError(os.environ["OTHER"])', "OTHER")
    assert trial.failure.startswith("the bot doesn't start: ValueError: ")


def test_a_failure_that_names_an_object_by_its_address_is_refused_all_the_same(
    try_bot: Try,
) -> None:
    with pytest.raises(UserError, match="ValueError: <object object at 0x"):
        try_bot("raise ValueError(object())", "OTHER")


def test_the_members_of_secrets_json_are_what_it_starts_with(try_bot: Try) -> None:
    trial = try_bot('assert os.environ["OTHER"] == "mine"', "OTHER", OTHER="mine")
    assert (trial.placeholders, trial.members["OTHER"]) == (set(), "mine")


def test_each_of_several_bots_gets_a_key(try_bot: Try) -> None:
    lines = "bot = [fp.PoeBot(path='/echo'), fp.PoeBot(path='/reverse')]"
    trial = try_bot(lines, "ECHO_ACCESS_KEY")
    assert trial.placeholders == {"ECHO_ACCESS_KEY", "REVERSE_ACCESS_KEY"}
    assert trial.failure == ""


def test_a_bot_for_many_at_once_is_started_as_one(try_bot: Try) -> None:
    line = 'assert os.environ["AWS_LAMBDA_MAX_CONCURRENCY"] == "64"'
    assert not try_bot(line, context={"concurrency": 64}).failure
