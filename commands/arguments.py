"""What a command is told: its options, each with the variable of `make` that it comes from."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from infra.toolchain.errors import UserError


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def number(variable: str, low: int, high: int, unit: str = "") -> Callable[[str], int]:
    """For `type=`: a whole number from `low` to `high`. `variable` and `unit` are for the error."""

    def check(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise UserError(f"{variable}={text} is invalid: use {low} to {high}{unit}")
        return int(text)

    return check


port = number("PORT", 1, 65_535)
