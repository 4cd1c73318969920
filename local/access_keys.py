"""The secret of a bot that runs here, with an access key for each of its bots.

Which bots there are, and under which names they look for their keys, shows when the bot starts. So
a key that is missing at a start is created, and the bot started again.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from infra.aws.secret_members import KEY, BadMember, check_name
from infra.toolchain.private import write_private
from local.secrets_file import with_keys


class AccessKeys:
    """The secret's `members`, POE_ACCESS_KEY among them.

    names_file   keeps the names of the keys that were created, so that the next run has them from
                 the start; None: keys aren't created
    on_change    gets all the members when there is a new one
    """

    def __init__(self, members: Mapping[str, str], names_file: Path | None = None) -> None:
        self._names_file = names_file
        self._given = members
        self.members = with_keys(dict(members), members[KEY], _names(names_file))
        self.on_change: Callable[[Mapping[str, str]], object] = lambda members: None

    def value(self, name: str | None) -> str:
        """The key of a bot whose key is the member `name`. A bot that didn't take it from a
        variable is asked with POE_ACCESS_KEY."""
        return self.members.get(name or KEY, self.members[KEY])

    def create(self, name: str) -> bool:
        """Add a key under `name`; False for what can't be an access key's name, or has one."""
        if self._names_file is None or name in self.members or not _may_be_a_key(name):
            return False
        self.members = with_keys(self.members, self.members[KEY], [name])
        self.on_change(self.members)
        return True

    def keep(self, names: Iterable[str]) -> None:
        """Remember which names are those of bots' keys; forget the other ones."""
        if self._names_file is not None:
            write_private(self._names_file, json.dumps(sorted({*names} - self._given.keys())))


def _may_be_a_key(name: str) -> bool:
    try:
        check_name(name)
    except BadMember:
        return False
    # Not OPENAI_API_KEY: a bot must not start with a key that its provider never gave.
    return "KEY" in name and "API_KEY" not in name


def _names(file: Path | None) -> list[str]:
    try:
        names = json.loads(file.read_text()) if file else []
    except (FileNotFoundError, ValueError):
        return []
    return [name for name in names if _may_be_a_key(name)]
