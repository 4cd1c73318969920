"""The libraries that the host brings in versions of its own: fastapi_poe and mangum."""

import re
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from infra.package.lock.file import read_text, versions, without_comments
from infra.package.lock.requirements import Requirements


def host_pins(host: Path) -> dict[str, str]:
    """The versions by name. `host` is laid out as handler/."""
    pins = (Requirement(line) for line in without_comments(host / "requirements.in"))
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def tested_pins(host: Path) -> dict[str, str]:
    """The versions of those and of all that they need, as the host was tested."""
    return versions(read_text(host / "requirements.txt"))


def replaced_by_the_host(requirements: Requirements, pins: dict[str, str]) -> list[str]:
    """A line for each requirement that one of the host's versions, `pins`, takes the place of."""
    file, lines = requirements.file.name, []
    for asked in map(parsed, requirements.lines + requirements.constraints):
        pin = pins.get(canonicalize_name(asked.name)) if asked else None
        if asked and pin and (asked.url or not asked.specifier.contains(pin, prereleases=True)):
            wanted = (
                f"{asked.name}{asked.specifier}" if asked.specifier else f"{asked.name} by a link"
            )
            lines.append(f"{file} asks for {wanted}: the host's own {pin} is used")
    return lines


def other_constraints(requirements: Requirements, host: Path) -> tuple[str, ...]:
    """Those that don't name what the host pins: uv holds them against its overrides, too."""
    pins = host_pins(host)
    pairs = [(line, parsed(line)) for line in requirements.constraints]
    return tuple(
        line for line, each in pairs if not each or canonicalize_name(each.name) not in pins
    )


def parsed(line: str) -> Requirement | None:
    """None for what isn't one: uv reports that."""
    try:
        return Requirement(re.sub(r"\s--\w.*", "", line))
    except InvalidRequirement:
        return None
