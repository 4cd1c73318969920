"""Credentials as Lambda gives them to a function with SnapStart: by an endpoint, which asks for a
token, instead of in variables.

AWS SDKs and Tools Reference Guide, "Container credential provider".
"""

import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import h11

from local.aws_lambda.config import KEY_VARIABLES
from local.aws_lambda.http import HttpServer, ServerConnection, by_name

HOST = "127.0.0.1"
_PATH = "/credentials"
_LIFETIME = timedelta(hours=1)
_JSON = [("content-type", "application/json")]


class CredentialsEndpoint:
    """Serves the key variables of `environment` to callers that have this run's random token: other
    users of this machine, and web pages, can reach loopback too."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        values = [environment.get(name, "testing") for name in KEY_VARIABLES]
        self._document = dict(zip(("AccessKeyId", "SecretAccessKey", "Token"), values, strict=True))
        self._token = secrets.token_urlsafe()
        self._server = HttpServer(self._handle)
        self._host = ""

    async def start(self) -> dict[str, str]:
        """Listen on loopback; gives the variables by which a function finds it."""
        self._host = f"{HOST}:{await self._server.start(HOST, 0)}"
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{self._host}{_PATH}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self._token,
        }

    async def close(self) -> None:
        await self._server.close()

    async def _handle(self, connection: ServerConnection, request: h11.Request) -> None:
        headers = by_name(request.headers)
        await connection.discard_body()
        given = headers.get("authorization", "").encode("latin-1")
        if headers.get("host") != self._host or "origin" in headers:
            await connection.respond(403, _JSON, b'{"message":"Not this run\'s function"}')
        elif not hmac.compare_digest(given, self._token.encode()):
            await connection.respond(401, _JSON, b'{"message":"The token is wrong"}')
        elif (request.method, request.target) != (b"GET", _PATH.encode()):
            await connection.respond(404, _JSON, b'{"message":"Only GET /credentials is served"}')
        else:
            await connection.respond(200, _JSON, self._current().encode())

    def _current(self) -> str:
        expiration = (datetime.now(UTC) + _LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ")
        return json.dumps({**self._document, "Expiration": expiration})
