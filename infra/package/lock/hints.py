"""Libraries that have a better twin on Lambda."""

from collections.abc import Iterable

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
        f" {HEADLESS[name]}, the same cv2 without windows, and smaller"
        for name in names
        if name in HEADLESS
    ]
