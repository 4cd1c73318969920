"""`requirements.lock`: its head, which names what it was written from, and its entries."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

OLDEST_PYTHON = "3.11"  # that a lock is for

_FIELD = re.compile(r"# (requirements|host|built here): (.*)")
# As uv writes it. What doesn't match is left to uv, which refuses it at the installation.
_ENTRY = re.compile(
    r"^([a-z0-9][a-z0-9-]*)(?:==| @ )(\S+)[^\\\n]*(?: \\\n[ \t]+--hash=\w+:[0-9a-f]{32,})*\n"
    r"(?:[ \t]+#.*\n)*",
    re.MULTILINE,
)
_GIT = re.compile(r"^[a-z0-9-]+ @ git\+\S+@[0-9a-f]{40}(?![0-9a-f])", re.MULTILINE)
_CONFLICT = "<<<<<<<"


@dataclass(frozen=True)
class Head:
    """`requirements` and `host` are digests of the inputs; `built_here` names what has no wheel."""

    requirements: str
    host: str
    built_here: tuple[str, ...] = ()

    def __str__(self) -> str:
        built = f"# built here: {', '.join(self.built_here)}\n" if self.built_here else ""
        return (
            "# Every library of the bot, with its version and hashes; commit it. It is written\n"
            "# again when the requirements change; `make lock UPGRADE=1` takes newer versions.\n"
            f"# requirements: {self.requirements}\n# host: {self.host}\n{built}"
        )

    def same_inputs(self, other: "Head") -> bool:
        return (self.requirements, self.host) == (other.requirements, other.host)


def digest(*inputs: object) -> str:
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]


def without_comments(file: Path) -> list[str]:
    """The lines of `file` that aren't empty or comments."""
    lines = file.read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def read_text(lock: Path) -> str:
    """Bytes that aren't UTF-8 are replaced, and can't be part of an entry."""
    return lock.read_text("utf-8", errors="replace")


def read_head(lock: Path) -> Head | None:
    """None for a file that is missing, not a lock of ours, or in the middle of a merge."""
    try:
        text = read_text(lock)
    except OSError:
        return None
    head = _comments(text)
    fields = {match[1]: match[2] for match in map(_FIELD.fullmatch, head) if match}
    if _CONFLICT in text or not {"requirements", "host"} <= fields.keys():
        return None
    built = fields.get("built here", "")
    return Head(fields["requirements"], fields["host"], tuple(built.split(", ")) if built else ())


def _comments(text: str) -> Iterable[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        yield line


def entries(lock: str) -> dict[str, str]:
    """The lines of each library by its name; of all its versions, if Pythons differ in them."""
    found: dict[str, str] = {}
    for entry in _ENTRY.finditer(lock):
        found[entry[1]] = found.get(entry[1], "") + entry[0]
    return found


def versions(lock: str) -> dict[str, str]:
    """By name; of a git link, the link with its commit."""
    return {entry[1]: entry[2] for entry in _ENTRY.finditer(lock)}


def options(lock: str) -> str:
    """The lines about where libraries come from."""
    return "".join(line for line in lock.splitlines(keepends=True) if line.startswith("-"))


def is_git(entry: str) -> bool:
    """Whether it is a link with a commit, which has no hash, and is its own."""
    return bool(_GIT.search(entry))
