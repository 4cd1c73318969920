"""JSON that people write: a mistake is named with its line and column."""

import json
from pathlib import Path
from typing import Any

from infra.toolchain.errors import UserError


def read_text(path: Path) -> str:
    """UTF-8, with or without a byte order mark. Raises UserError, and FileNotFoundError."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} isn't UTF-8: save it as UTF-8") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None


def parse_object(text: str, path: Path) -> dict[str, Any]:
    """The object that `text`, from `path`, holds. Raises UserError, which quotes no value."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{path} isn't JSON: {place}: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, or 1,000 brackets
        raise UserError(f"{path} isn't usable JSON ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise UserError(f'{path} isn\'t a JSON object: write {{"name": …}}')
    return value
