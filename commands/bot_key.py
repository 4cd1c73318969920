"""The access key of the bot that a command talks to: found, or asked for at a terminal."""

import argparse
import sys

import httpx

from commands.arguments import chosen_folder
from commands.terminal.prompt import hidden
from poe.client.access import NoKey, access_key, checked_key, kept_key_file


def known_or_asked(url: str, options: argparse.Namespace) -> tuple[str, str]:
    """The key, and where it is from: POE_ACCESS_KEY, else what `make run` keeps for bots on this
    machine, else a prompt. Raises UserError, also without a terminal to ask at."""
    try:
        return access_key(url, kept=kept_key_file(chosen_folder(options)))
    except NoKey:
        if not sys.stdin.isatty():
            raise
    source = "the prompt"
    return checked_key(hidden(f"Access key of {httpx.URL(url).host}: "), source), source
