"""How large a package is, and whether Lambda takes it: 250 MB unpacked, with its layers.

What it weighs as a zip doesn't matter: the CDK uploads it to S3, where the limit of 50 MB for
direct uploads doesn't hold.
"""

import csv
import os
import sys
from collections import Counter
from pathlib import Path, PurePath

from packaging.utils import canonicalize_name

from infra.package.target import PackageError

MB = 1024 * 1024  # as AWS counts
LIMIT = 250 * MB
NEAR = 200_000_000
LARGEST = 10


def check_size(package: Path, *, deployable: bool = True) -> None:
    """Refuse a package that Lambda wouldn't take, and warn of one that nears the limit.

    Not `deployable`: one that is too large gets a warning, too. Raises PackageError.
    """
    size = size_of(package)
    if size > LIMIT and deployable:
        raise PackageError(_too_large(package, size))
    elif size > LIMIT:
        _warn(f"this runs here, but can't be deployed: {_too_large(package, size)}")
    elif size > NEAR:
        _warn(f"the package is {in_words(size)}. {_largest(package)}")


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def size_of(package: Path) -> int:
    """In bytes, unpacked: the contents of all files, as AWS counts them."""
    return sum(_sizes(package).values())


def in_words(size: int) -> str:
    return f"{size / MB:.1f} MB unpacked; Lambda takes {LIMIT // MB} MB, layers included"


def _too_large(package: Path, size: int) -> str:
    return (
        f"the package is {in_words(size)}. {_largest(package)} Drop a library, require it"
        " without its extras, or take a smaller one, such as opencv-python-headless for"
        " opencv-python. Container images, which may be larger, aren't supported."
    )


def _largest(package: Path) -> str:
    sizes = library_sizes(package).most_common(LARGEST)
    return f"The largest: {', '.join(f'{name} {size / MB:.1f} MB' for name, size in sizes)}."


def library_sizes(package: Path) -> Counter[str]:
    """The bytes of each library by its name, and of the bot's folder as `bot/`."""
    sizes, owners = _sizes(package), _owners(package)
    found: Counter[str] = Counter()
    for name, size in sizes.items():
        if name.startswith("bot/"):
            found["bot/"] += size
        elif owner := owners.get(_source(name)):
            found[owner] += size
    return found


def _sizes(package: Path) -> dict[str, int]:
    """In bytes, of each file by its path below `package`."""
    files = (Path(folder, name) for folder, _, names in os.walk(package) for name in names)
    return {str(file.relative_to(package)): file.lstat().st_size for file in files}


def _owners(package: Path) -> dict[str, str]:
    """The library of each installed file."""
    owners: dict[str, str] = {}
    for record in package.glob("*.dist-info/RECORD"):
        library = canonicalize_name(record.parent.name.split("-")[0])
        with record.open(encoding="utf-8", newline="") as file:
            owners |= {row[0]: library for row in csv.reader(file) if row}
    return owners


def _source(name: str) -> str:
    """The module of a .pyc; any other file itself."""
    path = PurePath(name)
    if path.suffix != ".pyc" or path.parent.name != "__pycache__":
        return name
    return str(path.parents[1] / f"{path.name.partition('.')[0]}.py")
