"""`make new DIR=../my-bot`: a bot's folder, whose Makefile hands every verb to this host."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import Parser
from commands.command import exit_with
from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT

TEMPLATE = Path(__file__).with_name("new_bot")
NAMES = {"gitignore": ".gitignore"}  # a hidden file would take effect in the template's own folder
KEPT = {".git"}  # a repository that was created first


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folder and print what to do next. Raises UserError."""
    parser = Parser(prog="make new", description=__doc__)
    parser.add_argument("--dir", default="", help="the new folder")
    parser.add_argument("--caller", default="", help="the folder that it is relative to")
    options = parser.parse_args(arguments)
    if not options.dir:
        raise UserError("DIR is missing: run `make new DIR=../my-bot`")
    folder = Path(options.dir).expanduser()
    write(Path(options.caller, folder))
    steps = [f"cd {shlex.quote(str(folder))}", "make run", "make deploy"]
    print("\n  ".join([f"Created {folder}. Next:", *steps]))


def write(folder: Path) -> None:
    """Copy the template into `folder`, which has to be new or empty. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if {path.name for path in folder.iterdir()} - KEPT:
            raise UserError(f"{folder} has files in it: use a folder that is new or empty")
        here = folder.resolve()
        for source in filter(Path.is_file, TEMPLATE.iterdir()):
            text = source.read_text(encoding="utf-8").replace("@NAME@", here.name)
            text = text.replace("@HOST@", _in_makefile(path_to_host(here)))
            (folder / NAMES.get(source.name, source.name)).write_text(text, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UserError(f"can't create {folder}: {reason}; use another folder") from error


def path_to_host(folder: Path) -> str:
    """Relative, so that both can move together, and lie in the same places on other machines."""
    return os.path.relpath(ROOT, folder)


def _in_makefile(text: str) -> str:
    return text.replace("$", "$$").replace("#", r"\#")


if __name__ == "__main__":
    exit_with(main)
