"""How a read of the secret is signed, and what its refusal says."""

import json
import string
from datetime import datetime
from urllib.parse import urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.secret import signed_call
from handler.secret.signed_call import Credentials
from tests.support.secrets_double import (
    ARN,
    KEY,
    KEY_ID,
    NOW,
    SECRET,
    TEXT,
    TOKEN,
    environ,
    error,
    read,
    refusal_of,
    serving,
)


def botocore_headers(url, region, target, body, credentials):
    request = AWSRequest(
        "POST",
        url,
        {"content-type": "application/x-amz-json-1.1", "x-amz-target": target},
        body,
    )
    keys = BotocoreCredentials(
        credentials.access_key_id, credentials.secret_access_key, credentials.session_token or None
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: NOW)
        botocore.auth.SigV4Auth(keys, "secretsmanager", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


hosts = st.sampled_from(
    [
        "secretsmanager.eu-west-1.amazonaws.com",
        "LocalHost",
        "127.0.0.1",
        "[::1]",
        "xn--bcher-kva.ch",
    ]
)
ports = st.none() | st.sampled_from([80, 443]) | st.integers(1, 65535)
segments = st.text(string.ascii_letters + string.digits + "-_.~%!$&'()*+,;=:@", min_size=1)
paths = st.lists(segments.filter(lambda segment: segment not in (".", "..")), max_size=3)
regions = st.text(string.ascii_lowercase + string.digits + "-", min_size=1)
words = st.text(string.ascii_letters + string.digits + "-+/=", min_size=1)


@settings(deadline=None)
@given(
    st.sampled_from(["http", "https"]),
    hosts,
    ports,
    paths,
    st.sampled_from(["", "/"]),
    regions,
    st.binary(),
    st.builds(Credentials, words, words, st.just("") | words),
)
def test_a_signature_is_the_same_as_botocores(
    scheme, host, port, path, end, region, body, credentials
):
    url = f"{scheme}://{host}{'' if port is None else f':{port}'}"
    url += "".join(f"/{segment}" for segment in path) + end
    ours = signed_call.signed_headers(
        urlsplit(url), region, "secretsmanager.GetSecretValue", body, credentials, NOW
    )
    host_header = ours.pop("host")
    theirs = botocore_headers(url, region, "secretsmanager.GetSecretValue", body, credentials)
    assert ours == theirs
    assert host_header == botocore.auth._host_from_url(url)


def strict(handler, body):
    """Secrets Manager's own check of the signature, over what came in on the wire."""
    headers = handler.headers
    request = AWSRequest(
        "POST",
        f"http://{headers['host']}{handler.path}",
        {
            name: headers[name]
            for name in ("content-type", "x-amz-target", "x-amz-security-token")
            if headers[name]
        },
        body,
    )
    keys = BotocoreCredentials(KEY_ID, KEY)
    with pytest.MonkeyPatch.context() as patch:
        now = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        patch.setattr(botocore.auth, "get_current_datetime", lambda: now)
        botocore.auth.SigV4Auth(keys, "secretsmanager", "eu-west-1").add_auth(request)
    if headers["authorization"] != request.headers["Authorization"]:
        return 400, error("InvalidSignatureException")
    if json.loads(body) != {"SecretId": ARN}:
        return 400, error("AccessDeniedException")
    return SECRET


@pytest.mark.parametrize("path", ["", "/", "/a/b", "/a%20b/"])
def test_what_is_signed_is_what_is_sent(path):
    with serving(strict) as server:
        assert read(ARN, environ(server.url + path)) == TEXT
        sent_path, headers, _ = server.asked[0]
        assert sent_path == (path or "/")
        assert headers["x-amz-target"] == "secretsmanager.GetSecretValue"


def test_a_session_token_is_sent():
    with serving(SECRET) as server:
        read(ARN, environ(server.url, AWS_SESSION_TOKEN=TOKEN))
        assert server.asked[0][1]["x-amz-security-token"] == TOKEN


def test_a_wrong_secret_access_key_is_told_apart_from_a_missing_permission():
    with serving(strict) as server:
        text = refusal_of(ARN, environ(server.url, AWS_SECRET_ACCESS_KEY="x" * 40))
        assert "credentials" in text
        assert "AWS_SECRET_ACCESS_KEY" in text


def test_denied_access_names_the_secret_and_the_command():
    other = ARN.replace("bot-", "other-")
    with serving(strict) as server:
        text = refusal_of(other, environ(server.url))
        assert text == f"the function may not read the secret {other}: run `make deploy`"
        assert len(server.asked) == 1  # asking again would not help
