"""Names that an attached file may have."""

import unicodedata

LONGEST = 255  # bytes, as most file systems have it

# Control characters and line ends, what reorders text, and halves of surrogate pairs; U+FFFD is
# what replaced invalid UTF-8. The joiners are part of emoji and of many scripts.
_REFUSED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"


def name_problem(name: str) -> str:
    """Why it can't be a file's name, as a sentence; empty if it can."""
    if not name:
        return "The file has no name: add it, as /attachments?name=…"
    if name in (".", "..") or "/" in name or "\\" in name:
        return "The file's name is a path: use its last part alone."
    if any(map(_is_refused, name)):
        return "The file's name has characters that can't be shown: rename it."
    if len(name.encode()) > LONGEST:
        return f"The file's name is longer than {LONGEST} bytes: shorten it."
    return ""


def _is_refused(character: str) -> bool:
    if character in _JOINERS:
        return False
    return unicodedata.category(character) in _REFUSED or character == "\N{REPLACEMENT CHARACTER}"
