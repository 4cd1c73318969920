"""JSON as every receiver reads it (RFC 8259 and RFC 7493, "I-JSON"), or a reason why not."""

import json
import math
from collections.abc import Iterable
from typing import Any

DEEPEST = 64


class NotStrict(ValueError):
    """It isn't such JSON; the text is the reason."""


def parse(body: bytes) -> Any:
    """The value; refuses what Python alone would take: NaN, numbers that a double can't hold, a
    name twice in an object, half of a surrogate pair. Raises NotStrict."""
    try:
        value = json.loads(
            body.decode(),
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_number,
            object_pairs_hook=_object,
        )
        _check_depth(value)
        json.dumps(value, ensure_ascii=False).encode()
    except NotStrict:
        raise
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise NotStrict("it isn't UTF-8") from None
    except UnicodeEncodeError:
        raise NotStrict("it has half of a surrogate pair") from None
    except ValueError as error:
        raise NotStrict(f"it isn't JSON ({error})") from None
    return value


def _constant(name: str) -> Any:
    raise NotStrict(f"{name} isn't a number in JSON")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotStrict("it has a number that is too large")
    return number


def _integer(text: str) -> int:
    _number(text)
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise NotStrict("it has an object with the same name twice")
    return made


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise _too_deep()


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> NotStrict:
    return NotStrict(f"it is nested more than {DEEPEST} levels deep")
