"""What a bot needs: its `requirements.txt` as everyone writes it, else its `pyproject.toml`.

Files named by `-r` and `-c` are read too, so that all of it can be hashed, and given to uv as plain
UTF-8 from a folder that isn't the bot's. What can't be locked for another machine is refused:
paths on this one, and credentials, which the lock would spread.
"""

import codecs
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.package.target import PackageError

INDEX_OPTIONS = {"-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index"}
_INCLUDES = {"-r", "--requirement"}
_CONSTRAINTS = {"-c", "--constraint"}
_ABOUT_WHEELS = {"--only-binary", "--no-binary"}
_EDITABLE = {"-e", "--editable"}

_OPTION = re.compile(r"(--[a-z0-9-]+|-[a-zA-Z])\s*=?\s*(.*)")
_COMMENT = re.compile(r"(?<!\S)#.*")
_LINK = re.compile(r"[a-z][a-z+.-]+://", re.IGNORECASE)
_NAME = r"([\w.\[\],-]+\s*@\s*)?"
_LOCAL = re.compile(_NAME + r"(\.|/|~|\\|[A-Za-z]:\\|(git\+)?file:)", re.IGNORECASE)
_ARCHIVE = re.compile(r"\S+\.(whl|zip|tar\.\w+|tgz)(\s|$)|\S+[/\\]", re.IGNORECASE)
# A name before the host is a credential, but for ssh's, which is a name alone: git@github.com.
_CREDENTIALS = re.compile(r"https?://[^/\s]*@|://[^/\s@]*:[^/\s]*@", re.IGNORECASE)
_EGG = re.compile(r"(?:^|&)egg=([\w.-]+(?:\[[^\]]*\])?)")


@dataclass(frozen=True)
class Requirements:
    """Without comments and includes. `indexes`: option lines such as `--extra-index-url https://…`."""

    file: Path
    lines: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()


def read_requirements(folder: Path) -> Requirements | None:
    """What the bot in `folder` needs; None where no file of it names anything.

    Raises PackageError with the place of a line that can't be locked.
    """
    text, project = folder / "requirements.txt", folder / "pyproject.toml"
    found = None
    if text.is_file() or text.is_symlink():  # one that leads nowhere can't be read
        found = _Reader().read(text)
    elif project.is_file():
        found = _Reader().read_lines(project, ((0, line) for line in _dependencies(project)))
    return found if found and found.lines else None


@dataclass
class _Reader:
    lines: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    seen: set[tuple[Path, bool]] = field(default_factory=set)  # True: as requirements

    def read(self, file: Path) -> Requirements:
        return self.read_lines(file, _logical_lines(file))

    def read_lines(self, file: Path, lines: Iterator[tuple[int, str]]) -> Requirements:
        self._add(file, lines, self.lines)
        return Requirements(file, *map(tuple, (self.lines, self.constraints, self.indexes)))

    def _add(self, file: Path, lines: Iterator[tuple[int, str]], to: list[str]) -> None:
        self.seen.add((file.resolve(), to is self.lines))
        for number, line in lines:
            place = f"{file.name}:{number}" if number else file.name
            option = _OPTION.fullmatch(line)
            name, value = option.groups() if option else ("", line)
            if name in _INCLUDES | _CONSTRAINTS:
                inner = _included(file, value, place)
                kind = self.constraints if name in _CONSTRAINTS else to
                if (inner.resolve(), kind is self.lines) not in self.seen:
                    self._add(inner, _logical_lines(inner), kind)
            elif name in INDEX_OPTIONS:
                if value and not _LINK.match(value.strip("\"'")):
                    raise _local_path(value, place)
                self.indexes.append(_checked(line, value, place))
            elif name in _EDITABLE or not name:
                to.append(_named(_checked(value, value, place)))
            elif name in _ABOUT_WHEELS:
                to.append(line)
            else:
                raise PackageError(f"{place}: the option {name} has no meaning here: remove it")


