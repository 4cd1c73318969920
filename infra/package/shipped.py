"""Which files of a bot's folder ship: every one that no rule here leaves out."""

import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from infra.package.target import PackageError
from infra.toolchain.folders import ROOT

# Hidden files (.env, .git, .venv, .DS_Store), compiled modules, what other tools build or install,
# and editors' leftovers.
NEVER = (".*", "__pycache__", "*.py[co]", "node_modules", "cdk.out", "*~", "#*#", "Thumbs.db")
# At the top of the folder alone: what is for the people who work on the bot, and for the host.
NEVER_AT_THE_TOP = (
    "tests", "Makefile", "cdk.json", "stack.py", "pyproject.toml", "poe_answers.toml",
    "requirements", "requirements*.txt", "requirements*.in", "*.lock",
)  # fmt: skip
# Backups of it too (secrets.json.bak), in any case and at any depth.
SECRETS = "secrets.json"


@dataclass
class Shipped:
    """What `shipped` found: real files by their path below the folder, with slashes and in one
    order everywhere, and the links that were left out, because they lead out or nowhere."""

    files: dict[str, Path] = field(default_factory=dict)
    stray_links: list[str] = field(default_factory=list)


def shipped(root: Path) -> Shipped:
    """The files of `root` that ship. Links are followed where what they lead to ships, too. Empty
    folders don't: git leaves them out, too. Raises PackageError, and OSError."""
    found = Shipped()
    root = root.resolve()
    _walk(root, root, PurePath(), (root,), found)
    return found


def ships(root: Path, path: Path) -> bool:
    """Whether a file at `path`, which may be gone by now, belongs into the package."""
    root = root.resolve()
    # Without following a link at its end: that has a rule of its own.
    path = path.parent.resolve() / path.name
    if path == root or not path.is_relative_to(root):
        return False
    below = path.relative_to(root)
    folders = [root / parent for parent in below.parents if parent.parts]
    return (
        not _is_left_out(below)
        and not any(_is_of_tools(folder) for folder in [path, *folders])
        and not _is_stray(root, path)
        and not _is_the_secret(root, path)
    )


def _walk(
    root: Path, folder: Path, below: PurePath, around: tuple[Path, ...], found: Shipped
) -> None:
    """`around`: the real folders that hold this one, so that no link leads in circles."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path, name = Path(entry.path), below / entry.name
        if _is_left_out(name):
            continue
        if _is_stray(root, path):
            found.stray_links.append(name.as_posix())
        elif _is_the_secret(root, path):
            continue
        elif entry.is_dir():
            real = path.resolve()
            if real not in around and not _is_of_tools(path):
                _walk(root, path, name, (*around, real), found)
        elif entry.is_file():  # and no socket, pipe or device
            found.files[_checked(name)] = path.resolve()


def _is_left_out(below: PurePath) -> bool:
    """By the names alone."""
    return (
        any(fnmatchcase(part, pattern) for part in below.parts for pattern in NEVER)
        or any(part.casefold().startswith(SECRETS) for part in below.parts)
        or any(fnmatchcase(below.parts[0], pattern) for pattern in NEVER_AT_THE_TOP)
    )


def _is_stray(root: Path, path: Path) -> bool:
    """Whether it is a link that leads out, nowhere, or to what does not ship."""
    if not path.is_symlink():
        return False
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # nothing there, or a circle
        return True
    return not ships(root, real)


def _is_of_tools(folder: Path) -> bool:
    """Whether it is a virtual environment, or the host's checkout: each package would hold the
    ones that were built before."""
    # Neither raises, not for what may not be read, nor for a link in a circle.
    return os.path.isfile(folder / "pyvenv.cfg") or os.path.realpath(folder) == str(ROOT)


def _is_the_secret(root: Path, path: Path) -> bool:
    """Under another name, by a hard link."""
    try:
        return path.samefile(root / SECRETS)
    except OSError:
        return False


def _checked(name: PurePath) -> str:
    try:
        name.as_posix().encode()
    except UnicodeEncodeError:
        shown = ascii(name.as_posix())
        raise PackageError(f"the file name {shown} isn't UTF-8: rename it") from None
    return name.as_posix()
