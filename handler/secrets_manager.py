"""Secrets Manager's GetSecretValue, signed by hand.

Importing boto3 would cost more than the rest of a cold start. Sources: AWS, "Create a signed AWS
API request" (Signature Version 4); Secrets Manager API reference, GetSecretValue and "Common error
types".
"""

import base64
import hashlib
import hmac
import http.client
import importlib.util
import json
import re
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

# All in seconds. Three attempts, and time to tell of their failure, fit into Lambda's 10 s for a
# start.
TIMEOUT = 2.5  # for each step of an attempt: to connect, to agree on TLS, to get an answer
PAUSES = (0, 0.1, 0.4)  # before each attempt
TIME_LIMIT = 8.5  # for everything, whatever a resolver or a dripping server does
FRESH_TIME_LIMIT = 3.0  # where a user waits for it, who would wait 5 for a first word

ARN_VARIABLE = "ACCESS_KEY_SECRET_ARN"
TARGET = "secretsmanager.GetSecretValue"
ARN = re.compile(r"arn:[a-z-]+:secretsmanager:(?P<region>[a-z0-9-]+):\d*:secret:.+")
DOMAINS = {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu"}  # by a region's first part
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


class SecretUnreadable(Exception):
    """The text says which secret, why, and which command mends it."""


class _Retry(Exception):
    """An attempt that may succeed the next time; the text is the reason."""


class SecretReader(threading.Thread):
    """Reads the secret `arn` in the background, while the interpreter imports. Region, endpoint,
    credentials, certificates and proxy come from `environ`, under the names of AWS's SDKs."""

    def __init__(
        self, arn: str, environ: Mapping[str, str], time_limit: float = TIME_LIMIT
    ) -> None:
        super().__init__(name="secret", daemon=True)
        self.arn = arn
        self._environ = dict(environ)
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
        except Exception as error:  # raised again where somebody waits for it
            self._error = error

    def text(self) -> str:
        """Wait for the secret's text, `TIME_LIMIT` at most. Raises `SecretUnreadable`."""
        self.join(max(0, self._deadline - time.monotonic()))
        if self.is_alive():
            raise _unreachable(self.arn, f"no answer in {self._time_limit} s")
        if self._error:
            raise self._error
        return self._text

    def fresh_text(self) -> str:
        """The text as it is now, within `FRESH_TIME_LIMIT`. Raises `SecretUnreadable`."""
        reader = SecretReader(self.arn, self._environ, FRESH_TIME_LIMIT)
        reader.start()
        return reader.text()


def _ask_until_answered(arn: str, environ: Mapping[str, str]) -> str:
    call = _Call.prepare(arn, environ)
    reason = ""
    for pause in PAUSES:
        time.sleep(pause)
        try:
            return _secret_string(arn, *call.ask())
        except ssl.SSLCertVerificationError:
            raise SecretUnreadable(
                f"cannot read the secret {arn}: the certificate of {call.endpoint.hostname} is not "
                "trusted; if that is right, set AWS_CA_BUNDLE to the file of its authority"
            ) from None
        except _Retry as error:
            reason = str(error)
        except (OSError, http.client.HTTPException) as error:
            reason = type(error).__name__
    raise _unreachable(arn, f"asked {len(PAUSES)} times, at last {reason}")


def _unreachable(arn: str, reason: str) -> SecretUnreadable:
    return SecretUnreadable(
        f"cannot read the secret {arn}: Secrets Manager does not answer ({reason}): check the "
        "function's network, AWS_ENDPOINT_URL and the proxy variables, then run `make deploy`"
    )


def _secret_string(arn: str, status: int, body: bytes) -> str:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if status == 200 and isinstance(answer, dict):
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise SecretUnreadable(f"the secret {arn} holds no text: run `make set-key`")
        return text
    kind = _error_kind(answer)
    if status in RETRIED_STATUS or kind in RETRIED_ERRORS:
        raise _Retry(kind or f"status {status}")
    raise SecretUnreadable(_explanation(arn, kind, status))


def _error_kind(answer: Any) -> str:
    """`X` of `{"__type": "namespace#X:more"}`: the one member of an answer that is repeated."""
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
                f"cannot read the secret {arn} ({kind or f'a strange status {status}'}): "
                "check AWS_ENDPOINT_URL, run `make deploy`, then `make set-key`"
            )


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def signed_headers(
    endpoint: SplitResult,
    region: str,
    target: str,
    body: bytes,
    credentials: Credentials,
    now: datetime,
) -> dict[str, str]:
    """The headers of a Secrets Manager call, signed (Signature Version 4). `now` is in UTC."""
    timestamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": _host(endpoint),
        "x-amz-date": timestamp,
        "x-amz-target": target,
    }
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token
    names = sorted(headers)
    canonical_request = [
        "POST",
        quote(endpoint.path or "/", safe="/~"),
        "",  # the query
        *(f"{name}:{headers[name]}" for name in names),
        "",
        ";".join(names),
        hashlib.sha256(body).hexdigest(),
    ]
    digest = hashlib.sha256("\n".join(canonical_request).encode()).hexdigest()
    scope = f"{timestamp[:8]}/{region}/secretsmanager/aws4_request"
    key = _signing_key(credentials.secret_access_key, scope)
    signature = _hmac(key, f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{digest}").hex()
    return {
        **headers,
        "authorization": f"AWS4-HMAC-SHA256 Credential={credentials.access_key_id}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}",
    }


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _host(url: SplitResult) -> str:
    """The Host header: no user, no port that goes without saying."""
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
    usual = {"http": 80, "https": 443}[url.scheme]
    return host if url.port in (None, usual) else f"{host}:{url.port}"


@dataclass(frozen=True, slots=True)
class _Call:
    """One question, that can be asked again; the environment was looked at once."""

    endpoint: SplitResult
    region: str
    body: bytes
    credentials: Credentials
    proxy: SplitResult | None
    tls: ssl.SSLContext | None

    @classmethod
    def prepare(cls, arn: str, environ: Mapping[str, str]) -> "_Call":
        try:
            region = _region(arn, environ)
            endpoint = _endpoint(region, environ)
            return cls(
                endpoint,
                region,
                json.dumps({"SecretId": arn}).encode(),
                _credentials(environ),
                _proxy(endpoint, environ),
                _tls(environ) if endpoint.scheme == "https" else None,
            )
        except _BadVariable as error:
            raise SecretUnreadable(f"cannot read the secret {arn}: {error}") from None

    def ask(self) -> tuple[int, bytes]:
        """Status and body of the answer. Raises `OSError` and `HTTPException`."""
        now = datetime.now(UTC)
        headers = signed_headers(
            self.endpoint, self.region, TARGET, self.body, self.credentials, now
        )
        target, proxy_headers = self._target()
        connection = self._connection()
        try:
            connection.request("POST", target, self.body, headers | proxy_headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        """Not open yet."""
        if self.tls is None:
            first = self.proxy or self.endpoint
            return http.client.HTTPConnection(*_place(first, 80), timeout=TIMEOUT)
        if self.proxy is None:
            place = _place(self.endpoint, 443)
            return http.client.HTTPSConnection(*place, timeout=TIMEOUT, context=self.tls)
        tunnel = http.client.HTTPSConnection(
            *_place(self.proxy, 80), timeout=TIMEOUT, context=self.tls
        )
        tunnel.set_tunnel(*_place(self.endpoint, 443), _authorization(self.proxy))
        return tunnel

    def _target(self) -> tuple[str, dict[str, str]]:
        """The request line's target, and headers for a proxy that reads it (RFC 9112, 3.2.2)."""
        path = self.endpoint.path or "/"
        if self.proxy is None or self.tls:
            return path, {}
        return f"http://{_host(self.endpoint)}{path}", _authorization(self.proxy)


def _place(url: SplitResult, usual_port: int) -> tuple[str, int]:
    return url.hostname or "", url.port or usual_port


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


class _BadVariable(Exception):
    """The text says which variable is missing or wrong, and not what it holds."""


def _region(arn: str, environ: Mapping[str, str]) -> str:
    if match := ARN.fullmatch(arn):
        return match["region"]
    if ":" in arn:  # no name has one
        raise _BadVariable("that is no ARN of a secret, see `make deploy`")
    if not environ.get("AWS_REGION"):
        raise _BadVariable("AWS_REGION is not set")
    return environ["AWS_REGION"]


def _credentials(environ: Mapping[str, str]) -> Credentials:
    key_id, secret, token = (
        environ.get(name, "").strip()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    )
    if not key_id or not secret:
        raise _BadVariable("AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set")
    if not _is_plain(key_id + secret + token):
        raise _BadVariable("AWS_ACCESS_KEY_ID, …SECRET… or …TOKEN has characters that none has")
    return Credentials(key_id, secret, token)


def _endpoint(region: str, environ: Mapping[str, str]) -> SplitResult:
    for name in ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"):
        if environ.get(name):
            return _address(name, environ[name], "http", "https")
    domain = DOMAINS.get(region.partition("-")[0], "amazonaws.com")
    return _address("AWS_REGION", f"https://secretsmanager.{region}.{domain}/", "https")


def _proxy(endpoint: SplitResult, environ: Mapping[str, str]) -> SplitResult | None:
    lower = f"{endpoint.scheme}_proxy"
    name = lower if environ.get(lower) else lower.upper()
    url = environ.get(name)
    if not url:
        return None
    if _bypasses(endpoint, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    return _address(name, url if "//" in url else f"http://{url}", "http")


def _bypasses(endpoint: SplitResult, no_proxy: str) -> bool:
    """Whether `no_proxy` (`*`, or names with commas between) covers the endpoint. A name covers
    its subdomains."""
    names = [name.strip().lower().lstrip(".") for name in no_proxy.split(",")]
    endings = tuple(f".{name}" for name in names if name)
    places = (f".{endpoint.hostname}", f".{_host(endpoint)}")
    return "*" in names or any(place.endswith(endings) for place in places)


def _address(variable: str, url: str, *schemes: str) -> SplitResult:
    try:
        address = urlsplit(url)
        if address.scheme in schemes and address.hostname and _is_plain(url) and address.port != 0:
            return address
    except ValueError:  # the port, or a bracket
        pass
    raise _BadVariable(f"{variable} is no {' or '.join(schemes)} address")


def _is_plain(text: str) -> bool:
    """Whether `text` can stand in a request's head."""
    return text.isascii() and text.isprintable() and " " not in text


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    names = [name for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE") if environ.get(name)]
    bundle = environ[names[0]] if names else _public_authorities()
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError:
        raise _BadVariable(
            f"{names[0] if names else 'certifi'} names no file of certificates: {bundle}"
        ) from None


def _public_authorities() -> str:
    # Lambda's own OpenSSL may know none. Importing certifi, which httpx brings, costs 20 ms.
    spec = importlib.util.find_spec("certifi")
    if spec is None or spec.origin is None:
        raise _BadVariable("the package certifi is missing, run `make deploy`")
    return str(Path(spec.origin).with_name("cacert.pem"))
