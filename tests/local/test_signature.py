"""Signatures are verified as botocore makes them, for every form of request."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Given

from local.signature import Credentials, NotSigned, SignedRequest, headers_once

KEYS = Credentials.random()
REQUESTS = [
    ("secretsmanager", "POST", "/", b'{"SecretId": "x"}'),
    ("sts", "POST", "/", b"Action=GetCallerIdentity&Version=2011-06-15"),
    ("lambda", "GET", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Af/code?Qualifier=live", b""),
    ("lambda", "GET", "/2021-10-31/functions/f/url?b=2&a=%2F+~&a=1&empty=", b""),
    ("s3", "PUT", "/bucket/a%20b//%C3%BC~%27%28/./x", b"body"),
    ("s3", "GET", "/bucket?list-type=2&prefix=a%20b%2F&acl", b""),
]


def signed(service: str, method: str, target: str, body: bytes) -> SignedRequest:
    url = f"http://localhost:1{target}"
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    request = AWSRequest(method, url, {"Host": "localhost:1", "X-Amz-Target": " a   b "}, body)
    keys = Given(KEYS.access_key_id, KEYS.secret_access_key, KEYS.session_token)
    signer(keys, service, "us-east-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    parts = urlsplit(url)
    return SignedRequest(headers, body, method, parts.path, parts.query)


@pytest.mark.parametrize("request_", REQUESTS)
def test_what_botocore_signs_is_accepted_and_nothing_else_that_looks_like_it(
    request_: tuple[str, str, str, bytes],
) -> None:
    request, now = signed(*request_), datetime.now(UTC)
    request.verify(KEYS, now)
    service = request_[0]
    request.verify(KEYS, now, service=service, region="us-east-1")
    others = [
        replace(request, body=request.body + b" "),
        replace(request, path=request.path + "x"),
        replace(request, query=request.query + "&x=1"),
        replace(request, method="DELETE"),
        replace(request, headers=request.headers | {"x-amz-target": "c"}),
        replace(request, headers=request.headers | {"x-amz-unsigned": "c"}),
        replace(request, headers=request.headers | {"host": "localhost:2"}),
    ]
    for other in others:
        with pytest.raises(NotSigned):
            other.verify(KEYS, now)
    for wrong in ({"service": "other"}, {"region": "eu-west-1"}):
        with pytest.raises(NotSigned, match="should be scoped to"):
            request.verify(KEYS, now, **wrong)
    for minutes in (-6, 6):
        with pytest.raises(NotSigned, match="expired"):
            request.verify(KEYS, now + timedelta(minutes=minutes))
    with pytest.raises(NotSigned, match="does not match"):
        request.verify(replace(KEYS, secret_access_key="invented"), now)


def test_an_unsigned_body_is_s3s_alone() -> None:
    for service, fits in (("s3", True), ("lambda", False)):
        headers = {"Host": "localhost:1", "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
        request = AWSRequest("PUT", "http://localhost:1/b/k", headers, b"body")
        keys = Given(KEYS.access_key_id, KEYS.secret_access_key, KEYS.session_token)
        SigV4Auth(keys, service, "us-east-1").add_auth(request)
        lower = {name.lower(): value for name, value in request.headers.items()}
        arrived = SignedRequest(lower, b"other", "PUT", "/b/k")
        if fits:
            arrived.verify(KEYS, datetime.now(UTC))
        else:
            with pytest.raises(NotSigned, match="does not match"):
                arrived.verify(KEYS, datetime.now(UTC))


def test_a_header_with_two_values_is_refused() -> None:
    assert headers_once([(b"host", b"a"), (b"host", b"a")]) == {"host": "a"}
    with pytest.raises(NotSigned, match="host comes twice"):
        headers_once([(b"host", b"a"), (b"host", b"b")])
