"""The secret's members as environment variables, which follow the secret."""

import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Self


class Variables:
    """Puts `members` into `environ`. A variable that the bot changes is the bot's from then on."""

    def __init__(self, environ: MutableMapping[str, str], members: Mapping[str, str]) -> None:
        environ.update(members)
        self._environ = environ
        self._known = dict(environ)

    def follow(self, changes: Mapping[str, str | None]) -> None:
        """Take over what changed in the secret: new values, None for a member that is gone."""
        for name, value in changes.items():
            if self._environ.get(name) == self._known.get(name):
                self._put(name, value)

    def _put(self, name: str, value: str | None) -> None:
        if value is None:
            self._environ.pop(name, None)
            self._known.pop(name, None)
        else:
            self._environ[name] = self._known[name] = value


class Named(str):
    """A variable's value that knows the variable's name."""

    __slots__ = ("variable",)
    variable: str

    def __new__(cls, value: str, variable: str) -> Self:
        named = super().__new__(cls, value)
        named.variable = variable
        return named


@contextmanager
def named_values(environ: MutableMapping[str, str], members: Mapping[str, str]) -> Iterator[None]:
    """Inside the block `os.environ` gives out `Named` values for those of `members` that have
    another member's value: such a value alone doesn't show which member it is.

    Most secrets don't have any, and then nothing is done. `environ`: `os.environ`, or a test's own,
    which is left alone.
    """
    values = [value.strip() for value in members.values()]
    alike = {name for name, value in members.items() if values.count(value.strip()) > 1}
    if not alike or not isinstance(environ, os._Environ):
        yield
        return

    class Naming(os._Environ[str]):
        def __getitem__(self, name: str) -> str:
            value = super().__getitem__(name)
            return Named(value, name) if name in alike else value

    original = type(environ)
    environ.__class__ = Naming  # the object itself, since other modules hold it too
    try:
        yield
    finally:
        environ.__class__ = original
