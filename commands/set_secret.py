"""`make set-key` and `make set-secret`: change one member of the stack's secret.

The value comes from a prompt that does not show it, or from stdin; never from an argument, which
other users of the machine and the shell's history would see.
"""

import argparse
import getpass
import sys
from collections.abc import Callable

from infra.aws.client import AwsError
from infra.aws.outputs import DEFAULT_STACK, Outputs, outputs
from infra.aws.secret_members import KEY, BadMember, Members, check_name, check_value, faults
from infra.aws.secret_store import SecretStore
from infra.stack.names import INTERRUPTED

KEY_TAKES_EFFECT = (
    "It counts as soon as a request comes with it, within 300 s at most: nothing to deploy."
)
MEMBER_TAKES_EFFECT = (
    "Each environment reads it when it starts; those that run keep what they have until they end. "
    "`make deploy` with a changed bot starts new ones."
)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (AwsError, BadMember) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nNothing was changed.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make", description=__doc__)
    commands = parser.add_subparsers(required=True)
    set_key = commands.add_parser("set-key")
    set_key.add_argument("--anew", action="store_true", help="give up a text that is no JSON")
    set_key.set_defaults(command=_set_key)
    set_secret = commands.add_parser("set-secret")
    set_secret.add_argument("--name", default="", help="of the member, such as OPENAI_API_KEY")
    set_secret.add_argument("--remove", action="store_true", help="take the member out")
    set_secret.set_defaults(command=_set_secret)
    for command in (set_key, set_secret):
        command.add_argument("--stack", default=DEFAULT_STACK, help="(%(default)s)")
    return parser


def _set_key(options: argparse.Namespace) -> None:
    stack = outputs(options.stack)
    key = check_value(KEY, _typed("Access key, from the bot's form on Poe: "))
    _change(stack, lambda members: {**members, KEY: key}, anew=options.anew)
    print(f"The access key is set. {KEY_TAKES_EFFECT}")
    option = "" if options.stack == DEFAULT_STACK else f" STACK={options.stack}"
    print(f"Next, for a new bot: create it on Poe with the URL {stack.function_url}")
    print(f"                     make register BOT=<its name on Poe>{option}")


def _set_secret(options: argparse.Namespace) -> None:
    name = options.name
    if not name:
        raise BadMember("which member? Such as `make set-secret NAME=OPENAI_API_KEY`")
    if options.remove:
        _remove(outputs(options.stack), name)
        return
    check_name(name)
    stack = outputs(options.stack)
    value = check_value(name, _typed(f"{name}: "))
    if not value:
        raise BadMember(
            f"{name} is empty; to take it out: `make set-secret NAME={name} REMOVE=yes`"
        )
    _change(stack, lambda members: {**members, name: value})
    print(f"{name} is set. {KEY_TAKES_EFFECT if name == KEY else MEMBER_TAKES_EFFECT}")


def _remove(stack: Outputs, name: str) -> None:
    if name == KEY:
        raise BadMember(f"without {KEY} the function does not start: it can only be changed")

    def without(members: Members) -> Members:
        if name not in members:
            raise BadMember(f"the secret has no member {name}")
        return {key: value for key, value in members.items() if key != name}

    _change(stack, without)
    print(f"{name} is taken out. {MEMBER_TAKES_EFFECT}")


def _change(stack: Outputs, edit: Callable[[Members], Members], *, anew: bool = False) -> None:
    for fault in faults(SecretStore(stack.secret_arn).change(edit, anew=anew)):
        print(f"warning: the function will not start: {fault}", file=sys.stderr)


def _typed(prompt: str) -> str:
    """What is typed at the prompt, or all of stdin without the end of its last line."""
    if sys.stdin.isatty():
        try:
            return getpass.getpass(prompt)
        except EOFError:
            return ""
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise BadMember("the value is not UTF-8") from None


if __name__ == "__main__":
    sys.exit(main())
