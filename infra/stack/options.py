"""What can be chosen about a deployment: the CDK's context, checked before anything is built.

Values come from cdk.json as JSON, from `-c name=value` as text.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from infra.package.target import Target, configured_python
from infra.stack.cost import INSTANCES
from infra.stack.names import DEFAULT_STACK
from infra.toolchain.errors import UserError

POES_LIMIT_S = 600  # Poe cuts an answer there

# CloudWatch Logs API reference, PutRetentionPolicy.
RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
)  # fmt: skip

LAMBDAS_PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MANAGED_PYTHONS = ("3.13", "3.14")  # Lambda's guide, "Managed Instances runtimes"
MANAGED_MEMORY = sorted({memory for _, memory in INSTANCES})  # MB
MOST_CONCURRENCY = 64  # Lambda's limit per vCPU, and an event loop uses one


class ContextError(UserError):
    """One line: which value is invalid, and what to use instead."""


@dataclass(frozen=True)
class Options:
    """Every choice with its default; the table in docs/deploy.md has the same rows.

    `from_context` checks them:

        options = Options.from_context({"memory": "1024", "dashboard": True})
        options.target.name  # "3.13-arm64"
    """

    stack: str = DEFAULT_STACK
    memory: int = 512  # MB, chosen from the curve in bench/results.md
    timeout: int = 615  # seconds
    arch: str = "arm64"
    """Or "x86_64"."""
    python: str = ""
    """The function's Python, such as "3.13"; empty: the host's own."""
    streaming: bool = True
    """False: AWS's own runtime client and a buffered URL."""
    snapstart: bool = False
    """Starts from a snapshot of the published version."""
    concurrency: int | None = None
    """This many conversations at once in one process, on Managed Instances; None: one, on plain
    Lambda. `memory` is then 2,048 MB by default."""
    vpc: str | None = None
    """The VPC of the Managed Instances; None: one of the stack's own."""
    zones: str | None = None
    """The Availability Zones of that network of the stack's own, such as "us-east-1a,us-east-1d";
    None: the region's first two."""
    reserved_concurrency: int | None = None
    """At most this many conversations at once; None: as many as the account allows."""
    log_retention_days: int = 30
    """One of RETENTION_DAYS."""
    alarm_email: str | None = None
    """Creates the alarms, which mail there."""
    dashboard: bool = False
    bot_name: str | None = None
    """The bot's name on Poe; `make deploy` then registers it."""
    bot_dir: str | None = None
    """The bot's folder; None: bot/ in this checkout."""
    bot_file: str | None = None
    """A file that replaces the folder's bot.py."""

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Self:
        """The choices in `context`, as texts or JSON values. The CDK's own are left alone, and an
        empty text is the default. Raises ContextError for an unknown name or an invalid value.
        """
        given = {name: value for name, value in context.items() if _NAME.fullmatch(name)}
        for name in given:
            if name not in _CHECKS:
                raise ContextError(_unknown(name))
        chosen = {name: _CHECKS[name](name, value) for name, value in given.items() if value != ""}
        defaults: dict[str, Any] = {"python": configured_python()}
        if "concurrency" in chosen:
            defaults["memory"] = MANAGED_MEMORY[0]
        options = cls(**{**defaults, **chosen})
        if options.snapstart:
            _check_snapstart(options)
        _check_concurrency(options)
        return options

    @property
    def target(self) -> Target:
        return Target(self.python, self.arch)


# Ours are plain words; the CDK's own have colons, slashes or dashes.
_NAME = re.compile(r"[a-z_]+")

_Check = Callable[[str, Any], Any]


def _number(low: int, high: int, why: str = "") -> _Check:
    def check(name: str, value: Any) -> int:
        try:
            number = int(str(value))
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise ContextError(f"{name}={value} is invalid: use {low} to {high}{why}")
        return number

    return check


def _one_of(*values: Any, hint: str = "") -> _Check:
    by_text = {str(value): value for value in values}

    def check(name: str, value: Any) -> Any:
        if str(value) not in by_text:
            raise ContextError(f"{name}={value} is invalid: use {hint or ', '.join(by_text)}")
        return by_text[str(value)]

    return check


