"""The access keys that `make run` creates for a bot which asks for them at its start."""

from pathlib import Path

import pytest

from local.access_keys import AccessKeys

GIVEN = {"POE_ACCESS_KEY": "k" * 32, "OPENAI_API_KEY": "o"}


def test_a_key_is_created_once_and_every_run_has_the_same(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    keys, changes = AccessKeys(GIVEN, file), []
    keys.on_change = changes.append
    assert keys.create("LOUD_ACCESS_KEY")
    assert not keys.create("LOUD_ACCESS_KEY")
    [members] = changes
    assert members == keys.members
    assert members.items() >= GIVEN.items()
    assert len(keys.value("LOUD_ACCESS_KEY")) == 32
    keys.keep({"LOUD_ACCESS_KEY", "POE_ACCESS_KEY"})
    assert AccessKeys(GIVEN, file).members == keys.members
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_name_that_turned_out_to_be_no_bots_key_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    keys = AccessKeys(GIVEN, file)
    assert keys.create("DEPLOY_KEY")
    keys.keep({"POE_ACCESS_KEY"})
    assert AccessKeys(GIVEN, file).members == GIVEN


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "OTHER_API_KEY", "TABLE", "AWS_ACCESS_KEY_ID", "", "a_key"]
)
def test_what_is_not_an_access_keys_name_is_not_created(tmp_path: Path, name: str) -> None:
    keys = AccessKeys(GIVEN, tmp_path / "names.json")
    assert not keys.create(name)
    assert keys.members == GIVEN


def test_a_deployed_secret_gets_no_keys() -> None:
    keys = AccessKeys(GIVEN)
    assert not keys.create("LOUD_ACCESS_KEY")
    keys.keep({"LOUD_ACCESS_KEY"})


def test_a_bot_that_took_its_key_from_nowhere_is_asked_with_the_first_bots(tmp_path: Path) -> None:
    keys = AccessKeys(GIVEN, tmp_path / "names.json")
    assert keys.value(None) == keys.value("GONE") == "k" * 32


@pytest.mark.parametrize("text", ["", "{", '["OPENAI_API_KEY"]'])
def test_a_damaged_file_of_names_counts_as_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "names.json"
    file.write_text(text)
    assert AccessKeys(GIVEN, file).members == GIVEN
