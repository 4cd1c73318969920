"""The Runtime API of one execution environment, stricter than AWS's own.

AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes"; what the guide
leaves open (which status a refusal has) follows AWS's runtime interface emulator. What is refused
is in `runtime_state` and `answer_form`. Paths are below `/2018-06-01/runtime/`.
"""

import asyncio
import json
import secrets
import uuid
from collections import deque
from collections.abc import Mapping

import h11

from local.aws_lambda.error_documents import init_error, parsed, type_of
from local.aws_lambda.http import (
    BodyTooLarge,
    HttpServer,
    ServerConnection,
    TruncatedBody,
    by_name,
)
from local.aws_lambda.invocation import FunctionError, Invocation
from local.aws_lambda.runtime_state import ConcurrentCalls, Refused, calls_of
from local.aws_lambda.take_answer import MAX_PAYLOAD, take

# awslambdaric sends up to 1 MB of X-Ray cause in a header.
_HEAD_LIMIT = 2 << 20

_BASE = "/2018-06-01/runtime/"

# A browser sends them with whatever a page asks for; a runtime never does.
_OF_A_BROWSER = {"origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"}
_JSON = [("content-type", "application/json")]
_FORBIDDEN = b'{"errorType":"Forbidden","errorMessage":"Not this Runtime API\'s environment"}'
_ACCEPTED = b'{"status":"OK"}\n'


