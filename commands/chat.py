"""`make chat`: talk to a bot in the terminal, as Poe would talk to it.

With `--bot NAME`, talk to any bot on Poe instead, with the key in POE_API_KEY.
"""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx

from commands.arguments import Parser, chosen_file
from commands.bot_key import known_or_asked
from commands.command import exit_with, is_ending
from commands.terminal.chat_screen import Screen
from poe.client.access import DEFAULT_URL, KEY_VARIABLE, Unusable, checked_url
from poe.client.conversation import LOOPBACK, Conversation, NotAnswering, Refused
from poe.client.run_notes import RunNotes, notes_of_run
from poe.standin.uploads import served_files

if TYPE_CHECKING:
    from poe.client.direct import DirectAccess

API_KEY_VARIABLE = "POE_API_KEY"
UNAUTHORIZED = 401

Partner: TypeAlias = "Conversation | DirectAccess"


def main(arguments: Sequence[str] | None = None) -> int:
    """Talk until the input ends. 0 if every turn was answered as promised, else 1.

    Raises UserError.
    """
    options = _parser().parse_args(arguments)
    screen = Screen(sys.stdout, sys.stderr, raw=options.raw)
    with asyncio.Runner() as runner, contextlib.ExitStack() as stack:
        if options.bot:
            return _with_any_bot(options, runner, screen)
        return _with_server_bot(options, runner, stack, screen)


def _parser() -> Parser:
    parser = Parser(prog="make chat", description=__doc__)
    parser.add_argument("--url", default=DEFAULT_URL, help="the bot (default: %(default)s)")
    parser.add_argument("--raw", action="store_true", help="show events instead of text")
    parser.add_argument(
        "--attach", action="append", default=[], metavar="FILE", help="to the first message"
    )
    parser.add_argument("--bot", metavar="NAME", help="talk to this bot on Poe")
    parser.add_folder()
    return parser


def _with_server_bot(
    options: argparse.Namespace,
    runner: asyncio.Runner,
    stack: contextlib.ExitStack,
    screen: Screen,
) -> int:
    url = checked_url(options.url)
    key, source = known_or_asked(url, options)
    try:
        attachments = stack.enter_context(served_files(_attached(options)))
    except OSError as error:
        raise Unusable(f"cannot read {error.filename}: {error.strerror}") from None
    conversation = Conversation(url, key)
    stack.callback(lambda: runner.run(conversation.aclose()))
    screen.introduction(runner.run(_introduction(conversation, source)))
    return _talk(runner, conversation, attachments, screen, partial(notes_of_run, url))


def _with_any_bot(options: argparse.Namespace, runner: asyncio.Runner, screen: Screen) -> int:
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if not key:
        where = f"get it at https://poe.com/api_key and set {API_KEY_VARIABLE}"
        raise Unusable(f"to talk to {options.bot}, Poe needs your key: {where}")
    # Imported here because fastapi_poe's half second would delay every other chat.
    from poe.client.direct import DirectAccess

    access = DirectAccess(options.bot, key)
    try:
        attachments = [runner.run(access.upload(path)) for path in _attached(options)]
    except OSError as error:
        raise Unusable(f"cannot read {error.filename}: {error.strerror}") from None
    return _talk(runner, access, attachments, screen)


def _attached(options: argparse.Namespace) -> list[Path]:
    return [chosen_file(name, options) for name in options.attach]


async def _introduction(conversation: Conversation, key_source: str) -> str:
    """The bot's introduction. Poe, too, asks for the settings before a user can talk to a bot."""
    try:
        settings = await conversation.settings()
    except NotAnswering as error:
        local = httpx.URL(conversation.url).host in LOOPBACK
        remedy = "start it with `make run`" if local else "check the URL"
        raise Unusable(f"{error}: {remedy}") from None
    except Refused as error:
        if error.status == UNAUTHORIZED:
            raise Unusable(
                f"the bot refused the access key in {key_source}: set {KEY_VARIABLE} to its key,"
                " or try again in 10 s if it has just been changed"
            ) from None
        return f"(the bot's settings are unavailable: {error})"
    return str(settings.get("introduction_message") or "")


def _talk(
    runner: asyncio.Runner,
    partner: Partner,
    attachments: Sequence[dict[str, Any]],
    screen: Screen,
    notes: Callable[[], RunNotes] = RunNotes,
) -> int:
    """One turn for each message; Ctrl-C stops an answer, and in a pipe the whole chat."""
    failed = False
    interactive = sys.stdin.isatty()
    for message in _typed() if interactive else _piped():
        screen.run(notes())
        try:
            failed |= runner.run(_turn(partner, message, attachments, screen))
        except KeyboardInterrupt:
            if not interactive or is_ending():
                raise
            screen.stopped()
        attachments = ()
    return int(failed)


async def _turn(
    partner: Partner, message: str, attachments: Sequence[dict[str, Any]], screen: Screen
) -> bool:
    """Say one message and show the answer as it arrives; True if the turn failed."""
    answer = partner.ask(message, attachments)
    try:
        async for event in answer:
            screen.event(event)
    except (NotAnswering, Refused) as error:
        screen.failure(str(error))
        return True
    screen.turn(answer.turn)
    return answer.turn.failed


def _typed() -> Iterator[str]:
    """The lines typed at the prompt, until Ctrl-D or Ctrl-C."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 – importing it gives input() a history and line editing.
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            if line := input("you> ").strip():
                yield line
    print()


def _piped() -> Iterator[str]:
    return (line for text in sys.stdin if (line := text.strip()))


if __name__ == "__main__":
    exit_with(main, interrupted="(stopped)")
