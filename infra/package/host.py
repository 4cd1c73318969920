"""The host's part of a package: the wrapper and handler/, compiled, and kept for next time."""

import hashlib
from pathlib import Path

from infra.package.kept import mark_used
from infra.package.libraries import FOLDER_AT_RUN_TIME, compile_folder
from infra.toolchain.folders import (
    copy_contents,
    fix_entry,
    fix_modes_and_times,
    is_untouched,
    made_aside,
)


def compiled_host(host: Path, libraries: Path, python: Path | None) -> Path:
    """A folder with `bootstrap` and `handler/`, compiled where it isn't kept next to `libraries`,
    whose name stands for the Python and the way to compile."""
    folder = libraries.with_name(f"{libraries.name}-host-{fingerprint(host)}")
    mark_used(folder)
    # The package links to these files: an edit there is an edit here.
    if not is_untouched(folder):
        with made_aside(folder, replace=folder.exists()) as aside:
            for file in shipped(host):
                copy_contents(host / file, aside / "handler" / file)
            if python is not None:
                compile_folder(aside / "handler", python, f"{FOLDER_AT_RUN_TIME}/handler")
            copy_contents(host / "bootstrap", aside / "bootstrap")
            fix_modes_and_times(aside)
            fix_entry(aside / "bootstrap", 0o755)
        mark_used(folder)
    return folder


def shipped(host: Path) -> list[Path]:
    """The modules, relative to `host`, in one order."""
    return sorted(module.relative_to(host) for module in host.rglob("*.py"))


def fingerprint(host: Path) -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in (Path("bootstrap"), *shipped(host)):
        content = (host / file).read_bytes()
        digest.update(f"{file}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]
