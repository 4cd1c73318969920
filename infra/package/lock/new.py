"""Makes a bot's lock: resolves, builds what has no wheel, and writes the file whole."""

import contextlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.utils import canonicalize_name

from infra.package.lock.builds import built_here
from infra.package.lock.file import OLDEST_PYTHON, Head, entries, read_head, read_text
from infra.package.lock.hints import hints
from infra.package.lock.host_pins import (
    host_pins,
    other_constraints,
    replaced_by_the_host,
    tested_pins,
)
from infra.package.lock.requirements import Requirements
from infra.package.lock.resolution import resolve
from infra.package.target import PackageError

EVERYTHING = {"1", "yes", "all"}


def make_lock(
    requirements: Requirements,
    wanted: Head,
    places: Sequence[Path],
    host: Path,
    *,
    upgrade: str | None,
    say: Callable[[str], object],
) -> tuple[Path, tuple[str, ...]]:
    """Write a lock with the head `wanted` into the first of `places` that can be written.

    `upgrade` as `locked` has it. Gives the file, and what it has built from sources. Raises
    PackageError.
    """
    before = next((place for place in places if place.is_file()), None)
    seed = _seed(before, wanted, host)
    said = replaced_by_the_host(requirements, host_pins(host))
    for line in said:
        say(line)
    asked = replace(requirements, constraints=other_constraints(requirements, host))
    with TemporaryDirectory() as folder:
        found = resolve(asked, host, seed, Path(folder), _names(upgrade, seed, host))
    new = found.lock
    if found.host_first:
        for line in replaced_by_the_host(requirements, tested_pins(host)):
            if line not in said:
                say(line)
    built, warnings = built_here(new)
    for line in [*(f"warning: {warning}" for warning in warnings), *hints(entries(new))]:
        say(line)
    place = _write(f"{replace(wanted, built_here=built)}{new}", places)
    say(_summary(place, places, new, found.python))
    return place, built


def _seed(before: Path | None, wanted: Head, host: Path) -> str:
    """What the new lock keeps: the versions of the one before it, else those that the host was
    tested with. Where the host's pins changed, the host's come first."""
    tested = entries(read_text(host / "requirements.txt"))
    if before is None:
        return "".join(tested.values())
    kept, head = entries(read_text(before)), read_head(before)
    if head is None or head.host != wanted.host:
        kept |= tested
    return "".join(kept.values())


def _names(upgrade: str | None, seed: str, host: Path) -> list[str] | None:
    """Those to upgrade; None for everything. Raises PackageError for others."""
    if upgrade in EVERYTHING:
        return None
    names = [str(canonicalize_name(name)) for name in re.split("[, ]+", upgrade or "") if name]
    for name in names:
        if name in host_pins(host):
            raise PackageError(f"UPGRADE={name}: the host pins it: update the host's checkout")
        if name not in entries(seed):
            raise PackageError(f"UPGRADE={name}: the lock has no such library (UPGRADE=1: all)")
    return names


def _write(text: str, places: Sequence[Path]) -> Path:
    failure: OSError | None = None
    for place in places:
        try:
            _write_whole(place, text)
        except OSError as error:
            failure = error
        else:
            return place
    raise PackageError(f"{places[-1]} can't be written: {failure and failure.strerror}")


def _write_whole(file: Path, text: str) -> None:
    """Others see the old file or the new one, whatever ends this process. Raises OSError."""
    aside = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        aside.write_text(text, "utf-8")
        aside.replace(file)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def _summary(place: Path, places: Sequence[Path], new: str, python: str) -> str:
    pythons = "" if python == OLDEST_PYTHON else f", for Python {python} or newer"
    # A path from here would puzzle who called from the bot's folder.
    where = f"{place.parent.name}/{place.name}"
    if place != places[0]:
        where = f"{place}, because {places[0].parent} can't be written"
    return f"Locked {len(entries(new))} libraries{pythons}: {where}"