def _text(pattern: str, hint: str) -> _Check:
    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise ContextError(f"{name}={value} is invalid: use {hint}")
        return value

    return check


def _flag(name: str, value: Any) -> bool:
    """JSON's true, or the word."""
    return bool(_one_of("true", "false")(name, str(value).lower()) == "true")


def _path(name: str, value: Any) -> str:
    """As it is: which folder and file are meant is looked up when they are needed."""
    return str(value)


_ZONE = r"[a-z]{2}(-[a-z]+)+-[0-9][a-z]"

_CHECKS: dict[str, _Check] = {
    "stack": _text(r"[A-Za-z][A-Za-z0-9-]{0,127}", "letters, digits and dashes, a letter first"),
    "memory": _number(512, 10240, " MB (with less, a start leaves too little of Poe's 5 s)"),
    "timeout": _number(10, 900, f" seconds (Poe waits {POES_LIMIT_S})"),
    "arch": _one_of("arm64", "x86_64"),
    "python": _one_of(*LAMBDAS_PYTHONS),
    "streaming": _flag,
    "snapstart": _flag,
    "concurrency": _number(2, MOST_CONCURRENCY, " (conversations at once in one process)"),
    "vpc": _text(r"vpc-[0-9a-f]{8}([0-9a-f]{9})?", "a VPC's id, such as vpc-0a1b2c3d4e5f67890"),
    "zones": _text(rf"{_ZONE}(,{_ZONE})*", "Availability Zones, such as us-east-1a,us-east-1d"),
    "reserved_concurrency": _number(1, 100_000, " (conversations at once)"),
    "log_retention_days": _one_of(*RETENTION_DAYS),
    "alarm_email": _text(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address"),
    "dashboard": _flag,
    "bot_name": _text(r"[A-Za-z0-9][A-Za-z0-9._-]*", "the bot's name on Poe"),
    "bot_dir": _path,
    "bot_file": _path,
}
assert _CHECKS.keys() == {field.name for field in fields(Options)}


def _check_snapstart(options: Options) -> None:
    """Raises ContextError for what SnapStart doesn't go with."""
    if options.python == "3.11":
        raise ContextError("snapstart=true needs a newer Python: use python=3.12 or higher")
    if not options.streaming:
        raise ContextError("snapstart=true needs streaming=true: leave one of the two out")


def _check_concurrency(options: Options) -> None:
    """Raises ContextError for what Managed Instances don't go with, or for their network alone."""
    for name in ("vpc", "zones"):
        if options.concurrency is None and getattr(options, name):
            raise ContextError(
                f"{name} is for Managed Instances alone: add concurrency=64, or leave it out"
            )
    if options.concurrency is None:
        return
    if options.vpc and options.zones:
        raise ContextError("a given vpc has zones of its own: leave vpc or zones out")
    if options.snapstart:
        raise ContextError("concurrency doesn't go with snapstart=true: leave one of the two out")
    if not options.streaming:
        raise ContextError("concurrency needs streaming=true: leave one of the two out")
    if options.python not in MANAGED_PYTHONS:
        raise ContextError(f"concurrency needs a newer Python: use python={MANAGED_PYTHONS[0]}")
    if options.memory not in MANAGED_MEMORY:
        sizes = ", ".join(map(str, MANAGED_MEMORY))
        raise ContextError(
            f"memory={options.memory} doesn't go with concurrency: use one of {sizes} MB (Managed"
            " Instances give at least 2 GB, and these sizes one vCPU each)"
        )
    if options.reserved_concurrency:
        raise ContextError(
            "reserved_concurrency doesn't go with concurrency, whose instances have a limit of"
            " their own: leave it out"
        )


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _CHECKS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(_CHECKS)}"
    return f"there is no context value {name}: {hint}"


def parsed(assignments: list[str]) -> dict[str, str]:
    """`name=value` texts, as the CDK's own `-c` takes them. Raises ContextError."""
    for assignment in assignments:
        if "=" not in assignment:
            raise ContextError(f"-c {assignment} is invalid: use name=value")
    return dict(assignment.split("=", 1) for assignment in assignments)
