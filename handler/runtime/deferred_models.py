"""Libraries' pydantic models, built when they are first used instead of when they are imported.

fastapi alone builds some forty models, most of them for OpenAPI documents that no bot shows: with
fastapi_poe's a quarter of a cold start. `defer_build` is pydantic's public setting for that. A
subclass inherits it, so it is set on the common base, while libraries are imported, and taken off
again from all of them: a user's own model is built, and found wrong, where it is written.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred_models() -> Iterator[None]:
    """Defer the models whose classes are created inside the block."""
    from pydantic import BaseModel  # here: it is one of the heavy imports

    BaseModel.model_config["defer_build"] = True
    try:
        yield
    finally:
        del BaseModel.model_config["defer_build"]
        for model in _subclasses(BaseModel):
            model.model_config.pop("defer_build", None)


def _subclasses(model: type[Any]) -> Iterator[type[Any]]:
    for subclass in model.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
