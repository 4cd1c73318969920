"""Libraries that have a better twin on Lambda."""

from collections.abc import Iterable

from packaging.utils import canonicalize_name

from infra.package.lock.host_pins import parsed
from infra.package.lock.requirements import Requirements

# What shows pictures in windows needs libGL, and Lambda has neither.
HEADLESS = {
    "opencv-python": "opencv-python-headless",
    "opencv-contrib-python": "opencv-contrib-python-headless",
}
# These are compiled against libraries of the system, and have no wheels.
WITH_WHEELS = {
    "mysqlclient": "pymysql",
    "pdftotext": "pypdf",
    "psycopg2": "psycopg2-binary",
    "pycrypto": "pycryptodome",
}


def hints(names: Iterable[str]) -> list[str]:
    """One line for each library of a lock that has a smaller twin, which starts on Lambda."""
    return [
        f"hint: {name} opens windows, which takes libGL, and Lambda doesn't have it: require"
        f" {HEADLESS[name]}, which takes its place, even if another library asks for it"
        for name in names
        if name in HEADLESS
    ]


def overrides(requirements: Requirements) -> list[str]:
    """What keeps a library out whose twin is required: both have the same files, and another
    library may ask for the one with windows."""
    names = {canonicalize_name(each.name) for each in map(parsed, requirements.lines) if each}
    return [f"{name} ; python_version < '3'" for name, twin in HEADLESS.items() if twin in names]
