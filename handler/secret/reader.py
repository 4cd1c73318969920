"""The secret's text, by Secrets Manager's GetSecretValue, read in a thread of its own.

Source: AWS, Secrets Manager API reference, GetSecretValue and "Common error types".
"""

import http.client
import json
import re
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, Self

from handler.log.errors import StartError
from handler.runtime.deadlines import FRESH_READ, START_READ
from handler.secret.signed_call import (
    CONTAINER_ADDRESS,
    CONTAINER_TOKEN,
    BadVariable,
    Call,
    NoCredentials,
)

PAUSES = (0, 0.1, 0.4)  # seconds before each attempt
ASKED = f"asked {len(PAUSES)} times, at last"

ARN_VARIABLE = "ACCESS_KEY_SECRET_ARN"
TARGET = "secretsmanager.GetSecretValue"
ARN = re.compile(r"arn:[a-z-]+:secretsmanager:(?P<region>[a-z0-9-]+):\d*:secret:.+")
RETRIED_STATUS = {429, 500, 502, 503, 504}
RETRIED_ERRORS = {"ThrottlingException", "RequestLimitExceeded", "InternalServiceError"}
CREDENTIALS_ERRORS = {
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "UnrecognizedClientException",
}


class SecretUnreadable(StartError):
    """The text names the secret, the reason, and the command that fixes it."""


class _Retry(Exception):
    """An attempt that may succeed the next time; the text is the reason."""


class SecretReader(threading.Thread):
    """Reads the secret `arn` in the background, while the interpreter imports. Region, endpoint,
    credentials and certificates come from `environ`, under the names of AWS's SDKs.

    They are what they were when this was created, whatever the bot does to its environment
    afterwards; but the endpoint for credentials and its token are looked up for each read.
    """

    def __init__(
        self, arn: str, environ: Mapping[str, str], time_limit: float = START_READ
    ) -> None:
        super().__init__(name="secret", daemon=True)
        self.arn = arn
        self._given, self._environ = environ, dict(environ)
        self._time_limit = time_limit
        self._deadline = time.monotonic() + time_limit
        self._text = ""
        self._error: Exception | None = None

    @classmethod
    def started(cls, environ: Mapping[str, str]) -> Self | None:
        """On its way to the secret that `environ` names, if it names one."""
        arn = environ.get(ARN_VARIABLE)
        if not arn:
            return None
        reader = cls(arn, environ)
        reader.start()
        return reader

    def run(self) -> None:
        try:
            self._text = _ask_until_answered(self.arn, self._environ)
        except Exception as error:  # raised again where the result is awaited
            self._error = error

    def text(self) -> str:
        """Wait for the secret's text, `time_limit` at most. Raises `SecretUnreadable`."""
        self.join(max(0, self._deadline - time.monotonic()))
        if self.is_alive():
            raise _unreachable(self.arn, f"no answer in {self._time_limit} s")
        if self._error:
            raise self._error
        return self._text

    def fresh_text(self, time_limit: float = FRESH_READ) -> str:
        """The text as it is now, within `time_limit` seconds. Raises `SecretUnreadable`."""
        container = (CONTAINER_ADDRESS, CONTAINER_TOKEN)
        current = {name: self._given[name] for name in container if name in self._given}
        reader = SecretReader(self.arn, self._environ | current, time_limit)
        reader.start()
        return reader.text()


def _ask_until_answered(arn: str, environ: Mapping[str, str]) -> str:
    failure = _unreachable(arn, "not asked yet")
    for pause in PAUSES:
        time.sleep(pause)
        try:
            call = _prepare(arn, environ)
            return _secret_string(arn, *call.ask())
        except ssl.SSLCertVerificationError:
            raise SecretUnreadable(
                f"cannot read the secret {arn}: the certificate of {call.endpoint.hostname} is not "
                "trusted; if that is right, set AWS_CA_BUNDLE to the file of its authority"
            ) from None
        except _Retry as error:
            failure = _unreachable(arn, f"{ASKED} {error}")
        except NoCredentials as error:
            failure = _without_credentials(arn, f"{ASKED} {error}")
        except (OSError, http.client.HTTPException) as error:
            failure = _unreachable(arn, f"{ASKED} {type(error).__name__}")
    raise failure


def _prepare(arn: str, environ: Mapping[str, str]) -> Call:
    body = json.dumps({"SecretId": arn}).encode()
    try:
        if environ.get(CONTAINER_ADDRESS):
            from handler.secret.container import current_credentials  # few starts need it

            environ = {**environ, **current_credentials(environ)}
        return Call.prepare(TARGET, _region(arn), body, environ)
    except BadVariable as error:
        raise SecretUnreadable(f"cannot read the secret {arn}: {error}") from None


def _region(arn: str) -> str:
    """The region that an ARN names; empty for a secret's name: it is in the function's own."""
    if match := ARN.fullmatch(arn):
        return match["region"]
    if ":" in arn:  # no name has one
        raise BadVariable("that isn't the ARN of a secret: run `make deploy`")
    return ""


def _unreachable(arn: str, reason: str) -> SecretUnreadable:
    return SecretUnreadable(
        f"cannot read the secret {arn}: Secrets Manager does not answer ({reason}): check "
        "AWS_ENDPOINT_URL and the function's network (proxies are not used: a function in a VPC "
        "without internet access needs an endpoint for Secrets Manager), then run `make deploy`"
    )


def _without_credentials(arn: str, reason: str) -> SecretUnreadable:
    return SecretUnreadable(
        f"cannot read the secret {arn}: Lambda gives no credentials ({reason}): check that "
        f"nothing sets {CONTAINER_ADDRESS} or {CONTAINER_TOKEN}"
    )


def _secret_string(arn: str, status: int, body: bytes) -> str:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if status == 200 and isinstance(answer, dict):
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise SecretUnreadable(f"the secret {arn} has no text: run `make set-key`")
        return text
    kind = _error_kind(answer)
    if status in RETRIED_STATUS or kind in RETRIED_ERRORS:
        raise _Retry(kind or f"status {status}")
    raise SecretUnreadable(_explanation(arn, kind, status))


def _error_kind(answer: Any) -> str:
    """`X` of `{"__type": "namespace#X:more"}`: the only part of an answer that is quoted."""
    kind = answer.get("__type") if isinstance(answer, dict) else None
    match = isinstance(kind, str) and re.fullmatch(r"(?:[\w.]+#)?([A-Za-z]{1,60})(?::.*)?", kind)
    return match[1] if match else ""


def _explanation(arn: str, kind: str, status: int) -> str:
    match kind:
        case "ResourceNotFoundException":
            return (
                f"the secret {arn} does not exist, or has no value yet: "
                "run `make deploy`, then `make set-key`"
            )
        case "AccessDeniedException":
            return f"the function may not read the secret {arn}: run `make deploy`"
        case "InvalidRequestException":
            return f"the secret {arn} is being deleted: restore it, or run `make deploy`"
        case _ if kind in CREDENTIALS_ERRORS:
            return (
                f"cannot read the secret {arn}: AWS does not accept the credentials ({kind}): "
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, "
                "then run `make deploy`"
            )
        case _:
            return (
                f"cannot read the secret {arn} ({kind or f'an unexpected status {status}'}): "
                "check AWS_ENDPOINT_URL, run `make deploy`, then `make set-key`"
            )
