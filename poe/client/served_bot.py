"""Which bots `make run` serves: read from the bot's file, which only Lambda may run."""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.aws.secret_members import KEY, BadMember, check_name
from infra.toolchain.private import write_private
from poe.client.conversation import Conversation


@dataclass(frozen=True)
class DeclaredBot:
    """A bot as its file declares it: its path, and the variable that holds its access key."""

    path: str = "/"
    key_name: str = KEY


@dataclass(frozen=True)
class ServedBot:
    """A bot that runs: where, and with which access key."""

    url: str
    key: str

    async def settings(self) -> dict[str, Any]:
        """What it declares to Poe."""
        async with Conversation(self.url, self.key) as conversation:
            return await conversation.settings()


def declared_bots(file: Path) -> list[DeclaredBot]:
    """The bots of the file's last `bot = …`, written as `EchoBot(path="/echo",
    access_key=os.environ["ECHO_ACCESS_KEY"])` each; one on the path / for what is written in
    another way."""
    try:
        statements = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return [DeclaredBot()]  # the start says what is wrong with it
    assigned = dict(pair for statement in statements for pair in _assigned(statement))
    made = assigned.get("bot")
    if isinstance(made, ast.Name):  # bot = bots
        made = assigned.get(made.id)
    calls = made.elts if isinstance(made, ast.List | ast.Tuple) else [made]
    return [_declared(call) for call in calls if isinstance(call, ast.Call)] or [DeclaredBot()]


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    """Each name that it assigns, with what."""
    match statement:
        case ast.Assign(targets=targets, value=value):
            yield from ((each.id, value) for each in targets if isinstance(each, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name), value=value):
            yield name, value


def _declared(call: ast.Call) -> DeclaredBot:
    written = {keyword.arg: keyword.value for keyword in call.keywords}
    path, key = _text(written.get("path")), written.get("access_key")
    name = _text(key.slice) if isinstance(key, ast.Subscript) else ""
    try:
        return DeclaredBot(path or DeclaredBot.path, check_name(name))
    except BadMember:
        return DeclaredBot(path or DeclaredBot.path)


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def keep_keys(file: Path, declared: Sequence[DeclaredBot], members: Mapping[str, str]) -> None:
    """Write down each path's access key, for `make chat`, readable by the user alone."""
    write_private(file, json.dumps({bot.path: members[bot.key_name] for bot in declared}))
