"""Each bot's access key, which follows the member of the secret that it came from, by its name."""

from collections.abc import Mapping, Sequence

import fastapi_poe as fp

from handler.secret.members import BadMember, Members, check_key, faults, sound
from handler.secret.variables import Named, Variables

# A person's key on Poe, for the bot's own calls. fastapi_poe would take it for an access key.
POE_API_KEY = "POE_API_KEY"
NOBODYS = ""  # a key that the guard never accepts


class Followed:
    """A bot and the member that is its key.

    `names` are several only where the bot's key has the value of several members, and lost its
    name on the way through the bot's own code. Then the first of them that changes is it: the old
    value may have been revoked.
    """

    def __init__(self, bot: fp.PoeBot, names: frozenset[str]) -> None:
        self._bot, self._names = bot, names
        self._key = (bot.access_key or "").strip()

    def follow(self, members: Mapping[str, str], changed: frozenset[str]) -> str:
        """Take the key from `members`, unless the bot has changed it by itself. Gives what is
        wrong with it; empty where nothing is."""
        present = self._names & members.keys()
        self._names = self._names & changed & present or present or self._names
        name = min(self._names)
        try:
            key = check_key(members[name]) if present else NOBODYS
            if key and key == members.get(POE_API_KEY):
                raise BadMember(f"it is {POE_API_KEY}'s, which is a person's (`make set-key`)")
        except BadMember as error:
            return f"the access key of the bot on path {self._bot.path}: {name}: {error}"
        if self._bot.access_key == self._key:
            self._bot.access_key = self._key = key
        return (
            "" if key else f"the bot on path {self._bot.path} refuses every caller: {name} is gone"
        )


class Rotation:
    """The secret's members as they were last seen, and what depends on them: the `bots`, whose
    access keys are as their modules gave them, and the environment's `variables`."""

    def __init__(
        self, bots: Sequence[fp.PoeBot], members: Mapping[str, str], variables: Variables
    ) -> None:
        self._members = dict(members)
        self._variables = variables
        named = [(bot, _names(bot.access_key or "", members)) for bot in bots]
        self._followed = [Followed(bot, names) for bot, names in named if names]
        self.bots = [
            {"path": bot.path, "key_name": min(names, default=None)} for bot, names in named
        ]
        """Which there are, and the member that is the key of each, where one is."""

    def follow(self, members: Members) -> list[str]:
        """Take over what the secret has now. A faulty member stays as it was known, one that is
        gone is gone. Gives the faults."""
        known = {name: value for name, value in self._members.items() if name in members}
        new = {**known, **sound(members)}
        changed = {name for name in self._members | new if new.get(name) != self._members.get(name)}
        self._variables.follow({name: new.get(name) for name in changed})
        self._members = new
        problems = [each.follow(new, frozenset(changed)) for each in self._followed]
        return [*faults(members), *filter(None, problems)]


def _names(key: str, members: Mapping[str, str]) -> frozenset[str]:
    if isinstance(key, Named):
        return frozenset([key.variable])
    return frozenset(name for name, value in members.items() if value.strip() == key.strip())
