"""Text of others on somebody's terminal."""

# It may not move the cursor, colour or clear anything: no control character but tab and newline.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def harmless(text: str) -> str:
    """`text` without control characters."""
    return text.translate(_CONTROLS)