class RuntimeApi:
    """Serves one runtime: hands it up to `concurrency` invocations at once, takes its answers.

    Other users of this machine can connect, and pages in a browser: `private` puts a random path
    before the API's own, which only its environment gets. (awslambdaric doesn't take a path: it
    posts `init/error` by an http.client that accepts `host:port` only.)

    `snapstart`: the runtime has to ask for `restore/next` before its first `next`.
    """

    def __init__(
        self, *, private: bool = False, snapstart: bool = False, concurrency: int = 1
    ) -> None:
        loop = asyncio.get_running_loop()
        self.initialised: asyncio.Future[None] = loop.create_future()
        """Done at the first `next`, or at `restore/next` until `restore` is called; holds an
        InitError where `init/error` or `restore/error` was posted instead."""
        self._calls = calls_of(concurrency, snapstart=snapstart)
        self._restored = asyncio.Event()
        self._server = HttpServer(self._handle, head_limit=_HEAD_LIMIT)
        self._handover: asyncio.Queue[Invocation] = asyncio.Queue()
        self._pollers: set[ServerConnection] = set()  # which wait
        self._running: dict[str, Invocation] = {}  # by id, handed out and not over
        self._overs: dict[str, asyncio.Future[None]] = {}
        self._over_next: deque[str] = deque()  # answered; the next `next` is the end of the first
        self._host = ""
        self._prefix = f"/{secrets.token_urlsafe()}" if private else ""

    async def start(self) -> str:
        """Listen on loopback; the value of AWS_LAMBDA_RUNTIME_API."""
        self._host = f"127.0.0.1:{await self._server.start('127.0.0.1', 0)}"
        return self._host + self._prefix

    async def close(self) -> None:
        await self._server.close()
        if self.initialised.done() and not self.initialised.cancelled():
            self.initialised.exception()  # seen: asyncio need not warn of it
        self.initialised.cancel()

    def restore(self) -> None:
        """Answer the waiting `restore/next`."""
        self.initialised = asyncio.get_running_loop().create_future()
        self._restored.set()

    def dispatch(self, invocation: Invocation) -> asyncio.Future[None]:
        """Answer the waiting `next` with this invocation; done at the `next` after it."""
        self._overs[invocation.id] = over = asyncio.get_running_loop().create_future()
        self._handover.put_nowait(invocation)
        return over

    @property
    def free(self) -> int:
        """How many more invocations could be handed out at once: calls of `next` that wait."""
        waiting = [each for each in self._pollers if not each.peer_has_closed]
        return len(waiting) - self._handover.qsize()

    def time_out(self, invocation: Invocation) -> None:
        """Refuse a late answer, of a runtime that has other invocations and so goes on."""
        if isinstance(self._calls, ConcurrentCalls):
            self._calls.time_out(invocation.id)
        self._overs.pop(invocation.id, None)
        self._running.pop(invocation.id, None)

    async def _handle(self, connection: ServerConnection, request: h11.Request) -> None:
        headers = by_name(request.headers)
        target, base = request.target.decode("latin-1"), self._prefix + _BASE
        if not target.startswith(base) or self._is_strange(headers):
            await connection.respond(403, [*_JSON, ("connection", "close")], _FORBIDDEN)
            return
        path = target.removeprefix(base)
        try:
            await self._route(connection, request.method.decode(), path, headers)
        except Refused as refusal:
            await self._refuse(connection, refusal)

    def _is_strange(self, headers: Mapping[str, str]) -> bool:
        return headers.get("host") != self._host or bool(_OF_A_BROWSER & headers.keys())

    async def _route(
        self, connection: ServerConnection, method: str, path: str, headers: Mapping[str, str]
    ) -> None:
        match method, path.split("/"):
            case "GET", ["invocation", "next"]:
                await self._next(connection)
            case "POST", ["invocation", request_id, "response"]:
                await self._response(connection, self._answering(request_id, headers), headers)
            case "POST", ["invocation", request_id, "error"]:
                await self._error(connection, self._answering(request_id, headers), headers)
            case "POST", ["init", "error"]:
                self._calls.fail_init()
                await self._start_error(connection, headers)
            case "GET", ["restore", "next"]:
                await self._restore_next(connection)
            case "POST", ["restore", "error"]:
                self._calls.fail_restore()
                await self._start_error(connection, headers)
            case _:
                raise Refused(404, "NotFound", f"{method} {path} is not part of the Runtime API")

    async def _next(self, connection: ServerConnection) -> None:
        await connection.discard_body()
        gone = next((each for each in self._pollers if each.peer_has_closed), None)
        self._calls.next(again=gone is not None)
        if gone:
            self._pollers.discard(gone)
        self._pollers.add(connection)
        if not self.initialised.done():
            self.initialised.set_result(None)
        self._end_one()
        invocation = await self._handover.get()
        if connection.peer_has_closed:
            self._handover.put_nowait(invocation)  # for the runtime's next attempt
            return
        self._pollers.discard(connection)
        invocation_id = str(uuid.uuid4())
        self._calls.hand_out(invocation.id, invocation_id)
        self._running[invocation.id] = invocation
        headers = invocation.headers(invocation_id)
        await connection.respond(200, headers, invocation.event)

    def _end_one(self) -> None:
        """A runtime that asks for the next one is done with what it answered first."""
        while self._over_next:
            request_id = self._over_next.popleft()
            self._running.pop(request_id, None)
            over = self._overs.pop(request_id, None)
            if over and not over.done():
                return over.set_result(None)

    async def _response(
        self, connection: ServerConnection, invocation: Invocation, headers: Mapping[str, str]
    ) -> None:
        try:
            await take(connection, invocation, headers)
        except Refused as refusal:
            await invocation.fail(FunctionError.of(refusal.function_error, str(refusal)))
            await connection.discard_body()
            self._answered(invocation)
            raise
        self._answered(invocation)
        await connection.respond(202, _JSON, _ACCEPTED)

    async def _error(
        self, connection: ServerConnection, invocation: Invocation, headers: Mapping[str, str]
    ) -> None:
        document = parsed(await _whole(connection))
        await invocation.fail(FunctionError(type_of(headers, document), document))
        self._answered(invocation)
        await connection.respond(202, _JSON, _ACCEPTED)

    async def _restore_next(self, connection: ServerConnection) -> None:
        await connection.discard_body()
        self._calls.wait_for_restore()
        self.initialised.set_result(None)
        await self._restored.wait()
        self._calls.restore()
        await connection.respond(200, _JSON, b"")

    async def _start_error(self, connection: ServerConnection, headers: Mapping[str, str]) -> None:
        document = parsed(await _whole(connection))
        await connection.respond(202, _JSON, _ACCEPTED)
        if not self.initialised.done():
            self.initialised.set_exception(init_error(headers, document))

    def _answering(self, request_id: str, headers: Mapping[str, str]) -> Invocation:
        self._calls.answer(request_id, headers)
        return self._running[request_id]

    def _answered(self, invocation: Invocation) -> None:
        self._calls.answered(invocation.id)
        self._over_next.append(invocation.id)
        invocation.answered.set()

    async def _refuse(self, connection: ServerConnection, refusal: Refused) -> None:
        await connection.discard_body()
        await connection.respond(refusal.status, _JSON, json.dumps(refusal.document).encode())


async def _whole(connection: ServerConnection) -> bytes:
    try:
        return await connection.read_body(MAX_PAYLOAD)
    except (BodyTooLarge, TruncatedBody):
        return b""
