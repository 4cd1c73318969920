"""The libraries that the host brings in versions of its own: fastapi_poe and mangum."""

import re
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from infra.package.requirements import Requirements


def host_pins(host: Path) -> dict[str, str]:
    """The versions by name. `host` is laid out as handler/."""
    pins = (Requirement(line) for line in _lines(host / "requirements.in"))
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def replaced_by_the_host(requirements: Requirements, host: Path) -> list[str]:
    """A line for each requirement that the host's own version takes the place of."""
    pins, file = host_pins(host), requirements.file.name
    lines = []
    for line in requirements.lines:
        try:
            asked = Requirement(re.sub(r"\s--\w.*", "", line))
        except InvalidRequirement:
            continue  # uv says what is wrong with it
        pin = pins.get(canonicalize_name(asked.name))
        if pin and (asked.url or not asked.specifier.contains(pin, prereleases=True)):
            wanted = f" {asked.specifier}" if asked.specifier else " of a link"
            lines.append(f"{file} asks for {asked.name}{wanted}: the host's own {pin} is used")
    return lines


def _lines(file: Path) -> list[str]:
    lines = file.read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
