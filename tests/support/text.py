"""What a message can hold to move, erase, reorder or hide what a terminal shows."""

CONTROLS = [chr(code) for code in (*range(32), *range(127, 160)) if chr(code) != "\t"]
SEPARATORS = ["\r\n", "\u2028", "\u2029"]
BIDI = [
    *("\u061c", "\u200e", "\u200f"),
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
]
HIDDEN = [
    *("\xad", "\u200b", "\u2060", "\ufeff", "\ufff9"),
    *("\U000e0001", "\U000e0041", "\U000e0fff"),
]
SEQUENCES = [
    *("\x1b[2J", "\x1b[1A\x1b[2K", "\x1b]0;title\x07", "\x1b[31m", "\x1b[8m"),
    *("\x9b2J", "\x1bc"),
]
HALVES = ["\ud83d", "\ude00"]

FORGED = [*CONTROLS, *SEPARATORS, *BIDI, *HIDDEN, *SEQUENCES, *HALVES]
