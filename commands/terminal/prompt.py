"""Questions that are answered at the terminal, if there is one."""

import getpass
import sys

from infra.toolchain.errors import UserError


def answer(question: str) -> str:
    """What is typed, without white space around it; empty without a terminal."""
    if not sys.stdin.isatty():
        return ""
    try:
        return input(question).strip()
    except EOFError:
        print()
        return ""


def agrees(question: str) -> bool:
    """Whether the answer is yes; False without a terminal."""
    return answer(f"{question} [y/N] ").lower() in ("y", "yes")


def hidden(question: str) -> str:
    """What is typed without being shown, or all of stdin without the end of its last line.

    Raises UserError for what isn't UTF-8, and EOFError for Ctrl-D.
    """
    if sys.stdin.isatty():
        return getpass.getpass(question)
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UserError("the value isn't UTF-8: pipe it as UTF-8 text") from None
