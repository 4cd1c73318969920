import contextlib
import http.server
import json
import socket
import ssl
import string
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import botocore.auth
import pytest
import trustme
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from handler.secret import reader as secret_reader
from handler.secret import signed_call
from handler.secret.reader import SecretReader, SecretUnreadable
from handler.secret.signed_call import Credentials
from infra.package.certificates import write_directory
from tests.support.closed import CLOSED

ROOT = Path(__file__).parents[2]
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:bot-AbCdEf"
KEY_ID, KEY, TOKEN = "KEYID" * 4, "s" * 40, "t" * 60
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": KEY}
TEXT = json.dumps({"POE_ACCESS_KEY": "k" * 32})
SECRET = (200, json.dumps({"ARN": ARN, "SecretString": TEXT}).encode())
NOW = datetime(2026, 11, 23, 4, 5, 6, tzinfo=UTC)


def environ(url, **more):
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": url, **more}


def read(arn, environ, **more):
    """The secret's text, read as a start of the function reads it."""
    reader = SecretReader(arn, environ, **more)
    reader.start()
    return reader.text()


def error(kind, message="the answer's own words"):
    return json.dumps({"__type": kind, "Message": message}).encode()


class Double(http.server.ThreadingHTTPServer):
    """Gives `answers` one after another, the last one again and again, and keeps what it was
    asked."""

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), _DoubleHandler)
        self.answers = [*answers]
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # a client that goes away is what some tests are about


class _DoubleHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Double

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        answers = self.server.answers
        self.server.asked.append((self.path, self.headers, body))
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        status, body = answer(self, body) if callable(answer) else answer
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(*answers, tls=None):
    double = Double(*answers)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.configure_cert(context)
        double.socket = context.wrap_socket(double.socket, server_side=True)
    # The poll is how long the end of each test takes.
    thread = threading.Thread(target=double.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield double
    finally:
        double.shutdown()
        thread.join()
        double.server_close()


@pytest.fixture
def quick(monkeypatch):
    """Three attempts without a pause."""
    monkeypatch.setattr(secret_reader, "PAUSES", (0, 0, 0))


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def secrets(moto):
    return boto3.client(
        "secretsmanager",
        endpoint_url=moto,
        region_name="eu-west-1",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=KEY,
    )


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def authority_file(authority, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    return str(tmp_path / "authority.pem")


def refusal_of(arn, environ, **more):
    """The text of the error, which never holds a credential or an answer's text."""
    with pytest.raises(SecretUnreadable) as caught:
        read(arn, environ, **more)
    text = str(caught.value)
    assert arn in text
    for value in (KEY_ID, KEY, TOKEN, "k" * 32, "the answer's own words"):
        assert value not in text
        assert value not in repr(caught.value.__cause__)
    return text


# The signature


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


# Against moto


def test_a_secret_is_read_by_its_arn(moto, secrets):
    arn = secrets.create_secret(Name="by-arn", SecretString=TEXT)["ARN"]
    assert read(arn, environ(moto)) == TEXT


def test_a_secret_is_read_by_its_name_in_the_functions_region(moto, secrets):
    secrets.create_secret(Name="by/name", SecretString="a ✓ text")
    found = environ(moto, AWS_REGION="eu-west-1")
    assert read("by/name", found) == "a ✓ text"
    elsewhere = environ(moto, AWS_REGION="us-east-1")
    assert "does not exist" in refusal_of("by/name", elsewhere)


def test_a_missing_secret_names_its_arn_and_the_commands(moto):
    text = refusal_of(ARN, environ(moto))
    assert "does not exist" in text
    assert "`make deploy`, then `make set-key`" in text


def test_a_secret_without_a_value_is_reported_as_missing(moto, secrets):
    arn = secrets.create_secret(Name="without-value")["ARN"]
    assert "has no value yet" in refusal_of(arn, environ(moto))


def test_a_secret_that_is_being_deleted_is_said_to_be(moto, secrets):
    arn = secrets.create_secret(Name="deleted", SecretString=TEXT)["ARN"]
    secrets.delete_secret(SecretId=arn)
    assert "is being deleted" in refusal_of(arn, environ(moto))


def test_binary_data_is_not_a_text(moto, secrets):
    arn = secrets.create_secret(Name="binary", SecretBinary=b"k" * 32)["ARN"]
    assert "has no text: run `make set-key`" in refusal_of(arn, environ(moto))


def test_the_current_value_is_read(moto, secrets):
    arn = secrets.create_secret(Name="rotated", SecretString="old")["ARN"]
    secrets.put_secret_value(SecretId=arn, SecretString="new")
    assert read(arn, environ(moto)) == "new"


# Trouble


@pytest.mark.parametrize(
    "trouble",
    [
        (500, b""),
        (502, b"<html>"),
        (503, b"{"),
        (429, b"{}"),
        (400, error("ThrottlingException")),
        (400, error("com.amazonaws.secretsmanager#ThrottlingException:more")),
        (500, error("InternalServiceError")),
    ],
)
@pytest.mark.usefixtures("quick")
def test_what_passes_is_asked_again(trouble):
    with serving(trouble, trouble, SECRET) as server:
        assert read(ARN, environ(server.url)) == TEXT
        assert len(server.asked) == 3


@pytest.mark.parametrize("fresh", [False, True])
def test_two_failed_attempts_are_got_over_with_the_pauses_of_production(fresh):
    with serving(SECRET, (500, b""), (503, b""), SECRET) as server:
        if not fresh:
            server.answers.pop(0)
        reader = SecretReader(ARN, environ(server.url))
        reader.start()
        assert reader.text() == TEXT
        if fresh:
            assert reader.fresh_text() == TEXT
        assert len(server.asked) == 3 + fresh


@pytest.mark.usefixtures("quick")
def test_trouble_that_stays_is_given_up_after_three_attempts():
    with serving((400, error("ThrottlingException"))) as server:
        text = refusal_of(ARN, environ(server.url))
        assert "asked 3 times, at last ThrottlingException" in text
        assert len(server.asked) == 3


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"SecretString"', b"\xff", b"[" * 99999])
def test_an_answer_that_is_not_secrets_managers_points_at_the_endpoint(body):
    with serving((200, body)) as server:
        text = refusal_of(ARN, environ(server.url))
        assert "AWS_ENDPOINT_URL" in text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"SecretString": None},
        {"SecretString": {"POE_ACCESS_KEY": "k" * 32}},
        {"SecretBinary": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="},
    ],
)
def test_an_answer_without_a_text_is_refused(body):
    with serving((200, json.dumps(body).encode())) as server:
        assert "has no text" in refusal_of(ARN, environ(server.url))


