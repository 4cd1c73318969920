"""The chat page's libraries are the files that their packages have."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from poe.page.server import PAGE

VENDOR = PAGE / "vendor"
LIBRARIES = json.loads((VENDOR / "manifest.json").read_text())
OURS = {"manifest.json", "README.md"}


def named() -> dict[str, str]:
    """The SHA-256 of each file, by its path."""
    return {
        f"{library['folder']}/{name}": file["sha256"]
        for library in LIBRARIES
        for name, file in library["files"].items()
    }


def test_each_file_is_the_one_that_the_manifest_names():
    there = {str(file.relative_to(VENDOR)): file for file in VENDOR.rglob("*") if file.is_file()}
    sums = {
        path: hashlib.sha256(file.read_bytes()).hexdigest()
        for path, file in there.items()
        if path not in OURS
    }
    assert sums == named()


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library["package"])
def test_each_library_has_its_version_its_integrity_and_its_licence(library):
    assert re.fullmatch(r"\d+\.\d+\.\d+", library["version"])
    assert re.fullmatch(r"sha512-[\w+/]{86}==", library["integrity"])
    assert library["licence"]
    assert "LICENSE" in library["files"]


def test_the_page_loads_nothing_else_of_theirs():
    own = [*PAGE.glob("*.html"), *PAGE.glob("*.js"), *PAGE.glob("*.css")]
    loaded = {
        path
        for file in own
        for path in re.findall(r"vendor/([\w./-]+\.(?:js|css))", file.read_text())
    }
    assert loaded <= set(named())
    assert {Path(path).parts[0] for path in loaded} == {each["folder"] for each in LIBRARIES}
