"""Takes out of installed libraries what a function never reads."""

import csv
import shutil
from collections.abc import Iterable
from pathlib import Path

from infra.package.unused_tests import unused_tests

# Installers' own notes. METADATA and entry_points.txt stay: opentelemetry reads them.
INSTALLERS_FILES = {"INSTALLER", "REQUESTED", "WHEEL", "direct_url.json", "uv_cache.json"}

# What Cython wrote, and a module of the same name next to it was compiled from: 6 MB of fonttools,
# and so of matplotlib.
GENERATED = (".c", ".cpp")


def trim(folder: Path, named: Iterable[str] = ()) -> None:
    """Drop console scripts, tests, type stubs, generated C, and notes for installers.

    `named`: the tests that the bot's own modules name, by `named_tests`.
    """
    shutil.rmtree(folder / "bin", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)
    for tests in unused_tests(folder, named):
        shutil.rmtree(tests)
    for stub in folder.rglob("*.pyi"):
        stub.unlink()
    for module in folder.rglob("*.so"):
        for suffix in GENERATED:
            module.with_name(module.name.partition(".")[0] + suffix).unlink(missing_ok=True)
    for metadata in folder.glob("*.dist-info"):
        _trim_metadata(metadata)


def _trim_metadata(folder: Path) -> None:
    for name in INSTALLERS_FILES:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "sboms", ignore_errors=True)
    if (metadata := folder / "METADATA").is_file():
        # What follows the fields is the library's README. Old ones aren't UTF-8.
        fields, end, _ = metadata.read_text("utf-8", "surrogateescape").partition("\n\n")
        metadata.write_text(fields + end, "utf-8", "surrogateescape")
    if (record := folder / "RECORD").is_file():
        _list_what_is_left(record)


def _list_what_is_left(record: Path) -> None:
    """importlib.metadata reads it, to list a library's files, and which modules belong to it. The
    hashes are for installers."""
    with record.open(encoding="utf-8", newline="") as file:
        names = sorted(row[0] for row in csv.reader(file) if row)
    here = record.parents[1]
    with record.open("w", encoding="utf-8", newline="") as file:
        rows = ([name, "", ""] for name in names if (here / name).is_file())
        csv.writer(file, lineterminator="\n").writerows(rows)
