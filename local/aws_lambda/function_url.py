"""The Function URL: HTTP requests in, Lambda events to the function, its answers back out.

AWS Lambda Developer Guide, "Invoking Lambda function URLs" and "Response streaming".
"""

import json
import time
import uuid
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Literal

import h11

from local.aws_lambda.answer import INTEGRATION_RESPONSE, PreludeParser, ResponseHead, parse_payload
from local.aws_lambda.event import UrlRequest, function_url_event, new_trace_id
from local.aws_lambda.http import BodyTooLarge, Disconnected, HttpServer, ServerConnection
from local.aws_lambda.invocation import FunctionError, Responder

MAX_EVENT = 6 * 1024 * 1024  # bytes, the event as a whole

InvokeMode = Literal["RESPONSE_STREAM", "BUFFERED"]
Invoke = Callable[[str, bytes, str, Responder], Awaitable[bool]]
"""Takes request id, event, trace id and responder; False when the function is throttled."""

_JSON = ("content-type", "application/json")
_WITHOUT_BODY = {204, 304}


class Stage(Enum):
    """How far a response has come."""

    HEAD_DUE = "head due"
    BODY = "body"
    OVER = "over"
    CLIENT_GONE = "client gone"  # what the function still sends is dropped


class UrlResponder:
    """Turns one invocation's answer into one HTTP response, as its bytes arrive."""

    def __init__(
        self,
        connection: ServerConnection,
        method: str,
        invoke_mode: InvokeMode,
        amzn_headers: tuple[tuple[str, str], ...],
    ) -> None:
        self._connection = connection
        self._method = method
        self._streams = invoke_mode == "RESPONSE_STREAM"
        self._amzn_headers = amzn_headers
        self._stage = Stage.HEAD_DUE
        self._has_body = True
        self._prelude: PreludeParser | None = None
        self._content_type = ""
        self._head: ResponseHead | None = None
        self._buffered = bytearray()

    async def buffered(self, payload: bytes) -> None:
        """AWS interprets the payload for a BUFFERED URL only; a streaming one sends it as it is."""
        if self._streams:
            await self._respond(ResponseHead(200, (_JSON,)), payload)
        else:
            await self._respond(*parse_payload(payload))

    async def begin(self, content_type: str) -> None:
        self._content_type = content_type
        if content_type == INTEGRATION_RESPONSE:
            self._prelude = PreludeParser()
        elif self._streams:
            await self._start(ResponseHead(200, (("content-type", content_type),)))

    async def write(self, data: bytes) -> None:
        if self._prelude is not None:
            parsed = self._prelude.feed(data)
            if parsed is None:
                return
            self._prelude, (head, data) = None, parsed
            await self._start(head)
        if data:
            await self._body(data)

    async def end(self) -> None:
        if self._prelude is not None:
            self._prelude.end()
        if self._streams:
            await self._finish()
        elif self._head is not None:
            await self._respond(self._head, bytes(self._buffered))
        else:
            await self._respond(*parse_payload(bytes(self._buffered)))

    async def fail(self, error: FunctionError) -> None:
        """502 while nothing was sent; after that the connection's close cuts the body."""
        if self._stage is Stage.HEAD_DUE:
            await self._respond(ResponseHead(502, (_JSON,)), b"Internal Server Error")
        elif self._stage is Stage.BODY:
            self._stage = Stage.OVER

    async def refuse(self, status: int, message: str) -> None:
        """An answer that no function gave."""
        await self._respond(
            ResponseHead(status, (_JSON,)), json.dumps({"Message": message}).encode()
        )

    async def _start(self, head: ResponseHead) -> None:
        if not self._streams:
            self._head = head
            return
        self._stage = Stage.BODY
        self._has_body = self._method != "HEAD" and head.status not in _WITHOUT_BODY
        try:
            await self._connection.start_response(head.status, self._headers(head))
        except Disconnected:
            self._stage = Stage.CLIENT_GONE

    async def _body(self, data: bytes) -> None:
        if not self._streams:
            self._buffered += data
        elif self._has_body and self._stage is Stage.BODY:
            try:
                await self._connection.send(data)
            except Disconnected:
                self._stage = Stage.CLIENT_GONE

    async def _finish(self) -> None:
        if self._stage is Stage.BODY:
            self._stage = Stage.OVER
            try:
                await self._connection.end()
            except Disconnected:
                self._stage = Stage.CLIENT_GONE

    async def _respond(self, head: ResponseHead, body: bytes) -> None:
        self._stage = Stage.OVER
        try:
            if head.status in _WITHOUT_BODY:
                await self._connection.start_response(head.status, self._headers(head))
                await self._connection.end()
            else:
                await self._connection.respond(head.status, self._headers(head), body)
        except Disconnected:
            self._stage = Stage.CLIENT_GONE

    def _headers(self, head: ResponseHead) -> list[tuple[str, str]]:
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
        own = {name for name, _ in head.headers}
        added = [("date", date), *self._amzn_headers]
        return [*head.headers, *(pair for pair in added if pair[0] not in own)]


class FunctionUrl:
    """Serves one function over HTTP; `invoke` runs it."""

    def __init__(self, invoke: Invoke, invoke_mode: Callable[[], InvokeMode]) -> None:
        self._invoke = invoke
        self._invoke_mode = invoke_mode
        self._server = HttpServer(self._handle)
        self._port = 0

    async def start(self, host: str, port: int) -> int:
        self._port = await self._server.start(host, port)
        return self._port

    async def close(self) -> None:
        await self._server.close()

    async def _handle(self, connection: ServerConnection, request: h11.Request) -> None:
        headers = tuple((name.decode(), value.decode("latin-1")) for name, value in request.headers)
        request_id, now = str(uuid.uuid4()), time.time()
        trace_id = dict(headers).get("x-amzn-trace-id") or new_trace_id(now)
        method = request.method.decode()
        amzn_headers = (("x-amzn-requestid", request_id), ("x-amzn-trace-id", trace_id))
        responder = UrlResponder(connection, method, self._invoke_mode(), amzn_headers)
        try:
            body = await connection.read_body(MAX_EVENT)
        except BodyTooLarge:
            await responder.refuse(413, _TOO_LARGE)
            return
        url_request = UrlRequest(
            method,
            request.target.decode("latin-1"),
            headers,
            body,
            connection.peer_host,
            self._port,
        )
        event = json.dumps(
            function_url_event(url_request, request_id, trace_id, now), ensure_ascii=False
        ).encode()
        if len(event) > MAX_EVENT:
            await responder.refuse(413, _TOO_LARGE)
        elif not await self._invoke(request_id, event, trace_id, responder):
            await responder.refuse(429, "Rate Exceeded.")


_TOO_LARGE = f"Request must be smaller than {MAX_EVENT} bytes for the InvokeFunction operation"
