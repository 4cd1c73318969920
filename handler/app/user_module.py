"""The bot's own module, from the folder that its author wrote."""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from handler.log.errors import StartError


class BadBot(StartError):
    """`bot.py` can't be served; the text explains why and what to write instead."""


def import_bot(folder: str) -> ModuleType:
    """Import `bot.py` of `folder`, which is the working directory and the first place to look for
    modules from then on, as in `python bot.py`.

    What the host needs is imported before: a module of the bot's with the name of one of Python's
    or of a library's hides it only from what is imported later.

    Raises `BadBot` without a bot.py, and what the import raises.
    """
    file = os.path.join(folder, "bot.py")
    if not os.path.isfile(file):
        raise BadBot(f"there is no bot.py in {folder}: it has to define the bot, as `bot = …`")
    _import_what_may_be_hidden(folder)
    # A server's own "" or "." stands for the directory in which it was started.
    sys.path[:] = [folder, *map(os.path.abspath, sys.path)]
    os.chdir(folder)
    found = PathFinder.find_spec("bot", [folder])
    # In a folder that has a package bot/, `import bot` means the package.
    name = "bot" if found and found.origin == file else "__bot__"
    spec = spec_from_file_location(name, file)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import_what_may_be_hidden(folder: str) -> None:
    """What anyio and asyncio look for only while they serve, where a module of the bot's has a name
    of Python's own. Without one, a start can do without these imports."""
    names = {entry.partition(".")[0] for entry in os.listdir(folder)}
    if not names.isdisjoint(sys.stdlib_module_names):
        import queue  # noqa: F401