def _logical_lines(file: Path) -> Iterator[tuple[int, str]]:
    r"""Each line with its number, without comments; one that ends with \ goes on in the next."""
    joined, start = "", 0
    for number, line in enumerate([*decode(file).splitlines(), ""], 1):
        start = start if joined else number
        line = _COMMENT.sub("", line).rstrip()
        if line.endswith("\\"):
            joined += line.removesuffix("\\")
            continue
        if whole := (joined + line).strip():
            yield start, whole
        joined = ""


def decode(file: Path) -> str:
    """Its text: UTF-8, or UTF-16 with a byte order mark, as PowerShell writes it. Raises
    PackageError."""
    try:
        content = file.read_bytes()
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if utf_16 else "utf-8-sig")
        if "\0" not in text:
            return text
    except OSError as error:
        raise PackageError(f"{file.name} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        pass
    raise PackageError(f"{file.name} isn't text in UTF-8: save it as UTF-8")


def _included(file: Path, name: str, place: str) -> Path:
    inner = file.parent / name.strip("\"'")
    if _LINK.match(name) or not os.path.isfile(inner):
        raise PackageError(f"{place}: {name} isn't a file here: put it next to {file.name}")
    return inner


def _checked(line: str, value: str, place: str) -> str:
    if _CREDENTIALS.search(value):
        raise PackageError(
            f"{place}: a user name or password in an address would get into the lock: leave them to"
            " git's credential helper or ~/.netrc"
        )
    if _LOCAL.match(value) or (_ARCHIVE.match(value) and not _LINK.search(value)):
        raise _local_path(value, place)
    return line


def _local_path(value: str, place: str) -> PackageError:
    return PackageError(
        f"{place}: `{value}` is a path, which only this machine has: put that package's folder"
        " into the bot's folder, or require a published version by its name"
    )


def _named(requirement: str) -> str:
    """`git+https://…#egg=name`, as pip once wanted it, in today's form: `name @ git+https://…`."""
    link, _, fragment = requirement.partition("#")
    name = _EGG.search(fragment)
    if name is None or not _LINK.match(link):
        return requirement
    rest = "&".join(part for part in fragment.split("&") if not part.startswith("egg="))
    return f"{name[1]} @ {link}{'#' if rest else ''}{rest}"


def _dependencies(file: Path) -> list[str]:
    """`[project]`'s, and not what is left to a tool of its own. Raises PackageError."""
    import tomllib  # here: it is half of what importing this module takes

    try:
        content = tomllib.loads(decode(file))
    except tomllib.TOMLDecodeError as error:
        raise PackageError(f"{file.name} can't be read: {error}") from None
    project, tools = _table(file, content, "project"), _table(file, content, "tool")
    links = _table(file, _table(file, tools, "uv"), "sources")
    if "dependencies" in project.get("dynamic", []) or (not project and "poetry" in tools):
        raise PackageError(
            f"{file.name} doesn't list the dependencies under [project]: list them there as"
            " `dependencies = […]`, or write requirements.txt"
        )
    if links:
        raise PackageError(
            f"{file.name}: [tool.uv.sources] isn't read: write the link of {min(links)} into the"
            f" dependencies, as `{min(links)} @ git+https://…`"
        )
    dependencies = project.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(map(_is_one_requirement, dependencies)):
        raise PackageError(
            f"{file.name}: [project] needs a list of names, with or without versions:"
            ' `dependencies = ["openai>=3"]`'
        )
    return dependencies


def _table(file: Path, parent: dict[str, Any], name: str) -> dict[str, Any]:
    """Raises PackageError."""
    table = parent.get(name, {})
    if not isinstance(table, dict):
        raise PackageError(f"{file.name} can't be read: `{name}` isn't a table")
    return table


def _is_one_requirement(dependency: object) -> bool:
    """Whether it is a text that can't become a second line or an option of requirements.txt."""
    return (
        isinstance(dependency, str)
        and dependency.splitlines() == [dependency]
        and dependency.lstrip()[:1].isalnum()
    )