@pytest.mark.parametrize("kind", [f"Foreign {TEXT}", 7, None, [TEXT], "x" * 500, ""])
def test_nothing_of_a_strange_answer_is_repeated(kind):
    with serving((400, json.dumps({"__type": kind}).encode())) as server:
        text = refusal_of(ARN, environ(server.url))
        assert "an unexpected status 400" in text


def test_an_unknown_error_is_named():
    with serving((400, error("ns#DecryptionFailure:http://x#y"))) as server:
        assert "(DecryptionFailure)" in refusal_of(ARN, environ(server.url))


@pytest.mark.usefixtures("quick")
def test_refused_connections_come_to_an_end():
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert "asked 3 times, at last ConnectionRefusedError" in refusal_of(ARN, environ(url))


@pytest.mark.usefixtures("quick")
def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(signed_call, "READ_STEP", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "asked 3 times, at last TimeoutError" in refusal_of(ARN, environ(url))


@pytest.mark.usefixtures("quick")
def test_a_server_that_says_nothing_of_tls_is_given_up(monkeypatch):
    monkeypatch.setattr(signed_call, "READ_STEP", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        assert "asked 3 times, at last TimeoutError" in refusal_of(ARN, environ(url))


def test_three_attempts_at_a_silent_server_fit_into_a_start_with_the_limits_of_production():
    """It takes 8 s: one step that waited longer would end with "no answer in 8.5 s"."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        assert "asked 3 times, at last TimeoutError" in refusal_of(ARN, environ(url))


def hang_up(handler, body):
    handler.connection.shutdown(socket.SHUT_RDWR)
    return SECRET


def speak_otherwise(handler, body):
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n")
    return SECRET


def cut_short(handler, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{")
    return hang_up(handler, body)


@pytest.mark.parametrize("trouble", [hang_up, speak_otherwise, cut_short])
@pytest.mark.usefixtures("quick")
def test_an_answer_that_is_cut_or_no_http_is_asked_for_again(trouble):
    with serving(trouble, SECRET) as server:
        assert read(ARN, environ(server.url)) == TEXT
        assert len(server.asked) == 2


def test_a_server_that_drips_is_given_up_all_the_same():
    stop = threading.Event()

    def drip(handler, body):
        while not stop.wait(0.05):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return SECRET

    with serving(drip) as server:
        try:
            assert "no answer in 0.5 s" in refusal_of(ARN, environ(server.url), time_limit=0.5)
        finally:
            stop.set()


# TLS


def test_a_read_over_tls_imports_no_codec_for_names(authority, authority_file):
    code = "import os, sys; from handler.secret.reader import SecretReader\n"
    code += f"reader = SecretReader({ARN!r}, os.environ); reader.start(); reader.text()\n"
    code += "print(sorted({'encodings.idna', 'ssl'} & set(sys.modules)))"
    with serving(SECRET, tls=authority.issue_cert("127.0.0.1")) as server:
        variables = environ(server.url.replace("http:", "https:"), AWS_CA_BUNDLE=authority_file)
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "['ssl']\n", done.stderr


def test_tls_with_an_authority_of_ones_own(authority, authority_file):
    with serving(SECRET, tls=authority.issue_cert("127.0.0.1")) as server:
        url = server.url.replace("http:", "https:")
        assert read(ARN, environ(url, AWS_CA_BUNDLE=authority_file)) == TEXT
        assert read(ARN, environ(url, SSL_CERT_FILE=authority_file)) == TEXT


@pytest.mark.parametrize("name", ["another authority", "another host", "the public authorities"])
def test_a_wrong_certificate_is_refused_without_a_second_attempt(authority, authority_file, name):
    signer = trustme.CA() if name == "another authority" else authority
    certificate = signer.issue_cert("localhost" if name == "another host" else "127.0.0.1")
    more = {} if name == "the public authorities" else {"AWS_CA_BUNDLE": authority_file}
    with serving(SECRET, tls=certificate) as server:
        url = server.url.replace("http:", "https:")
        text = refusal_of(ARN, environ(url, **more))
        assert "certificate of 127.0.0.1 is not trusted" in text
        assert "AWS_CA_BUNDLE" in text
        assert not server.asked


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_an_unusable_bundle_is_named(tmp_path, content):
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    text = refusal_of(ARN, environ("https://127.0.0.1", AWS_CA_BUNDLE=str(bundle)))
    assert f"AWS_CA_BUNDLE isn't a file of certificates: {bundle}" in text


def test_the_packages_directory_of_authorities_is_used_where_none_is_named(
    authority, authority_file, tmp_path, monkeypatch
):
    write_directory(Path(authority_file), tmp_path / "certificates")
    monkeypatch.setattr(signed_call, "CERTIFICATES", tmp_path / "certificates")
    with serving(SECRET, tls=authority.issue_cert("127.0.0.1")) as server:
        url = server.url.replace("http:", "https:")
        assert read(ARN, environ(url)) == TEXT
    with serving(SECRET, tls=trustme.CA().issue_cert("127.0.0.1")) as server:
        url = server.url.replace("http:", "https:")
        assert "is not trusted" in refusal_of(ARN, environ(url))


def test_without_a_package_the_public_authorities_are_certifis():
    import certifi

    assert signed_call._public_authorities() == certifi.where()


def test_a_proxy_for_the_bots_own_calls_is_not_asked():
    with serving(SECRET) as server, serving((500, b"")) as proxy:
        variables = {"HTTP_PROXY": proxy.url, "http_proxy": proxy.url}
        assert read(ARN, environ(server.url, **variables)) == TEXT
        assert not proxy.asked


# The environment


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov", "aws-eusc"])
def test_a_regions_endpoint_is_botocores(partition):
    session = boto3.Session(KEY_ID, KEY)
    available = session.get_available_regions("secretsmanager", partition)
    regions = [region for region in available if "fips" not in region]
    assert regions
    for region in regions[::8]:
        arn = f"arn:{partition}:secretsmanager:{region}:123456789012:secret:bot-AbCdEf"
        ours = secret_reader._prepare(arn, CREDENTIALS)
        theirs = session.client("secretsmanager", region).meta.endpoint_url
        assert ours.endpoint.geturl() == f"{theirs}/"
        assert ours.region == region


def test_secrets_managers_own_endpoint_goes_before_the_general_one():
    with serving(SECRET) as server:
        found = environ(f"http://{CLOSED}", AWS_ENDPOINT_URL_SECRETS_MANAGER=server.url)
        assert read(ARN, found) == TEXT


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set"),
        ({"AWS_SECRET_ACCESS_KEY": " "}, "AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set"),
        ({"AWS_SESSION_TOKEN": f"{TOKEN}\r\nx: y"}, "has invalid characters"),
        ({"AWS_SECRET_ACCESS_KEY": f"{KEY}é"}, "has invalid characters"),
        (
            {"AWS_ENDPOINT_URL": f"ftp://{KEY}@host"},
            "AWS_ENDPOINT_URL isn't an http or https address",
        ),
        ({"AWS_ENDPOINT_URL": "localhost:80"}, "AWS_ENDPOINT_URL isn't an http or https address"),
        (
            {"AWS_ENDPOINT_URL": "http://host:http"},
            "AWS_ENDPOINT_URL isn't an http or https address",
        ),
        ({"AWS_ENDPOINT_URL": "http://[::1"}, "AWS_ENDPOINT_URL isn't an http or https address"),
        (
            {"AWS_ENDPOINT_URL": "http://host/a b"},
            "AWS_ENDPOINT_URL isn't an http or https address",
        ),
    ],
)
def test_a_missing_or_wrong_variable_is_named_and_not_shown(change, text):
    assert text in refusal_of(ARN, {**environ(f"http://{CLOSED}"), **change})


def test_a_name_needs_the_functions_region():
    assert "AWS_REGION is not set" in refusal_of("name", environ(f"http://{CLOSED}"))


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:secretsmanager:eu-west-1:123456789012",
        "arn:aws:ssm:eu-west-1:123456789012:parameter/key",
        "arn:aws:s3:::bucket",
    ],
)
def test_another_services_arn_is_refused(arn):
    text = refusal_of(arn, environ(f"http://{CLOSED}", AWS_REGION="eu-west-1"))
    assert "isn't the ARN of a secret" in text


# In the background


def test_a_reader_asks_while_others_work():
    with serving(SECRET) as server:
        reader = SecretReader(ARN, environ(server.url))
        reader.start()
        assert reader.text() == TEXT
        assert reader.text() == TEXT
        assert len(server.asked) == 1


def test_a_reader_raises_where_its_text_is_wanted():
    reader = SecretReader(ARN, {})
    reader.start()
    for _ in range(2):
        with pytest.raises(SecretUnreadable, match="is not set"):
            reader.text()


def test_a_reader_starts_where_the_environment_names_a_secret():
    with serving(SECRET) as server:
        reader = SecretReader.started(environ(server.url, ACCESS_KEY_SECRET_ARN=ARN))
        assert reader.text() == TEXT
    assert SecretReader.started(CREDENTIALS) is None
    assert SecretReader.started({**CREDENTIALS, "ACCESS_KEY_SECRET_ARN": ""}) is None


def test_a_fresh_text_is_asked_for_again():
    def answer(text):
        return 200, json.dumps({"SecretString": text}).encode()

    with serving(answer("first"), answer("second"), answer("third")) as server:
        reader = SecretReader(ARN, environ(server.url))
        reader.start()
        assert reader.text() == "first"
        assert reader.fresh_text() == "second"
        assert reader.fresh_text() == "third"


def test_a_fresh_text_is_waited_for_3_seconds_as_a_user_waits_too():
    with serving(SECRET) as server, socket.create_server(("127.0.0.1", 0)) as silent:
        reader = SecretReader(ARN, environ(server.url))
        reader.start()
        reader.text()
        reader._environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SecretUnreadable, match=r"no answer in 3.0 s"):
            reader.fresh_text()


def test_credentials_do_not_show_themselves():
    assert KEY not in repr(Credentials(KEY_ID, KEY, TOKEN))
    assert TOKEN not in repr(Credentials(KEY_ID, KEY, TOKEN))


def test_nothing_heavy_is_imported_on_the_way():
    script = (
        "import json, sys\n"
        "from handler.secret.reader import SecretReader\n"
        "reader = SecretReader(sys.argv[1], json.loads(sys.argv[2]))\n"
        "reader.start()\n"
        "assert reader.text()\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    with serving(SECRET) as server:
        run = subprocess.run(
            [sys.executable, "-c", script, ARN, json.dumps(environ(server.url))],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    heavy = {"boto3", "botocore", "httpx", "requests", "urllib3", "certifi", "asyncio", "pydantic"}
    assert not heavy & set(run.stdout.split())
