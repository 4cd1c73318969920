"""What the log says twice of a request whose process ended."""

import re
from collections import deque

from commands.terminal.log_records import (
    REQUEST_ID,
    is_failure,
    json_object,
    request_id,
)

_CUT_OFF = ("deadline", "runtime_error")  # the outcomes after which the process may end
_EXIT = re.compile(rf"RequestId: ({REQUEST_ID.pattern}) Error: Runtime exited ")
_EXIT_TYPE = "Runtime.ExitError"
_KEPT = 1000  # requests


class Ends:
    """Knows the requests that, by their own lines, were cut off.

    Lambda then writes up to three lines about each of them: with many requests at once in the
    process that ended, nothing else would be seen.
    """

    def __init__(self) -> None:
        self._cut_off: deque[str] = deque(maxlen=_KEPT)
        self._type_follows = False

    def has_said(self, line: str) -> bool:
        """Whether `line`, the log's next one, only repeats such an end."""
        type_follows, self._type_follows = self._type_follows, False
        if json_object(line).get("outcome") in _CUT_OFF:
            if id := request_id(line):
                self._cut_off.append(id)
            return False
        if exited := _EXIT.match(line):
            self._type_follows = exited[1] in self._cut_off
            return self._type_follows
        if _is_failed_report(line):
            return request_id(line) in self._cut_off
        return type_follows and line == _EXIT_TYPE


def _is_failed_report(line: str) -> bool:
    is_report = line.startswith("REPORT ") or json_object(line).get("type") == "platform.report"
    return is_report and is_failure(line)
