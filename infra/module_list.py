"""The list by which the package's libraries are imported, see handler/listed_imports.py."""

from collections.abc import Iterator
from pathlib import Path

NAME = "modules.txt"


def write(folder: Path) -> None:
    """List the modules below `folder` that Python would import from bytecode beside their source,
    a path a line."""
    paths = sorted(path.relative_to(folder).as_posix() for path in _modules(folder))
    (folder / NAME).write_text("".join(f"{path}\n" for path in paths), "utf-8")


def _modules(folder: Path) -> Iterator[Path]:
    for source in folder.rglob("*.py"):
        if _is_compiled(source) and not _is_hidden(source):
            yield source


def _is_compiled(source: Path) -> bool:
    return any(source.parent.glob(f"__pycache__/{source.stem}.*.pyc"))


def _is_hidden(source: Path) -> bool:
    """Whether Python takes an extension module of the same name first."""
    return any(source.parent.glob(f"{source.stem}.*so"))
