"""The bot's module and its access keys → the ASGI app."""

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Protocol

import fastapi_poe as fp

from handler.app import own_routes
from handler.app.dispatch import App
from handler.app.keys import POE_API_KEY, Rotation
from handler.app.user_module import BadBot, import_bot
from handler.log import lines, setup
from handler.log.places import BOT
from handler.secret.cache import CachedSecret
from handler.secret.members import (
    KEY,
    MEMBER_NAME,
    BadMember,
    Members,
    check_key,
    parse_members,
    parse_unchecked,
)
from handler.secret.reader import ARN_VARIABLE
from handler.secret.variables import Named, Variables, named_values

ONE_BOT = [[{"path": "/", "key_name": name}] for name in (KEY, None)]


class Secret(Protocol):
    """Where the key is kept: `reader.SecretReader`."""

    arn: str

    def text(self) -> str: ...
    def fresh_text(self, time_limit: float = ...) -> str: ...


def load(environ: MutableMapping[str, str], secret: Secret | None, folder: str = BOT) -> App:
    """The app of the bot in `folder`, with its key from the secret or, without one, from `environ`.
    The secret's members are in `environ` before the bot is imported.

    Raises `BadBot`, `BadMember`, `SecretUnreadable`, and whatever importing the bot does.
    """
    members = _members(secret) if secret else {}
    variables = Variables(environ, members)
    with own_routes.hosting_recorded() as hosting, named_values(environ, members):
        module = import_bot(folder)
        bots = _bots(hosting.bots_next_to(getattr(module, "bot", None)), module)
    setup.keep()
    for bot in bots:
        with _at(f"the bot on path {bot.path}"):
            if bot.access_key is None:
                bot.access_key = _key(_key_name(bot, bots), environ, members)
    rotation = Rotation(bots, members, variables)  # first: a key that was checked has no name
    for bot in bots:
        with _at(f"the bot on path {bot.path}"):
            bot.access_key = check_key(bot.access_key or "")
        if bot.access_key == environ.get(POE_API_KEY):
            raise BadBot(
                f"the access key of the bot on path {bot.path} is {POE_API_KEY}'s, which is a"
                " person's: copy the bot's own from its form on Poe"
            )
    if rotation.bots not in ONE_BOT:  # most are, and a line at each start would be noise
        lines.write("INFO", {"logger": __name__, "message": "started", "bots": rotation.bots})
    own = own_routes.own_app(getattr(module, "app", None)) or hosting.app
    return App(bots, _cached(secret, rotation) if secret else None, own)


def _key_name(bot: fp.PoeBot, bots: list[fp.PoeBot]) -> str:
    """The variable with the key of a bot that was created without one: of several, /echo's is
    ECHO_ACCESS_KEY."""
    if len(bots) == 1 or bot.path == "/":
        return KEY
    name = re.sub(r"[^A-Z0-9]+", "_", f"{bot.path.upper()}_ACCESS_KEY").strip("_")
    return name if MEMBER_NAME.fullmatch(name) else f"BOT_{name}"


def _cached(secret: Secret, rotation: Rotation) -> CachedSecret:
    """The secret, read again when it is old or a key does not match."""
    place = f"the secret {secret.arn}"

    def read(*time_limit: float) -> Members:
        with _at(place):
            return parse_unchecked(secret.fresh_text(*time_limit))

    def follow(members: Members) -> list[str]:
        return [f"{place}: {fault}" for fault in rotation.follow(members)]

    return CachedSecret(read, follow)


def _members(secret: Secret) -> dict[str, str]:
    with _at(f"the secret {secret.arn}"):
        return parse_members(secret.text())


def _key(name: str, environ: Mapping[str, str], members: Mapping[str, str]) -> str:
    """The key in the variable `name`. Raises `BadMember`."""
    if name not in environ:
        remedy = f"{ARN_VARIABLE} (`make deploy` does) or {KEY}"
        if name != KEY:
            remedy = f"{name} (`make set-secret NAME={name}`), or give it access_key=…"
        raise BadMember(f"there is no access key: set {remedy}")
    with _at(name):
        key = check_key(environ[name])
    return Named(key, name) if name in members else key


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Put the place of a faulty member in front of the reason."""
    try:
        yield
    except BadMember as error:
        raise BadMember(f"{place}: {error}") from None


def _bots(bot: Any, module: Any) -> list[fp.PoeBot]:
    """All of `bot`, which is one or several. Raises `BadBot`."""
    several = not isinstance(bot, fp.PoeBot | type) and isinstance(bot, Iterable)
    bots = list(bot) if several else [bot]
    if not bots or not all(isinstance(bot, fp.PoeBot) for bot in bots):
        from handler.app.no_bot import reason  # not at the start: most bots never need it

        raise BadBot(reason(bots, module))
    paths = [bot.path for bot in bots]
    for path in paths:
        if not path.startswith("/"):
            raise BadBot(f"a bot's path has to begin with a slash: {path!r}")
        if paths.count(path) > 1:
            raise BadBot(f"two bots have the path {path}: give each its own path=…")
    return bots
