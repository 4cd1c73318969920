"""`make set-key` and `make set-secret`: change one member of the stack's secret.

The value comes from a prompt that doesn't show it, or from stdin; never from an argument, which
other users of the machine and the shell's history would see.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from commands.arguments import Parser, chosen_stack, same_bot
from commands.command import exit_with
from commands.terminal.prompt import hidden
from infra.aws.outputs import Outputs, outputs
from infra.aws.secret_members import KEY, BadMember, Members, check_name, check_value, faults
from infra.aws.secret_store import SecretStore

KEY_TAKES_EFFECT = (
    "It takes effect with the first request that has it, or after 300 s: nothing to deploy."
)
MEMBER_TAKES_EFFECT = (
    "In running environments, os.environ follows within 300 s. What the bot copied at its import, "
    "such as into a client, stays until its next start: a changed bot and `make deploy` bring one."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError and BadMember."""
    options = _parser().parse_args(arguments)
    options.command(options)


def _parser() -> Parser:
    parser = Parser(prog="make", description=__doc__)
    commands = parser.add_subparsers(required=True)
    set_key = commands.add_parser("set-key")
    set_key.add_argument(
        "--reset", action="store_true", help="start from scratch if the text isn't a JSON object"
    )
    set_key.set_defaults(command=_set_key)
    set_secret = commands.add_parser("set-secret")
    set_secret.add_argument("--name", default="", help="of the member, such as OPENAI_API_KEY")
    set_secret.add_argument("--remove", action="store_true", help="remove the member")
    set_secret.set_defaults(command=_set_secret)
    for command in (set_key, set_secret):
        command.add_folder()
        command.add_stack()
    return parser


def _set_key(options: argparse.Namespace) -> None:
    stack = chosen_stack(options)
    deployed = outputs(stack)
    key = check_value(KEY, hidden("Access key, from the bot's form on Poe: "))
    _change(deployed, lambda members: {**members, KEY: key}, from_scratch=options.reset)
    print(f"The access key of {stack} is set. {KEY_TAKES_EFFECT}")
    print(f"Next, for a new bot: create it on Poe with the URL {deployed.function_url}")
    print(f"                     make register BOT=<its name on Poe>{same_bot(options)}")


def _set_secret(options: argparse.Namespace) -> None:
    name = options.name
    if not name:
        raise BadMember("NAME is missing: run `make set-secret NAME=OPENAI_API_KEY`")
    stack = chosen_stack(options)
    if options.remove:
        _remove(outputs(stack), name)
        return
    check_name(name)
    deployed = outputs(stack)
    value = check_value(name, hidden(f"{name}: "))
    if not value:
        remove = f"make set-secret NAME={name} REMOVE=yes"
        raise BadMember(f"the value of {name} is empty: to remove it, run `{remove}`")
    _change(deployed, lambda members: {**members, name: value})
    print(f"{name} of {stack} is set. {KEY_TAKES_EFFECT if name == KEY else MEMBER_TAKES_EFFECT}")


def _remove(stack: Outputs, name: str) -> None:
    if name == KEY:
        raise BadMember(f"the function doesn't start without {KEY}: change it with `make set-key`")

    def without(members: Members) -> Members:
        if name not in members:
            raise BadMember(f"the secret has no member {name}: there is nothing to remove")
        return {key: value for key, value in members.items() if key != name}

    _change(stack, without)
    print(f"{name} is removed. {MEMBER_TAKES_EFFECT}")


def _change(
    stack: Outputs, edit: Callable[[Members], Members], *, from_scratch: bool = False
) -> None:
    for fault in faults(SecretStore(stack.secret_arn).change(edit, from_scratch=from_scratch)):
        print(f"warning: the function won't start: {fault}", file=sys.stderr)


if __name__ == "__main__":
    exit_with(main, interrupted="Nothing was changed.")
