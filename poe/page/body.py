"""The bodies that the chat page's server takes, or why it doesn't take one."""

from typing import TYPE_CHECKING, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from poe.page.files import TooLarge, within
from poe.page.strict_json import NotStrict, parse
from poe.standin.declared import describe

if TYPE_CHECKING:
    from pydantic import BaseModel

Content = TypeVar("Content", bound="BaseModel")


async def whole(request: Request, limit: int) -> bytes:
    """Raises HTTPException for more than `limit` bytes."""
    try:
        return await within(request.stream(), limit)
    except TooLarge as reason:
        raise HTTPException(413, str(reason)) from None


async def validated(request: Request, model: type[Content], *, what: str, limit: int) -> Content:
    """The body, which is JSON, as a `model`; `what` it is to people. Raises HTTPException."""
    from pydantic import ValidationError  # after the start, which it would delay

    try:
        return model.model_validate(parse(await whole(request, limit)))
    except NotStrict as error:
        raise HTTPException(400, f"This isn't {what}: {error}.") from None
    except ValidationError as error:
        raise HTTPException(400, f"This isn't {what}: {describe(error)}") from None
