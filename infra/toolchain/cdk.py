"""Runs the CDK's command line: what it prints is shown at once, and kept in a log."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from infra.toolchain import node
from infra.toolchain.errors import FULL_DISK, UserError, tells_of_full_disk
from infra.toolchain.folders import BUILD, ROOT

LOG = BUILD / "cdk.log"


class CdkError(UserError):
    """The CDK failed: why, and where its whole output is."""


def run(
    *arguments: str,
    show: Callable[[str], object] = print,
    log: Path = LOG,
) -> None:
    """Run `cdk <arguments>` in the checkout. `show` gets each line that it prints, without its end.

    Raises CdkError and node.NodeError.
    """
    command = [*node.cdk_command(), *arguments, "--no-notices", "--no-color"]
    environment = node.environment() | {"CI": "true"}  # all to stdout
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
            errors="replace",
        ) as process,
    ):
        assert process.stdout
        try:
            for line in process.stdout:
                file.write(line)
                show(line.rstrip("\n"))
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise CdkError(f"{_reason(log)} (the CDK's whole output: {log})")


def bootstrap(
    account: str, region: str, *, show: Callable[[str], object] = print, log: Path = LOG
) -> None:
    """Create what the CDK needs of its own in an account. Raises CdkError and node.NodeError."""
    # With an app, it would be run first, for nothing: ten seconds.
    run("bootstrap", f"aws://{account}/{region}", "--app", "", show=show, log=log)


def _reason(log: Path) -> str:
    """The CDK app's own error, if it ended with one; else the CDK's marked line, or its last."""
    text = log.read_text(errors="replace")
    if tells_of_full_disk(text):
        return FULL_DISK
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ours = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    crosses = [line.lstrip("❌ ") for line in lines if line.startswith("❌")]
    return (ours or crosses or lines[-1:] or ["it printed nothing"])[0]
