"""Text from others, made safe for a terminal."""

# Such text must not move the cursor, colour or clear anything. Tab and newline stay.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def without_controls(text: str) -> str:
    """`text` without control characters."""
    return text.translate(_CONTROLS)
