"""Compile every .py file below the current folder to a .pyc that needs no check at import.

Usage: python compile_pyc.py FOLDER_AT_RUN_TIME

The interpreter that runs this is the one that the package is for. The same files give the same
bytes, wherever they lie: marshal writes a string differently when the process holds another
reference to it, so paths stay whole strings (pathlib would intern their parts), and the files are
taken in one order. Hash seeds don't matter: marshal sorts sets.

Prints `path:line: what is wrong` for each file that isn't Python of this version. What stops all of
it, such as a full disk, is one line on stderr.
"""

import os
import py_compile
import sys

LONGEST = 120  # characters of a line of code


def compile_file(path: str, path_at_run_time: str) -> None:
    try:
        py_compile.compile(
            path,
            dfile=path_at_run_time,
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    except py_compile.PyCompileError as error:
        line = getattr(error.exc_value, "lineno", None) or 1  # a NUL has no line
        print(f"{path}:{line}: {in_words(error.exc_value)}")


def in_words(error: BaseException) -> str:
    """In one line, with the line of code, or with what to do where that explains little."""
    message = str(getattr(error, "msg", error))
    if "codec can't decode" in message or "encoding problem" in message:
        return "it isn't UTF-8: save it as UTF-8"
    if "null bytes" in message:
        return "it has a NUL character, as UTF-16 has: save it as UTF-8"
    if isinstance(error, TabError):
        return f"{message}: use spaces alone"
    code = (getattr(error, "text", None) or "").strip()
    return f"{message}: {code[:LONGEST]}" if code else message


def main(folder_at_run_time: str) -> None:
    for folder, subfolders, names in os.walk("."):
        subfolders.sort()
        for name in sorted(names):
            if name.endswith(".py"):
                path = os.path.relpath(f"{folder}/{name}")
                compile_file(path, f"{folder_at_run_time}/{path}")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except OSError as error:
        sys.exit(str(error))
