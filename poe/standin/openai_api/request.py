"""The body of a chat completion: checked as Poe checks it, and turned into a question to a bot.

"Request fields" of Poe's documentation lists what takes effect. Everything else is ignored, as Poe
does; so are, in the stand-in alone, `stop`, `top_p`, `temperature` and `logprobs`.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from poe.standin.declared import describe
from poe.standin.openai_api.errors import ApiError
from poe.standin.question import Question, Tool


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Text(_Part):
    type: Literal["text"]
    text: str


class _Other(_Part):
    """Accepted and ignored: the stand-in can't read pictures. Poe itself strips audio."""

    type: Literal["image_url", "file", "input_audio"]


class _CalledFunction(_Part):
    name: str
    arguments: str


class _ToolCall(_Part):
    id: str
    type: Literal["function"] = "function"
    function: _CalledFunction


class Message(_Part):
    role: Literal["system", "user", "assistant", "tool"]
    content: list[Annotated[_Text | _Other, Field(discriminator="type")]] = []
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _parts(cls, content: Any) -> Any:
        if isinstance(content, str):
            return [{"type": "text", "text": content}]
        return [] if content is None else content

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.content and not self.tool_calls:
            raise ValueError("content is missing")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("tool_call_id is missing")
        return self

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.content if isinstance(part, _Text))


class _Function(_Part):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    parameters: dict[str, Any] = {}


class _ToolDefinition(_Part):
    type: Literal["function"]
    function: _Function


class _ChosenFunction(_Part):
    name: str


class _ToolChoice(_Part):
    type: Literal["function"]
    function: _ChosenFunction


class _StreamOptions(_Part):
    include_usage: bool = False


class ChatRequest(_Part):
    """A chat completion's body; `parse` reads one."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Literal[1] | None = None
    tools: list[_ToolDefinition] | None = None
    tool_choice: Literal["none", "auto", "required"] | _ToolChoice | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.stream_options and not self.stream:
            raise ValueError("stream_options is allowed only with stream")
        if self.tool_choice not in (None, "none") and not self.tools:
            raise ValueError("tool_choice is allowed only with tools")
        for reason in _gaps(self.messages):
            raise ValueError(reason)
        if isinstance(self.tool_choice, _ToolChoice) and not self.question().tools:
            raise ValueError("tool_choice names a function that isn't among tools")
        return self

    @property
    def limit(self) -> int | None:
        """The most tokens to answer with."""
        return self.max_completion_tokens or self.max_tokens

    def question(self) -> Question:
        said = next((m.text for m in reversed(self.messages) if m.role == "user"), "")
        return Question(said, [*self._offered()], [*_results(self.messages)])

    def _offered(self) -> Iterator[Tool]:
        """The tools that the bot may call, with regard to the choice."""
        for function in (tool.function for tool in self.tools or []):
            chosen = self.tool_choice
            if chosen == "none" or (
                isinstance(chosen, _ToolChoice) and chosen.function.name != function.name
            ):
                continue
            yield Tool(function.name, function.parameters.get("properties") or {})


def parse(body: object) -> ChatRequest:
    """The request in a JSON body. Raises ApiError, which names each fault and quotes no message."""
    try:
        return ChatRequest.model_validate(body)
    except ValidationError as invalid:
        raise ApiError(400, describe(invalid)) from None


def _gaps(messages: Sequence[Message]) -> Iterator[str]:
    """Where calls of tools and their results don't belong together."""
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                yield f"messages.{number}: there is no call of a tool with this id ahead of it"
            open_calls.discard(message.tool_call_id or "")
            continue
        if open_calls:
            yield f"messages.{number}: results of the tool calls ahead of it are missing"
        open_calls = {call.id for call in message.tool_calls or []}
    if open_calls:
        yield "messages: results of the last tool calls are missing"


def _results(messages: Sequence[Message]) -> Iterator[tuple[str, str]]:
    """Name and result of each tool that was called last, where the bot has not answered since."""
    ended = [number for number, m in enumerate(messages) if m.role != "tool"]
    last = ended[-1] if ended else 0
    names = {call.id: call.function.name for call in messages[last].tool_calls or []}
    for message in messages[last + 1 :]:
        yield names.get(message.tool_call_id or "", ""), message.text
