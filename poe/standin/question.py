"""What a bot on Poe is asked, in whichever form the question came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi_poe.types import QueryRequest


@dataclass(frozen=True)
class Tool:
    """A function that the bot may call; `properties` has the JSON schema of each argument."""

    name: str
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """`said`: the user's last message, or nothing. `results`: name and content of each tool's
    result that came with it."""

    said: str = ""
    tools: Sequence[Tool] = ()
    results: Sequence[tuple[str, str]] = ()

    @classmethod
    def of(cls, query: "QueryRequest") -> "Question":
        said = next((m.content for m in reversed(query.query) if m.role == "user"), "")
        tools = [
            Tool(tool.function.name, tool.function.parameters.properties)
            for tool in query.tools or []
        ]
        results = [(result.name, result.content) for result in query.tool_results or []]
        return cls(said, tools, results)
