"""`make lock`: pins every library that the bot needs."""

from collections.abc import Sequence

from commands.arguments import Parser, chosen_folder
from commands.command import exit_with
from infra.package.lock.lock import HOST, Lock, locked


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = Parser(prog="make lock", description=__doc__)
    parser.add_folder()
    parser.add_argument("--upgrade", help="1 for everything, or names of libraries")
    options = parser.parse_args(arguments)
    lock = locked(chosen_folder(options), again=True, upgrade=options.upgrade, say=print)
    if lock == Lock(HOST / "requirements.txt"):
        print("The bot requires no libraries of its own: it uses the host's lock")


if __name__ == "__main__":
    exit_with(main)
