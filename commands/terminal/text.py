"""Text from others, made safe for a terminal: it can't erase, reorder or hide what is shown, nor
pass for a line of ours."""

import re
import unicodedata

# Colours and the like (ECMA-48, "SGR"). Nothing is lost without them.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What a terminal obeys or doesn't show: control and format characters, among them those that
# reorder a line (bidi), and line separators.
_OBEYED = {"Cc", "Cf", "Zl", "Zp"}
_TAGS = range(0xE0000, 0xE1000)  # never shown, assigned or not
# These join what stands next to them, in emoji and in many scripts, and do no more.
_JOINERS = "\u200c\u200d"


class _Shown(dict[int, str]):
    """How each character is shown, for str.translate, found out at its first use."""

    def __missing__(self, code: int) -> str:
        shown = self[code] = _shown(chr(code))
        return shown


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":  # half of a pair, which no output can encode
        return "\N{REPLACEMENT CHARACTER}"
    if character in _JOINERS or not (category in _OBEYED or ord(character) in _TAGS):
        return character
    return character.encode("unicode_escape").decode()


_SHOWN = _Shown({ord("\t"): "\t", ord("\n"): "\n"})


def visible(text: str) -> str:
    """`text` with its lines, and without colours; what a terminal would obey or hide is written
    out, such as `\\x1b` or `\\u202e`."""
    return _COLOURS.sub("", text).replace("\r\n", "\n").translate(_SHOWN)


def one_line(text: str) -> str:
    """The same with its ends of lines written out too."""
    return visible(text).replace("\n", "\\n")


def continued(text: str, indent: str) -> str:
    """The same, with `indent` in front of every line but the first."""
    return visible(text).replace("\n", f"\n{indent}")


def say(text: str) -> None:
    """Print it as one line."""
    print(one_line(text))
