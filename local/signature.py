"""Verifies the signature of a request to an AWS service (Signature Version 4). Pure.

AWS, "Create a signed AWS API request" and "Troubleshoot Signature Version 4 signing".
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

LONGEST_SKEW = timedelta(minutes=5)
"""How far a request's time may be from ours, as AWS has it."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key_id>[^/, ]+)/(?P<scope>[^, ]+), *"
    r"SignedHeaders=(?P<names>[a-z0-9;-]+), *Signature=(?P<signature>[0-9a-f]{64})"
)


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

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token,
        }


@dataclass(frozen=True)
class SignedRequest:
    """A POST to `/` as it arrived, which is what services with bodies of JSON take.

    Header names are in lower case, each once.
    """

    headers: Mapping[str, str]
    body: bytes

    def verify(self, credentials: Credentials, region: str, service: str, now: datetime) -> None:
        """Return if it was signed with these credentials, for this service. Raises NotSigned."""
        header = self.headers.get("authorization")
        if header is None:
            raise NotSigned("MissingAuthenticationTokenException", "Missing Authentication Token")
        given = _AUTHORIZATION.fullmatch(header)
        if given is None:
            raise NotSigned("IncompleteSignatureException", "The Authorization header is malformed")
        self._check_identity(given["key_id"], credentials)
        timestamp = self.headers.get("x-amz-date", "")
        scope = f"{timestamp[:8]}/{region}/{service}/aws4_request"
        if given["scope"] != scope:
            raise _invalid(f"Credential should be scoped to {scope}")
        _check_time(timestamp, now)
        names = given["names"].split(";")
        if unsigned := self._headers_to_sign() - set(names):
            raise _invalid(f"These headers have to be signed: {', '.join(sorted(unsigned))}")
        expected = _signature(credentials, timestamp, scope, self._canonical(names))
        if not hmac.compare_digest(expected, given["signature"]):
            raise _invalid("The request signature we calculated does not match the one provided")

    def _check_identity(self, key_id: str, credentials: Credentials) -> None:
        """One error for both, so that a caller doesn't learn which of them was right."""
        known = hmac.compare_digest(key_id.encode(), credentials.access_key_id.encode())
        token = self.headers.get("x-amz-security-token", "")
        if not (known & hmac.compare_digest(token.encode(), credentials.session_token.encode())):
            message = "The security token included in the request is invalid."
            raise NotSigned("UnrecognizedClientException", message)

    def _headers_to_sign(self) -> set[str]:
        return {"host"} | {name for name in self.headers if name.startswith("x-amz-")}

    def _canonical(self, names: list[str]) -> str:
        values = (f"{name}:{' '.join(self.headers.get(name, '').split())}" for name in names)
        digest = hashlib.sha256(self.body).hexdigest()
        return "\n".join(["POST", "/", "", *values, "", ";".join(names), digest])


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
