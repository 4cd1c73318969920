"""The URLs that an answer names as wholes: of its files, and of the images in its Markdown."""

import html
import re
from collections.abc import Iterator
from urllib.parse import unquote

import httpx

# CommonMark 0.31: 6.4 "Images", whose text may hold brackets; 4.7 "Link reference definitions".
_IMAGE = re.compile(r"!\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*")
_DEFINITION = re.compile(r"^ {0,3}\[[^\[\]\n]+\]:[ \t]*\n?[ \t]*", re.MULTILINE)
_POINTED = re.compile(r"<([^<>\n]*)>")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


def image_urls(markdown: str) -> Iterator[str]:
    """Each URL of an image, and of what an image may refer to."""
    for pattern in (_IMAGE, _DEFINITION):
        for match in pattern.finditer(markdown):
            if found := _destination(markdown, match.end()):
                yield html.unescape(_ESCAPED.sub(r"\1", found))


def _destination(text: str, start: int) -> str:
    """A link's destination, which ends with its brackets or at a space; CommonMark, 6.3."""
    if pointed := _POINTED.match(text, start):
        return pointed[1]
    depth = 0
    for index in range(start, len(text)):
        character = text[index]
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character.isspace() or depth < 0:
            return text[start:index]
    return text[start:]


def same(url: str) -> str:
    """A form that is the same for a URL and for what a renderer makes of it, which escapes
    characters and writes names of hosts in ASCII."""
    try:
        return unquote(str(httpx.URL(url)))
    except (httpx.InvalidURL, ValueError):
        return url
