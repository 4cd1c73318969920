"""What form an answer to the Runtime API must have. Pure.

AWS Lambda Developer Guide, "Building a custom runtime for AWS Lambda" (response streaming). AWS
lets some of what is refused here pass, or doesn't document what becomes of it.
"""

from collections.abc import Mapping

from local.aws_lambda.runtime_state import Refused

RESPONSE_MODE = "lambda-runtime-function-response-mode"
ERROR_TYPE = "lambda-runtime-function-error-type"
ERROR_BODY = "lambda-runtime-function-error-body"
TRAILERS = {ERROR_TYPE, ERROR_BODY}


def is_streamed(headers: Mapping[str, str]) -> bool:
    """Whether the answer is a stream. `headers`: by name in lower case.

    Raises Refused for an unknown mode, and where mode and framing differ.
    """
    mode = headers.get(RESPONSE_MODE, "")
    if mode not in ("", "streaming"):
        raise _wrong_mode("Invalid function response mode")
    chunked = headers.get("transfer-encoding", "").lower() == "chunked"
    if chunked is not (mode == "streaming"):
        framing = "chunked" if chunked else "of a known length"
        raise _wrong_mode(f"{RESPONSE_MODE} is {mode!r}, but the body is {framing}")
    return mode == "streaming"


def check_trailers(headers: Mapping[str, str], trailers: Mapping[str, str]) -> None:
    """Raises Refused for trailers that aren't the error's two, or that no header announced."""
    announced = {name.strip().lower() for name in headers.get("trailer", "").split(",")}
    for name in trailers:
        if name not in TRAILERS:
            raise _wrong_trailer(f"{name} isn't one of {', '.join(sorted(TRAILERS))}")
        if name not in announced:
            raise _wrong_trailer(f"{name} is not in the Trailer header")
    if trailers and trailers.keys() != TRAILERS:
        raise _wrong_trailer(f"{', '.join(TRAILERS - trailers.keys())} is missing")


def _wrong_mode(message: str) -> Refused:
    function_error = "Runtime.InvalidResponseModeHeader"
    return Refused(400, "InvalidFunctionResponseMode", message, function_error)


def _wrong_trailer(message: str) -> Refused:
    return Refused(400, "Runtime.InvalidTrailer", message)
