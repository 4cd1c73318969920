"""Secrets Manager's GetSecretValue, signed by hand.

Importing boto3 would cost more than the rest of a cold start. Sources: AWS, "Create a signed AWS
API request" (Signature Version 4); Secrets Manager API reference, GetSecretValue.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

TIMEOUT = 2.5  # seconds for each attempt: three fit into Lambda's 10 s for a start
RETRY_DELAYS = (0.1, 0.4)  # seconds
RETRIED_STATUS = {429, 500, 502, 503, 504}
RETRIED_ERRORS = {"ThrottlingException", "RequestLimitExceeded", "InternalServiceError"}


class SecretUnreadable(Exception):
    """The text says which secret, why, and which command mends it."""


class _Retry(Exception):
    """An attempt that may succeed the next time; the text is the reason."""


class SecretReader(threading.Thread):
    """Reads the secret in the background, while the interpreter imports."""

    def __init__(self, arn: str, environ: Mapping[str, str]) -> None:
        super().__init__(name="secret", daemon=True)
        self._arn, self._environ = arn, dict(environ)
        self._text = ""
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._text = read(self._arn, self._environ)
        except Exception as error:  # raised again where somebody waits for it
            self._error = error

    def text(self) -> str:
        """Wait for the secret's text. Raises `SecretUnreadable`."""
        self.join()
        if self._error:
            raise self._error
        return self._text


def read(arn: str, environ: Mapping[str, str]) -> str:
    """The secret's current text. Region, endpoint, credentials, certificates and proxy come from
    `environ`, under the names that AWS's SDKs use. Raises `SecretUnreadable`."""
    request = _prepare(arn, environ)
    for delay in (*RETRY_DELAYS, None):
        try:
            return _secret_string(arn, *request())
        except (_Retry, OSError, http.client.HTTPException) as error:
            if delay is None:
                reason = str(error) if isinstance(error, _Retry) else type(error).__name__
                raise SecretUnreadable(
                    f"cannot reach Secrets Manager for {arn} ({reason}): check the network, "
                    "AWS_ENDPOINT_URL and the proxy variables"
                ) from error
            time.sleep(delay)
    raise AssertionError("the last attempt returns or raises")


def _secret_string(arn: str, status: int, body: bytes) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {}
    if status == 200 and isinstance(answer, dict):
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise SecretUnreadable(f"the secret {arn} holds no text: run `make set-key`")
        return text
    kind = _error_kind(answer)
    if status in RETRIED_STATUS or kind in RETRIED_ERRORS:
        raise _Retry(f"status {status}")
    raise SecretUnreadable(_explanation(arn, kind, status))


def _error_kind(answer: Any) -> str:
    kind = answer.get("__type", "") if isinstance(answer, dict) else ""
    return str(kind).rpartition("#")[2].partition(":")[0]


def _explanation(arn: str, kind: str, status: int) -> str:
    match kind:
        case "ResourceNotFoundException":
            return f"the secret {arn} does not exist: run `make deploy`, then `make set-key`"
        case "AccessDeniedException":
            return f"the function may not read the secret {arn}: run `make deploy`"
        case "InvalidRequestException":
            return f"the secret {arn} is being deleted: restore it, or run `make deploy`"
        case _:
            reason = kind or f"status {status}"
            return (
                f"cannot read the secret {arn} ({reason}): run `make deploy`, then `make set-key`"
            )


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


