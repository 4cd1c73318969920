"""Runs the CDK's command line, with a line for each resource instead of pages of output."""

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.toolchain import node
from infra.toolchain.errors import UserError
from infra.toolchain.folders import BUILD, ROOT

LOG = BUILD / "cdk.log"

# PoeBot |  3/11 | 5:03:37 AM | CREATE_COMPLETE | AWS::Lambda::Url | Live/FunctionUrl (…)
_EVENT = re.compile(
    r"\S+ \| +(?P<count>\d+(?:/\d+)?) \| [^|]+ \| (?P<status>\w+) +\|"
    r" (?P<type>AWS::\S+) +\| (?P<rest>.*)"
)
_REASON_LINES = 12


class CdkError(UserError):
    """The CDK failed: its own last words, and where the rest is."""


def run(
    *arguments: str,
    say: Callable[[str], object] = print,
    variables: Mapping[str, str] | None = None,
    log: Path = LOG,
) -> None:
    """Run `cdk <arguments>` in the project, say what becomes of each resource, keep all in `log`.

    `variables` replace those of this process. Raises CdkError and node.NodeError.
    """
    command = [*node.cdk_command(), *arguments, "--no-notices", "--no-color"]
    environment = node.environment() | dict(variables or {}) | {"CI": "true"}  # all to stdout
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w") as file,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            file.write(line)
            file.flush()
            if progress := _progress(line):
                say(progress)
    if process.returncode:
        raise CdkError(_last_words(log))


def _progress(line: str) -> str:
    """What a line means for someone who waits; empty for most lines."""
    event = _EVENT.match(line)
    if not event or event["type"] == "AWS::CloudFormation::Stack":
        return ""
    if event["status"].endswith("_FAILED"):
        return f"  {event['status']}  {event['type']}  {event['rest']}"
    if event["status"].endswith("_COMPLETE"):
        return f"  {event['count']:>5}  {event['type'].removeprefix('AWS::')}"
    return ""


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    ours = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    said = ours or [line for line in lines if not _EVENT.match(line)][-_REASON_LINES:]
    return "\n".join([*said, f"(the CDK's whole output: {_shown(log)})"])


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
