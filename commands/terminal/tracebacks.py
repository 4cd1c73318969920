"""A traceback of a bot's in a few lines, for those who see it next to an answer."""

import re

FRAMES = 2  # of the bot's own, the last ones
LINES = 4  # of the error's text, or of what has no traceback
WIDTH = 300  # characters of a line

_BEGIN = "Traceback (most recent call last):"
_FRAME = re.compile(r'[ |]*File "')
_OWN = re.compile(r'[ |]*File "bot/')


def folded(text: str) -> list[str]:
    """What stands in front of the traceback, such as a hint; then the bot's own last frames, and
    the error. Other frames are left out. `text` has the package's files by their path there."""
    before, begin, rest = text.partition(_BEGIN)
    if not begin:
        return _first(text.splitlines())
    lines = rest.rpartition(_BEGIN)[2].splitlines()  # of a chain of errors, the last
    frames = _frames(lines)
    own = [frame for frame in frames if _OWN.match(frame[0])][-FRAMES:]
    hint = [line for line in before.splitlines() if line.strip(" +|") and "Exception" not in line]
    return _first(hint) + [line for frame in own for line in frame] + _first(_message(lines))


def _frames(lines: list[str]) -> list[list[str]]:
    """Each with its line of code, without the marks below it."""
    return [
        [line, *(code for code in lines[number + 1 : number + 2] if not _FRAME.match(code))]
        for number, line in enumerate(lines)
        if _FRAME.match(line)
    ]


def _message(lines: list[str]) -> list[str]:
    """The error's type and text, which begin where no frame is any more."""
    last = max((number for number, line in enumerate(lines) if _FRAME.match(line)), default=-1)
    after = lines[last + 1 :]
    begins = next((number for number, line in enumerate(after) if line[:1].strip()), 0)
    return after[begins:]


def _first(lines: list[str]) -> list[str]:
    shown = [line if len(line) <= WIDTH else f"{line[:WIDTH]}…" for line in lines[:LINES]]
    return shown + ["…"] * (len(lines) > LINES)
