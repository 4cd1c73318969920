"""The Runtime API of one execution environment, as strict as AWS's own.

AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes"; what the guide
leaves open (which status a refusal has) follows AWS's runtime interface emulator. Paths are below
`/2018-06-01/runtime/`.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Mapping

import h11

from local.aws_lambda.error_documents import decoded, init_error, parsed, type_of
from local.aws_lambda.http import BodyTooLarge, HttpServer, ServerConnection, TruncatedBody
from local.aws_lambda.invocation import FunctionError, Invocation
from local.aws_lambda.runtime_state import Refused, RuntimeState, stepped

MAX_PAYLOAD = 6 * 1024 * 1024 + 100  # bytes of an event or of a buffered answer

# awslambdaric sends up to 1 MB of X-Ray cause in a header.
_HEAD_LIMIT = 2 << 20

_BASE = "/2018-06-01/runtime/"
_JSON = [("content-type", "application/json")]
_ACCEPTED = b'{"status":"OK"}\n'


class RuntimeApi:
    """Serves one runtime: hands it one invocation at a time and takes its answers."""

    def __init__(self) -> None:
        self.state = RuntimeState.STARTED
        loop = asyncio.get_running_loop()
        self.initialised: asyncio.Future[None] = loop.create_future()
        """Done at the first `next`; holds an InitError where `init/error` was posted instead."""
        self._server = HttpServer(self._handle, head_limit=_HEAD_LIMIT)
        self._handover: asyncio.Queue[Invocation] = asyncio.Queue()
        self._poller: ServerConnection | None = None
        self._invocation: Invocation | None = None
        self._invocation_token = ""
        self._over: asyncio.Future[None] = loop.create_future()

    async def start(self) -> str:
        """Listen on loopback; the value of AWS_LAMBDA_RUNTIME_API."""
        return f"127.0.0.1:{await self._server.start('127.0.0.1', 0)}"

    async def close(self) -> None:
        await self._server.close()
        if self.initialised.done() and not self.initialised.cancelled():
            self.initialised.exception()  # seen: asyncio need not warn of it
        self.initialised.cancel()

    def dispatch(self, invocation: Invocation) -> asyncio.Future[None]:
        """Answer the waiting `next` with this invocation; done at the `next` after it."""
        self._over = asyncio.get_running_loop().create_future()
        self._handover.put_nowait(invocation)
        return self._over

    async def _handle(self, connection: ServerConnection, request: h11.Request) -> None:
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        path = request.target.decode("latin-1").removeprefix(_BASE)
        try:
            await self._route(connection, request.method.decode(), path, headers)
        except Refused as refusal:
            await self._refuse(connection, refusal)

    async def _route(
        self, connection: ServerConnection, method: str, path: str, headers: Mapping[str, str]
    ) -> None:
        match method, path.split("/"):
            case "GET", ["invocation", "next"]:
                await self._next(connection)
            case "POST", ["invocation", request_id, "response"]:
                await self._response(connection, self._current(request_id, headers), headers)
            case "POST", ["invocation", request_id, "error"]:
                await self._error(connection, self._current(request_id, headers), headers)
            case "POST", ["init", "error"]:
                await self._init_error(connection, headers)
            case _:
                raise Refused(404, "NotFound", f"{method} {path} is not part of the Runtime API")

    async def _next(self, connection: ServerConnection) -> None:
        await connection.discard_body()
        polling_again = self._poller is not None and self._poller.peer_has_closed
        if not (self.state is RuntimeState.READY and polling_again):
            self._step(RuntimeState.READY)
        self._poller = connection
        self._invocation = None
        if not self.initialised.done():
            self.initialised.set_result(None)
        if not self._over.done():
            self._over.set_result(None)
        invocation = await self._handover.get()
        if connection.peer_has_closed:
            self._handover.put_nowait(invocation)  # for the runtime's next attempt
            return
        self._step(RuntimeState.RUNNING)
        self._invocation, self._invocation_token = invocation, str(uuid.uuid4())
        await connection.respond(200, self._next_headers(invocation), invocation.event)

    def _next_headers(self, invocation: Invocation) -> list[tuple[str, str]]:
        return [
            ("Content-Type", "application/json"),
            ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),
            ("Lambda-Runtime-Aws-Request-Id", invocation.id),
            ("Lambda-Runtime-Deadline-Ms", str(invocation.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", invocation.arn),
            ("Lambda-Runtime-Trace-Id", invocation.trace_id),
            ("Lambda-Runtime-Invocation-Id", self._invocation_token),
        ]

    async def _response(
        self, connection: ServerConnection, invocation: Invocation, headers: Mapping[str, str]
    ) -> None:
        self._step(RuntimeState.RESPONDING)
        mode = headers.get("lambda-runtime-function-response-mode", "")
        refusal: Refused | None = None
        try:
            if mode == "streaming":
                await _take_stream(connection, invocation, headers)
            elif mode:
                refusal = Refused(
                    400, "InvalidFunctionResponseMode", "Invalid function response mode"
                )
                await invocation.fail(
                    FunctionError.of("Runtime.InvalidResponseModeHeader", str(refusal))
                )
            else:
                await invocation.buffered(await connection.read_body(MAX_PAYLOAD))
        except BodyTooLarge:
            message = f"Exceeded maximum allowed payload size ({MAX_PAYLOAD} bytes)."
            refusal = Refused(413, "RequestEntityTooLarge", message)
            await invocation.fail(FunctionError.of("Function.ResponseSizeTooLarge", message))
        except TruncatedBody:
            refusal = Refused(400, "TruncatedHTTPRequest", "HTTP request detected as truncated")
            await invocation.fail(FunctionError.of("Runtime.TruncatedResponse", str(refusal)))
        self._answered(invocation)
        if refusal is not None:
            raise refusal
        await connection.respond(202, _JSON, _ACCEPTED)

    async def _error(
        self, connection: ServerConnection, invocation: Invocation, headers: Mapping[str, str]
    ) -> None:
        self._step(RuntimeState.RESPONDING)
        document = parsed(await _whole(connection))
        await invocation.fail(FunctionError(type_of(headers, document), document))
        self._answered(invocation)
        await connection.respond(202, _JSON, _ACCEPTED)

    async def _init_error(self, connection: ServerConnection, headers: Mapping[str, str]) -> None:
        self._step(RuntimeState.INIT_ERROR)
        document = parsed(await _whole(connection))
        await connection.respond(202, _JSON, _ACCEPTED)
        if not self.initialised.done():
            self.initialised.set_exception(init_error(headers, document))

    def _current(self, request_id: str, headers: Mapping[str, str]) -> Invocation:
        token = headers.get("lambda-runtime-invocation-id", self._invocation_token)
        invocation = self._invocation
        if invocation is None or (invocation.id, self._invocation_token) != (request_id, token):
            raise Refused(400, "InvalidRequestID", "Invalid request ID")
        return invocation

    def _step(self, to: RuntimeState) -> None:
        self.state = stepped(self.state, to)

    def _answered(self, invocation: Invocation) -> None:
        self._step(RuntimeState.RESPONSE_SENT)
        invocation.answered.set()

    async def _refuse(self, connection: ServerConnection, refusal: Refused) -> None:
        await connection.discard_body()
        await connection.respond(refusal.status, _JSON, json.dumps(refusal.document).encode())


async def _take_stream(
    connection: ServerConnection, invocation: Invocation, headers: Mapping[str, str]
) -> None:
    """Every chunk at once to the client, then the trailers' verdict. Raises TruncatedBody."""
    await invocation.responder.begin(headers.get("content-type", "application/octet-stream"))
    async for chunk in connection.body():
        await invocation.write(chunk)
    if "lambda-runtime-function-error-type" not in connection.trailers:
        await invocation.end()
        return
    body = connection.trailers.get("lambda-runtime-function-error-body", "")
    document = parsed(decoded(body))
    await invocation.fail(FunctionError(type_of(connection.trailers, document), document))


async def _whole(connection: ServerConnection) -> bytes:
    try:
        return await connection.read_body(MAX_PAYLOAD)
    except (BodyTooLarge, TruncatedBody):
        return b""
