"""How a runtime reports its failures: headers, trailers and error documents. Pure.

AWS Lambda Developer Guide, "Using the Lambda runtime API": "Invocation error" and "Initialization
error".
"""

import base64
import json
from collections.abc import Mapping

from local.aws_lambda.invocation import InitError


def decoded(body: str) -> bytes:
    """The document in a trailer, which is base64; empty if it isn't."""
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        return b""


def parsed(body: bytes) -> object:
    """An error document as JSON; anything else is kept as text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def type_of(headers: Mapping[str, str], document: object) -> str:
    """The error's type by the header, or without one (awslambdaric sends none) by the document."""
    fields = document if isinstance(document, dict) else {}
    default = str(fields.get("errorType", "Function.Unknown"))
    return headers.get("lambda-runtime-function-error-type", default)


def init_error(headers: Mapping[str, str], document: object) -> InitError:
    fields = document if isinstance(document, dict) else {}
    error_type = str(fields.get("errorType") or type_of(headers, document))
    trace = fields.get("stackTrace")
    lines = tuple(str(line) for line in trace) if isinstance(trace, list) else ()
    return InitError(error_type, str(fields.get("errorMessage", "")), lines)
