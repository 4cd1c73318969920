"""Verifies the signature of a request to an AWS service (Signature Version 4). Pure.

AWS, "Create a signed AWS API request" and "Troubleshoot Signature Version 4 signing".
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self
from urllib.parse import quote

LONGEST_SKEW = timedelta(minutes=5)
"""How far a request's time may be from ours, as AWS has it."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key_id>[^/, ]+)/"
    r"(?P<scope>[0-9]{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request), *"
    r"SignedHeaders=(?P<names>[a-z0-9;-]+), *Signature=(?P<signature>[0-9a-f]{64})"
)


# S3's, where the client signs the head alone. No client of ours signs chunks one by one.
_UNSIGNED_PAYLOADS = {"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}


class NotSigned(Exception):
    """The request doesn't prove its credentials: AWS's name for the reason, and its words."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


@dataclass(frozen=True)
class Credentials:
    """What a caller signs with; all three are secrets to strangers."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)

    @classmethod
    def random(cls) -> Self:
        """A role's temporary credentials, in the form that AWS gives them."""
        key_id = f"ASIA{secrets.token_hex(8).upper()}"
        return cls(key_id, secrets.token_hex(20), secrets.token_hex())

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Those that `environment` holds. Raises KeyError."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        return cls(*(environment[name] for name in names))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token,
        }


@dataclass(frozen=True)
class SignedRequest:
    """A request as it arrived, path and query as they are on the wire.

    Header names are in lower case, each once: `headers_once` makes them so.
    """

    headers: Mapping[str, str]
    body: bytes = b""
    method: str = "POST"
    path: str = "/"
    query: str = ""

    @property
    def key_id(self) -> str:
        """Of the credentials that it claims to be signed with. Raises NotSigned."""
        return self._given()["key_id"]

    def check_identity(self, credentials: Credentials) -> None:
        """Return if it claims these credentials and carries their token: what can be said before
        its body is read. Raises NotSigned: one error for both, so that a caller doesn't learn which
        of them was right."""
        known = hmac.compare_digest(self.key_id.encode(), credentials.access_key_id.encode())
        token = self.headers.get("x-amz-security-token", "")
        if not (known & hmac.compare_digest(token.encode(), credentials.session_token.encode())):
            message = "The security token included in the request is invalid."
            raise NotSigned("UnrecognizedClientException", message)

    def verify(
        self,
        credentials: Credentials,
        now: datetime,
        *,
        region: str | None = None,
        service: str | None = None,
    ) -> None:
        """Return if it was signed with these credentials; for this region and service, where they
        are given. Raises NotSigned."""
        self.check_identity(credentials)
        given, timestamp = self._given(), self.headers.get("x-amz-date", "")
        region, service = region or given["region"], service or given["service"]
        scope = f"{timestamp[:8]}/{region}/{service}/aws4_request"
        if given["scope"] != scope:
            raise _invalid(f"Credential should be scoped to {scope}")
        _check_time(timestamp, now)
        names = given["names"].split(";")
        if unsigned := self._headers_to_sign() - set(names):
            raise _invalid(f"These headers have to be signed: {', '.join(sorted(unsigned))}")
        expected = _signature(credentials, timestamp, scope, self._canonical(service, names))
        if not hmac.compare_digest(expected, given["signature"]):
            raise _invalid("The request signature we calculated does not match the one provided")

    def _given(self) -> re.Match[str]:
        header = self.headers.get("authorization")
        if header is None:
            raise NotSigned("MissingAuthenticationTokenException", "Missing Authentication Token")
        given = _AUTHORIZATION.fullmatch(header)
        if given is None:
            raise NotSigned("IncompleteSignatureException", "The Authorization header is malformed")
        return given

    def _headers_to_sign(self) -> set[str]:
        return {"host"} | {name for name in self.headers if name.startswith("x-amz-")}

    def _canonical(self, service: str, names: list[str]) -> str:
        # S3 signs the path as it is sent, every other service what comes of encoding it again.
        path = self.path if service == "s3" else quote(self.path, safe="/~")
        values = (f"{name}:{' '.join(self.headers.get(name, '').split())}" for name in names)
        listed = ";".join(names)
        return "\n".join(
            [self.method, path, self._query(), *values, "", listed, self._payload(service)]
        )

    def _query(self) -> str:
        pairs = (pair.partition("=") for pair in self.query.split("&") if pair)
        return "&".join(sorted(f"{name}={value}" for name, _, value in pairs))

    def _payload(self, service: str) -> str:
        stated = self.headers.get("x-amz-content-sha256", "")
        if service == "s3" and stated in _UNSIGNED_PAYLOADS:
            return stated
        return hashlib.sha256(self.body).hexdigest()


def headers_once(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By name; a name with two values would leave open which of them was signed: NotSigned."""
    headers: dict[str, str] = {}
    for name, value in ((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs):
        if headers.setdefault(name, value) != value:
            raise _invalid(f"The header {name} comes twice")
    return headers


def _invalid(message: str) -> NotSigned:
    return NotSigned("InvalidSignatureException", message)


def _check_time(timestamp: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _invalid("X-Amz-Date has to be a time such as 20261123T040506Z") from None
    if abs(now - signed_at) > LONGEST_SKEW:
        raise _invalid(f"Signature expired: {timestamp} is more than 5 minutes from now")


def _signature(credentials: Credentials, timestamp: str, scope: str, canonical: str) -> str:
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{digest}"
    return hmac.digest(key, text.encode(), "sha256").hex()
