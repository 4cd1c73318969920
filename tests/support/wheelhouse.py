"""Tiny libraries in a folder, as uv's only source of packages: quick, and without a network."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

# A build backend of its own, so that nothing has to be installed for the build.
BACKEND = """
import json, os, shutil, subprocess, sys, sysconfig, zipfile
NAME, VERSION, METADATA, KIND = json.loads(%r)

def compiled():
    if KIND == "optional":  # as wrapt
        return not subprocess.run([os.environ.get("CC", "cc"), "--version"]).returncode
    if KIND == "looking":
        return bool(shutil.which("gcc"))
    return KIND == "compiled"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    if KIND == "broken":
        sys.exit("fatal error: poppler.h: No such file or directory")
    python = f"cp3{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    tag = f"{python}-{python}-{platform}" if compiled() else "py3-none-any"
    wheel = f"{NAME}-{VERSION}-{tag}.whl"
    with zipfile.ZipFile(os.path.join(folder, wheel), "w") as archive:
        archive.writestr(f"{NAME}.py", f"BUILT_WITH = {sorted(os.environ)!r}")
        archive.writestr(f"{NAME}-{VERSION}.dist-info/METADATA", METADATA)
        archive.writestr(f"{NAME}-{VERSION}.dist-info/WHEEL", f"Wheel-Version: 1.0\\nTag: {tag}\\n")
        archive.writestr(f"{NAME}-{VERSION}.dist-info/RECORD", "")
    return wheel
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
version = "{version}"
"""


class Wheelhouse:
    """`folder` holds the wheels and sources; `use` makes uv see nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def use(self, monkeypatch: pytest.MonkeyPatch, *, alone: bool = True) -> None:
        """Not `alone`: next to the real index."""
        settings = self.folder.parent / "settings" / "uv" / "uv.toml"
        settings.parent.mkdir(parents=True)
        links = f"find-links = [{json.dumps(str(self.folder))}]\n"
        settings.write_text(f"no-index = true\n{links}" if alone else links)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(settings.parents[1]))
        # One for all tests, so that uv looks at the interpreter once.
        monkeypatch.setenv("UV_CACHE_DIR", str(self.folder.parents[1] / "uv-cache"))

    def wheel(
        self,
        name: str,
        version: str = "1.0",
        requires: Sequence[str] = (),
        tag: str = "py3-none-any",
        files: Mapping[str, str] | None = None,
    ) -> None:
        """`requires` may have `python>=3.12` in it, for Requires-Python. `files`: contents by path,
        next to a module of the library's name."""
        stem = f"{name.replace('-', '_')}-{version}"
        with zipfile.ZipFile(self.folder / f"{stem}-{tag}.whl", "w") as archive:
            archive.writestr(f"{name.replace('-', '_')}.py", f"VERSION = {version!r}")
            for path, content in (files or {}).items():
                archive.writestr(path, content)
            archive.writestr(f"{stem}.dist-info/METADATA", metadata(name, version, requires))
            wheel = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n"
            archive.writestr(f"{stem}.dist-info/WHEEL", wheel)
            archive.writestr(f"{stem}.dist-info/RECORD", "")

    def pinned(self, name: str, version: str = "1.0") -> str:
        """The entry of a lock, for a wheel that fits every machine."""
        return f"{name}=={version} \\\n    --hash=sha256:{self.digest(name, version)}\n"

    def digest(self, name: str, version: str) -> str:
        """The hash of a wheel that fits every machine."""
        wheel = self.folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        return hashlib.sha256(wheel.read_bytes()).hexdigest()

    def sources(self, name: str, version: str = "1.0", kind: str = "pure") -> None:
        """A source distribution: "pure", "compiled", "optional" (its slower self where compiling
        fails), "looking" (where there is no compiler), or "broken" (its build fails)."""
        self.archive(name, version, source_files(name, version, kind))

    def archive(self, name: str, version: str, files: Mapping[str, str]) -> None:
        """A source distribution of `files`, contents by path."""
        with tarfile.open(self.folder / f"{name}-{version}.tar.gz", "w:gz") as archive:
            for file, text in files.items():
                entry = tarfile.TarInfo(f"{name}-{version}/{file}")
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))


def source_files(name: str, version: str = "1.0", kind: str = "pure") -> dict[str, str]:
    facts = json.dumps([name, version, metadata(name, version), kind])
    return {
        "pyproject.toml": PROJECT.format(name=name, version=version),
        "backend.py": BACKEND % facts,
        "PKG-INFO": metadata(name, version),
    }


def metadata(name: str, version: str, requires: Sequence[str] = ()) -> str:
    lines = ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}"]
    for each in requires:
        field = "Requires-Python" if each.startswith("python") else "Requires-Dist"
        lines.append(f"{field}: {each.removeprefix('python')}")
    return "\n".join([*lines, "", ""])
