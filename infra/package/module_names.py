"""The names of a bot's modules, where something else has the same name."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from infra.package.target import PackageError

HOST = "handler"


def check_names(files: Iterable[str], libraries: Path) -> list[str]:
    """One warning for each of the bot's modules that hides one of Python's or of a library, or is
    hidden by it. `files`: paths below the bot's folder. Raises PackageError for `handler`."""
    warnings = []
    for module, file in _modules(files):
        if module == HOST:
            raise PackageError(
                f"{file}: the name {HOST} is the host's own: rename it, and its imports"
            )
        if owner := _owner(module, libraries):
            warnings.append(
                f"{file} has the name of {owner}: `import {module}`, in your code or in a"
                " library's, can get either. Rename it."
            )
    return warnings


def _modules(files: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What can be imported from the folder itself, and where it is. A folder without __init__.py
    hides nothing, and is hidden itself if it is named as the host."""
    for file in files:
        first, *rest = PurePosixPath(file).parts
        name = first.partition(".")[0]
        if not rest and first.endswith((".py", ".so")):
            yield name, first
        elif rest == ["__init__.py"] or (rest and first == HOST):
            yield first, f"{first}/"


def _owner(module: str, libraries: Path) -> str:
    if module in sys.stdlib_module_names:
        return "one of Python's own modules"
    in_libraries = (libraries / module / "__init__.py", libraries / f"{module}.py")
    if any(file.is_file() for file in in_libraries) or any(libraries.glob(f"{module}.*.so")):
        return "a library"
    return ""