def signed_headers(
    endpoint: SplitResult,
    region: str,
    target: str,
    body: bytes,
    credentials: Credentials,
    now: datetime.datetime,
) -> dict[str, str]:
    """The headers of a Secrets Manager call, signed (Signature Version 4). `now` is in UTC."""
    timestamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": endpoint.netloc.rpartition("@")[2],
        "x-amz-date": timestamp,
        "x-amz-target": target,
    }
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            "POST",
            endpoint.path or "/",
            "",
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{timestamp[:8]}/{region}/secretsmanager/aws4_request"
    text = "\n".join(
        ["AWS4-HMAC-SHA256", timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    signature = hmac.new(
        _signing_key(credentials.secret_access_key, scope), text.encode(), "sha256"
    ).hexdigest()
    return {
        **headers,
        "authorization": f"AWS4-HMAC-SHA256 Credential={credentials.access_key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}",
    }


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key


def _prepare(arn: str, environ: Mapping[str, str]) -> Callable[[], tuple[int, bytes]]:
    """A call that asks once: status and body. The environment is looked at here, once."""
    region = _region(arn, environ)
    endpoint = _endpoint(region, environ)
    try:
        credentials = Credentials(
            environ["AWS_ACCESS_KEY_ID"],
            environ["AWS_SECRET_ACCESS_KEY"],
            environ.get("AWS_SESSION_TOKEN"),
        )
    except KeyError as missing:
        raise SecretUnreadable(
            f"cannot read the secret {arn}: {missing.args[0]} is not set"
        ) from None
    body = json.dumps({"SecretId": arn}).encode()

    def ask() -> tuple[int, bytes]:
        now = datetime.datetime.now(datetime.UTC)
        headers = signed_headers(
            endpoint, region, "secretsmanager.GetSecretValue", body, credentials, now
        )
        connection, target = _connect(endpoint, environ)
        try:
            connection.request("POST", target, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    return ask


def _region(arn: str, environ: Mapping[str, str]) -> str:
    parts = arn.split(":")
    region = parts[3] if len(parts) > 5 else environ.get("AWS_REGION", "")
    if not region:
        raise SecretUnreadable(f"cannot read the secret {arn}: AWS_REGION is not set")
    return region


def _endpoint(region: str, environ: Mapping[str, str]) -> SplitResult:
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    url = (
        environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER")
        or environ.get("AWS_ENDPOINT_URL")
        or f"https://secretsmanager.{region}.{suffix}/"
    )
    endpoint = urlsplit(url)
    if endpoint.scheme not in ("http", "https") or not endpoint.hostname:
        raise SecretUnreadable(f"AWS_ENDPOINT_URL is no http or https address: {url!r}")
    return endpoint


def _connect(
    endpoint: SplitResult, environ: Mapping[str, str]
) -> tuple[http.client.HTTPConnection, str]:
    """A connection, not yet open, and the target of a request over it."""
    host, port = endpoint.hostname or "", endpoint.port
    target = endpoint.path or "/"
    proxy = _proxy(endpoint, environ)
    secure = endpoint.scheme == "https"
    context = _tls(environ) if secure else None
    if proxy is None:
        if context:
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context), target
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT), target
    via, via_port = proxy.hostname or "", proxy.port or 80
    if not context:
        return http.client.HTTPConnection(via, via_port, timeout=TIMEOUT), endpoint.geturl()
    tunnel = http.client.HTTPSConnection(via, via_port, timeout=TIMEOUT, context=context)
    tunnel.set_tunnel(host, port or 443, _proxy_authorization(proxy))
    return tunnel, target


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _proxy(endpoint: SplitResult, environ: Mapping[str, str]) -> SplitResult | None:
    name = f"{endpoint.scheme}_proxy"
    url = environ.get(name) or environ.get(name.upper())
    direct = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if not url or _bypasses(endpoint, direct):
        return None
    return urlsplit(url if "//" in url else f"//{url}")


def _bypasses(endpoint: SplitResult, no_proxy: str) -> bool:
    """Whether `no_proxy` (names and addresses, with commas between) covers the endpoint."""
    host, place = endpoint.hostname or "", endpoint.netloc.rpartition("@")[2]
    entries = [entry.strip().lower().removeprefix("*").lstrip(".") for entry in no_proxy.split(",")]
    if "*" in no_proxy.split(","):
        return True
    return any(
        entry and (entry in (host, place) or host.endswith(f".{entry}")) for entry in entries
    )


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    bundle = environ.get("AWS_CA_BUNDLE") or environ.get("SSL_CERT_FILE")
    if not bundle:
        import certifi  # httpx brings it; Lambda's own OpenSSL may know no directory

        bundle = certifi.where()
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise SecretUnreadable(
            f"cannot load the certificates of AWS_CA_BUNDLE ({bundle})"
        ) from error
