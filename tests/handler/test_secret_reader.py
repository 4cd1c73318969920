"""How the secret is read at a start: what it asks, what it gets over, what its errors say."""

import json
import socket
import subprocess
import sys
import threading

import boto3
import pytest
from moto.server import ThreadedMotoServer

from handler.secret import reader as secret_reader
from handler.secret import signed_call
from handler.secret.reader import SecretReader, SecretUnreadable
from handler.secret.signed_call import Credentials
from infra.toolchain.folders import ROOT
from tests.support.closed import CLOSED
from tests.support.secrets_double import (
    ARN,
    CREDENTIALS,
    KEY,
    KEY_ID,
    SECRET,
    TEXT,
    TOKEN,
    environ,
    error,
    read,
    refusal_of,
    serving,
)


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
