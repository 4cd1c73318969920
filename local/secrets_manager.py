"""Secrets Manager on this machine: one secret, for the callers that have this run's credentials.

Other users of this machine, and web pages, can reach loopback too. So a request with another
`Host`, with an `Origin`, or not signed with this run's random credentials is refused, and so is
whatever the deployed function's role may not do.

AWS, Secrets Manager API reference: GetSecretValue, "Common error types".
"""

import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import h11

from local.aws_lambda.config import ACCOUNT
from local.aws_lambda.http import BodyTooLarge, HttpServer, ServerConnection
from local.signature import Credentials, NotSigned, SignedRequest, headers_once

HOST = "127.0.0.1"
REGION = "us-east-1"
NAME = "poe-bot"
BODY_LIMIT = 16_384  # bytes; a GetSecretValue has some 100

_SERVICE = "secretsmanager"
_ALLOWED = "GetSecretValue"


@dataclass(frozen=True)
class Secret:
    """A secret that is being served. `endpoint` is the URL of its Secrets Manager."""

    arn: str
    endpoint: str
    credentials: Credentials
    put: Callable[[Mapping[str, str]], None] = field(repr=False)
    """Replaces its members."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a function needs to read it."""
        return {
            "ACCESS_KEY_SECRET_ARN": self.arn,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.endpoint,
            **self.credentials.environment,
        }


class Refused(Exception):
    """A request that is answered with an error: AWS's name for it, its words, and the status."""

    def __init__(self, error_type: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.status = status


@asynccontextmanager
async def secret(members: Mapping[str, str]) -> AsyncIterator[Secret]:
    """Serve a secret with these members, on a free port of loopback, until the block ends.

    async with secret({"POE_ACCESS_KEY": key}) as served:
        FunctionConfig(package, python, environment=served.environment)
    """
    # As on AWS, an ARN ends with six characters that can't be known from the name.
    arn = f"arn:aws:{_SERVICE}:{REGION}:{ACCOUNT}:secret:{NAME}-{secrets.token_hex(3)}"
    route = _Route(arn, "", Credentials.random())
    route.put(members)
    server = HttpServer(route.handle)
    route.host = f"{HOST}:{await server.start(HOST, 0)}"
    try:
        yield Secret(arn, f"http://{route.host}", route.credentials, route.put)
    finally:
        await server.close()


@dataclass
class _Route:
    arn: str
    text: str = field(repr=False)
    credentials: Credentials
    host: str = ""
    _version: str = ""
    _created: float = 0.0

    def put(self, members: Mapping[str, str]) -> None:
        self.text = json.dumps(dict(members))
        self._version = str(uuid.uuid4())
        self._created = time.time()

    async def handle(self, connection: ServerConnection, request: h11.Request) -> None:
        try:
            status, document = 200, await self._answer(connection, request)
        except (Refused, NotSigned) as error:
            status = error.status if isinstance(error, Refused) else 400
            document = {"__type": error.error_type, "Message": str(error)}
        headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amzn-requestid", str(uuid.uuid4())),
        ]
        await connection.respond(status, headers, json.dumps(document).encode())

    async def _answer(self, connection: ServerConnection, request: h11.Request) -> dict[str, Any]:
        headers = headers_once(request.headers)
        self._check_caller(headers)
        if request.method != b"POST" or request.target != b"/":
            raise Refused("UnknownOperationException", "Only POST / is served", 404)
        signed = SignedRequest(headers)
        signed.check_identity(self.credentials)  # before strangers can send a body
        body = await _body(connection)
        now = datetime.now(UTC)
        replace(signed, body=body).verify(self.credentials, now, region=REGION, service=_SERVICE)
        return self._value(headers.get("x-amz-target", ""), _parameters(body))

    def _check_caller(self, headers: Mapping[str, str]) -> None:
        if headers.get("host") != self.host or "origin" in headers:
            raise Refused("AccessDeniedException", "Only the local function is served here", 403)

    def _value(self, target: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to GetSecretValue; Refused for whatever else is asked."""
        action = target.removeprefix(f"{_SERVICE}.")
        if action != _ALLOWED or parameters.get("SecretId") != self.arn:
            message = f"The function's role may call {_ALLOWED} for {self.arn} alone"
            raise Refused("AccessDeniedException", message)
        version = parameters.get("VersionId", self._version)
        stage = parameters.get("VersionStage", "AWSCURRENT")
        if (version, stage) != (self._version, "AWSCURRENT"):
            message = "Secrets Manager can't find the specified secret value for this version."
            raise Refused("ResourceNotFoundException", message)
        return {
            "ARN": self.arn,
            "Name": NAME,
            "VersionId": self._version,
            "VersionStages": ["AWSCURRENT"],
            "SecretString": self.text,
            "CreatedDate": self._created,
        }


async def _body(connection: ServerConnection) -> bytes:
    try:
        return await connection.read_body(BODY_LIMIT)
    except BodyTooLarge:
        message = f"The body is larger than {BODY_LIMIT} bytes"
        raise Refused("RequestEntityTooLargeException", message, 413) from None


def _parameters(body: bytes) -> dict[str, Any]:
    try:
        parameters = json.loads(body)
    except (ValueError, RecursionError):
        parameters = None
    if not isinstance(parameters, dict):
        raise Refused("SerializationException", "The body isn't a JSON object")
    return parameters
