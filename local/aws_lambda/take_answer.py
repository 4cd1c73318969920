"""The answer to an invocation, from the runtime's connection to the client that waits for it."""

from collections.abc import Mapping

from local.aws_lambda.answer import INTEGRATION_RESPONSE, PreludeParser
from local.aws_lambda.answer_form import ERROR_BODY, ERROR_TYPE, check_trailers, is_streamed
from local.aws_lambda.error_documents import decoded, parsed
from local.aws_lambda.http import BodyTooLarge, ServerConnection, TruncatedBody
from local.aws_lambda.invocation import FunctionError, Invocation, MalformedAnswer
from local.aws_lambda.runtime_state import Refused

MAX_PAYLOAD = 6 * 1024 * 1024 + 100  # bytes of an event or of a buffered answer


async def take(
    connection: ServerConnection, invocation: Invocation, headers: Mapping[str, str]
) -> None:
    """The answer, on its way to the client. Raises Refused."""
    try:
        if is_streamed(headers):
            await _take_stream(connection, invocation, headers)
        else:
            await invocation.buffered(await connection.read_body(MAX_PAYLOAD))
    except MalformedAnswer as error:
        raise Refused(400, "Runtime.MalformedAnswer", str(error)) from None
    except BodyTooLarge:
        message = f"Exceeded maximum allowed payload size ({MAX_PAYLOAD} bytes)."
        function_error = "Function.ResponseSizeTooLarge"
        raise Refused(413, "RequestEntityTooLarge", message, function_error) from None
    except TruncatedBody:
        message, function_error = "HTTP request detected as truncated", "Runtime.TruncatedResponse"
        raise Refused(400, "TruncatedHTTPRequest", message, function_error) from None


async def _take_stream(
    connection: ServerConnection, invocation: Invocation, headers: Mapping[str, str]
) -> None:
    """Every chunk at once to the client, then the trailers' verdict.

    Raises Refused, MalformedAnswer and TruncatedBody.
    """
    content_type = headers.get("content-type", "application/octet-stream")
    prelude = PreludeParser() if content_type == INTEGRATION_RESPONSE else None
    await invocation.responder.begin(content_type)
    async for chunk in connection.body():
        if prelude and prelude.feed(chunk):
            prelude = None
        await invocation.write(chunk)
    check_trailers(headers, connection.trailers)
    if connection.trailers:
        document = parsed(decoded(connection.trailers[ERROR_BODY]))
        await invocation.fail(FunctionError(connection.trailers[ERROR_TYPE], document))
        return
    if prelude:
        prelude.end()
    await invocation.end()
