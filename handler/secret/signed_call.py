"""A signed call of Secrets Manager's API, by hand.

Importing boto3 would cost more than the rest of a cold start. Sources: AWS, "Create a signed AWS
API request" (Signature Version 4); AWS SDKs and Tools Reference Guide, for the variables. Proxies
are left out: a function without a way to the internet has a VPC endpoint for Secrets Manager.
"""

import hashlib
import hmac
import http.client
import importlib.util
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import SplitResult, quote, urlsplit

from handler.runtime.deadlines import READ_STEP

SERVICE = "secretsmanager"
DOMAINS = {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu"}  # by a region's first part
# Where Lambda offers credentials instead of setting variables with them: see `container`.
CONTAINER_ADDRESS = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
CONTAINER_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
# Written by the package's build: certifi's authorities, a file for each.
CERTIFICATES = Path(__file__).parents[2] / "certificates"


class BadVariable(Exception):
    """The text names the variable that is missing or wrong, without its value."""


class NoCredentials(Exception):
    """There are none now, which may be different the next time; the text is the reason."""


class Credentials(NamedTuple):
    access_key_id: str
    secret_access_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id}, …)"


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
    scope = f"{timestamp[:8]}/{region}/{SERVICE}/aws4_request"
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
    """The Host header: without a user, and without a port that is the scheme's own."""
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
    usual = {"http": 80, "https": 443}[url.scheme]
    return host if url.port in (None, usual) else f"{host}:{url.port}"


class Call(NamedTuple):
    """One call, which can be repeated; the environment was read by `prepare`."""

    endpoint: SplitResult
    region: str
    target: str
    body: bytes
    credentials: Credentials
    tls: ssl.SSLContext | None

    @classmethod
    def prepare(cls, target: str, region: str, body: bytes, environ: Mapping[str, str]) -> Self:
        """`region` may be empty: then it is the function's. Raises `BadVariable`."""
        region = region or environ.get("AWS_REGION", "")
        if not region:
            raise BadVariable("AWS_REGION is not set")
        endpoint = _endpoint(region, environ)
        return cls(
            endpoint,
            region,
            target,
            body,
            _credentials(environ),
            _tls(environ) if endpoint.scheme == "https" else None,
        )

    def ask(self) -> tuple[int, bytes]:
        """Status and body of the answer. Raises `OSError` and `HTTPException`."""
        now = datetime.now(UTC)
        headers = signed_headers(
            self.endpoint, self.region, self.target, self.body, self.credentials, now
        )
        connection = self._connection()
        try:
            connection.request("POST", self.endpoint.path or "/", self.body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        """Open, or to be opened by its first request."""
        host, port = self.endpoint.hostname or "", self.endpoint.port
        if self.tls is None:
            return http.client.HTTPConnection(host, port or 80, timeout=READ_STEP)
        port = port or 443
        connection = http.client.HTTPSConnection(host, port, timeout=READ_STEP, context=self.tls)
        connection.sock = _secured(self.tls, host, port)
        return connection


def _secured(tls: ssl.SSLContext, host: str, port: int) -> ssl.SSLSocket:
    # A host's name as bytes is not encoded: the codec for that and its tables take 2 ms to import,
    # and 0.4 MB. The name is ASCII, see `_address`.
    name = host.encode()
    plain = socket.create_connection((name, port), READ_STEP)  # type: ignore[arg-type]
    return tls.wrap_socket(plain, server_hostname=name)  # which closes it if that fails


def _credentials(environ: Mapping[str, str]) -> Credentials:
    key_id, secret, token = (
        environ.get(name, "").strip()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    )
    if not key_id or not secret:
        raise BadVariable("AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set")
    if not is_plain(key_id + secret + token):
        raise BadVariable("AWS_ACCESS_KEY_ID, …SECRET… or …TOKEN has invalid characters")
    return Credentials(key_id, secret, token)


def _endpoint(region: str, environ: Mapping[str, str]) -> SplitResult:
    for name in ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"):
        if environ.get(name):
            return _address(name, environ[name], "http", "https")
    domain = DOMAINS.get(region.partition("-")[0], "amazonaws.com")
    return _address("AWS_REGION", f"https://secretsmanager.{region}.{domain}/", "https")


def _address(variable: str, url: str, *schemes: str) -> SplitResult:
    try:
        address = urlsplit(url)
        if address.scheme in schemes and address.hostname and is_plain(url) and address.port != 0:
            return address
    except ValueError:  # the port, or a bracket
        pass
    raise BadVariable(f"{variable} isn't an {' or '.join(schemes)} address")


def is_plain(text: str) -> bool:
    """Whether `text` can stand in a request's head."""
    return text.isascii() and text.isprintable() and " " not in text


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    names = [name for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE") if environ.get(name)]
    if not names and CERTIFICATES.is_dir():
        # A file is read and parsed whole, 15 ms; of a directory only the one that is needed.
        return ssl.create_default_context(capath=CERTIFICATES)
    bundle = environ[names[0]] if names else _public_authorities()
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError:
        raise BadVariable(
            f"{names[0] if names else 'certifi'} isn't a file of certificates: {bundle}"
        ) from None


def _public_authorities() -> str:
    # Lambda's own OpenSSL may not have any. Importing certifi, which httpx brings, costs 20 ms.
    spec = importlib.util.find_spec("certifi")
    if spec is None or spec.origin is None:
        raise BadVariable("the package certifi is missing, run `make deploy`")
    return str(Path(spec.origin).with_name("cacert.pem"))
