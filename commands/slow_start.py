"""What makes a start slow: the imports that took longest, measured in a start of their own.

Only a start that was too slow is repeated, with Python's own measurement on; so other starts don't
pay for it. Format: Python's documentation, "Command line and environment", -X importtime.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

from local.aws_lambda.cgroups import MB_PER_VCPU
from local.aws_lambda.config import FunctionConfig
from local.aws_lambda.service import InitError, LocalLambda

SLOW = 4.0  # seconds: Poe waits 5 for the first byte, and the network takes its part
SHOWN = 3
MEASURING = 30.0  # seconds at most

_WORTH_SHOWING = 0.1  # of the start: the host's own imports take less of a slow one
_LINE = re.compile(r"import time: +(\d+) \| +(\d+) \| ( *)(\S+)")


async def remark(config: FunctionConfig) -> str:
    """What took longest at a start, and what to do. Starts the function again."""
    lines: list[str] = []
    variables = {**config.environment, "PYTHONPROFILEIMPORTTIME": "1"}
    measured = replace(config, environment=variables, init_timeout_s=MEASURING)
    async with LocalLambda(measured, on_line=lines.append) as function:
        began = time.monotonic()
        try:
            await function.warm()
        except InitError:
            return ""  # slower still, or it isn't the start's time that is at fault
        took = time.monotonic() - began
    own = {entry.stem for entry in (config.package / "bot").iterdir()}
    slowest = _slowest(lines, took, own)
    return _text(slowest, config) if slowest else ""


def _text(slowest: Mapping[str, float], config: FunctionConfig) -> str:
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in slowest.items())
    text = f"slowest at the start: {times}. Move what you can into get_response: Poe waits there"
    if config.memory_mb >= MB_PER_VCPU:
        return text
    if not config.cpu_share:
        share = f"{config.memory_mb / MB_PER_VCPU:.0%} of a CPU"
        text += f". On Lambda it takes longer still: {config.memory_mb} MB come with {share}"
    return (
        f"{text}. `make run MEMORY=1769` tries a whole CPU, and"
        ' "memory": 1769 in the context of the bot\'s cdk.json deploys it'
    )


def _slowest(lines: Iterable[str], took: float, own: Set[str]) -> dict[str, float]:
    """Seconds by name, the longest first: of libraries with what they import in turn, of the bot's
    `own` modules without.

    `lines`: of a start that took `took` seconds, among others those of -X importtime, each after
    those of the modules that it imports.
    """
    seconds: dict[str, float] = defaultdict(float)
    everything = 0.0
    looked_into: list[bool] = []  # by depth: whether the module there is the bot's own
    for line in reversed([*lines]):
        if not (found := _LINE.match(line)):
            continue
        itself, in_all, depth = int(found[1]) / 1e6, int(found[2]) / 1e6, len(found[3]) // 2
        name = found[4].partition(".")[0]
        everything += 0 if depth else in_all
        del looked_into[depth:]
        is_own = name in own and all(looked_into)
        if all(looked_into) and name != "handler":
            seconds[name] += itself if is_own else in_all
        looked_into.append(is_own)
    seconds["bot.py itself"] = took - everything
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return {name: spent for name, spent in ordered[:SHOWN] if spent > took * _WORTH_SHOWING}
