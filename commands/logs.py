"""`make logs`: the deployed bot's log as it is written, for people to read."""

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from commands.arguments import Parser, chosen_stack
from commands.command import exit_with
from commands.terminal.log_lines import LogPrinter
from commands.terminal.log_records import is_failure, request_id
from infra.aws.client import AwsError, client, explained
from infra.aws.outputs import outputs
from infra.toolchain.errors import UserError

SINCE = "10m"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

ERRORS = "errors"

PAUSE = 2.0  # seconds between two reads
# Lines of several environments arrive out of order: each read goes back this far.
OVERLAP = 30_000  # milliseconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = Parser(prog="make logs", description=__doc__)
    parser.add_argument("--since", default=SINCE, help="how long ago to begin (%(default)s)")
    parser.add_argument("--only", default="", help="errors, or the beginning of a request's id")
    parser.add_folder()
    parser.add_stack()
    options = parser.parse_args(arguments)
    begin = max(0.0, time.time() - seconds(options.since))
    wanted = chosen_lines(options.only)
    follow(outputs(chosen_stack(options)).log_group, begin, wanted)


def seconds(text: str) -> int:
    """Of a time such as "10m". Raises UserError."""
    parts = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if not parts:
        raise UserError(f"SINCE={text} is invalid: use s, m, h or d, such as 10m, 2h or 1d")

    return int(parts[1]) * SECONDS[parts[2]]


def chosen_lines(only: str) -> Callable[[str], bool]:
    """Which lines of the log to show: those about failures for "errors", of one request for the
    beginning of its id, all for nothing. Raises UserError."""
    if not only:
        return lambda line: True
    if only == ERRORS:
        return is_failure
    if not re.fullmatch(r"[0-9a-f]{4,8}(-[0-9a-f-]{0,27})?", only):
        raise UserError(f"ONLY={only} is invalid: use errors, or the beginning of a request's id")
    return lambda line: request_id(line).startswith(only)


def follow(group: str, begin: float, wanted: Callable[[str], bool]) -> None:
    """Print the `wanted` lines from `begin` on (seconds since the epoch), until Ctrl-C."""
    since = f"{datetime.fromtimestamp(begin):%Y-%m-%d %H:%M:%S}"
    print(f"{group}, since {since}. Press Ctrl-C to stop.", file=sys.stderr)
    lines = LogPrinter(print, dated=True)
    log = Log(group, begin)
    if not _print_new(log, lines, wanted):
        print("Nothing yet.", file=sys.stderr)
    while True:
        time.sleep(PAUSE)
        _print_new(log, lines, wanted)


def _print_new(log: "Log", lines: LogPrinter, wanted: Callable[[str], bool]) -> bool:
    """Whether there was anything to print."""
    before = lines.count
    for event in log.new_events():
        line = event["message"].rstrip("\n")
        if wanted(line):
            lines(line, datetime.fromtimestamp(event["timestamp"] / 1000))
    return lines.count > before


class Log:
    """A log group's events, each given once."""

    def __init__(self, group: str, begin: float) -> None:
        self._group = group
        self._begin = int(begin * 1000)
        self._given: dict[str, int] = {}  # timestamps by id, in milliseconds
        with explained():
            self._pages = client("logs").get_paginator("filter_log_events")

    def new_events(self) -> Iterator[dict[str, Any]]:
        """What came since the last call. Raises AwsError."""
        latest = max(self._given.values(), default=self._begin)
        begin = max(self._begin, latest - OVERLAP)
        self._given = {id_: at for id_, at in self._given.items() if at >= begin}
        with explained():
            for page in self._read(begin):
                for event in page["events"]:
                    if event["eventId"] not in self._given:
                        self._given[event["eventId"]] = event["timestamp"]
                        yield event

    def _read(self, begin: int) -> Iterator[Any]:
        try:
            yield from self._pages.paginate(logGroupName=self._group, startTime=begin)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            raise AwsError(
                f"the log group {self._group} doesn't exist: run `make deploy`"
            ) from None


if __name__ == "__main__":
    exit_with(main, runs_until_stopped=True)
