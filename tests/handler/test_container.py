"""Credentials by an endpoint, as Lambda gives them under SnapStart."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from handler.secret.container import current_credentials
from handler.secret.reader import SecretReader, SecretUnreadable
from handler.secret.signed_call import BadVariable, NoCredentials
from tests.support.closed import CLOSED

URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
DOCUMENT = {"AccessKeyId": "ASIA1", "SecretAccessKey": "s", "Token": "t", "Expiration": "later"}
VARIABLES = {"AWS_ACCESS_KEY_ID": "ASIA1", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:bot-AbCdEf"


class Endpoint:
    """Gives one answer after another, the last one for ever; `asked` has targets and tokens."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, str | None]] = []


@contextmanager
def serving(*answers: tuple[int, bytes]) -> Iterator[Endpoint]:
    left = [*answers]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            endpoint.asked.append((self.path, self.headers["Authorization"]))
            status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Location", f"http://{CLOSED}/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/credentials?of=me")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(**changes: object) -> tuple[int, bytes]:
    return 200, json.dumps({**DOCUMENT, **changes}).encode()


def test_the_endpoint_is_asked_with_the_token() -> None:
    with serving(answer()) as endpoint:
        assert current_credentials({URI: endpoint.url, TOKEN: "open sesame".replace(" ", "-")})
        assert current_credentials({URI: endpoint.url}) == VARIABLES
    target = "/credentials?of=me"
    assert endpoint.asked == [(target, "open-sesame"), (target, None)]


def test_what_the_endpoint_leaves_out_is_not_taken_from_elsewhere() -> None:
    document = json.dumps({"AccessKeyId": "ASIA1", "SecretAccessKey": "s"}).encode()
    with serving((200, document)) as endpoint:
        assert current_credentials({URI: endpoint.url, **VARIABLES})["AWS_SESSION_TOKEN"] == ""


@pytest.mark.parametrize("host", ["localhost", "[::1]", "127.8.9.1", "169.254.170.2", "[fe80::1]"])
def test_loopback_and_link_local_addresses_are_accepted(host: str, monkeypatch) -> None:
    asked = []

    class Connection:
        def __init__(self, name: str, port: int, timeout: float) -> None:
            asked.append((name, port))
            raise OSError

    monkeypatch.setattr("http.client.HTTPConnection", Connection)
    with pytest.raises(NoCredentials):
        current_credentials({URI: f"http://{host}/"})
    assert asked == [(host.strip("[]"), 80)]


@pytest.mark.parametrize(
    "address",
    [
        "http://bot.example/",
        "http://127.0.0.1.bot.example/",
        "http://127.0.0.1@bot.example/",
        "http://192.0.2.1/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://[fd00:ec2::23]/",
        "http://[::ffff:192.0.2.1]/",
        "http://2130706433/",
        "https://127.0.0.1/",
        "file:///etc/passwd",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/a b",
        "http://[127.0.0.1/",
        "127.0.0.1",
    ],
)
def test_no_other_address_learns_the_token(address: str) -> None:
    with pytest.raises(BadVariable, match="isn't an http address of this machine") as raised:
        current_credentials({URI: address, TOKEN: "t"})
    assert address not in str(raised.value)


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "ä"])
def test_a_token_that_no_header_can_hold_is_not_sent(token: str) -> None:
    with serving(answer()) as endpoint, pytest.raises(BadVariable) as raised:
        current_credentials({URI: endpoint.url, TOKEN: token})
    assert token not in str(raised.value)
    assert not endpoint.asked


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((401, b"{}"), "status 401"),
        ((302, b""), "status 302"),
        ((200, b"no JSON"), "no JSON object"),
        ((200, b"[" * 100_000), "no JSON object"),
        ((200, b"[]"), "no JSON object"),
        ((200, b" " * 70_000 + answer()[1]), "no JSON object"),
        (answer(AccessKeyId=None), "a member that isn't text"),
        (answer(Token=1), "a member that isn't text"),
        ((200, b"{}"), "no AccessKeyId or no SecretAccessKey"),
        (answer(AccessKeyId=""), "no AccessKeyId or no SecretAccessKey"),
        (answer(SecretAccessKey=""), "no AccessKeyId or no SecretAccessKey"),
        (answer(AccessKeyId="A\r\nX: y"), "a member with invalid characters"),
        (answer(Token="t t"), "a member with invalid characters"),
    ],
)
def test_an_answer_without_credentials(given: tuple[int, bytes], words: str) -> None:
    with serving(given) as endpoint, pytest.raises(NoCredentials) as raised:
        current_credentials({URI: endpoint.url})
    assert str(raised.value) == words


def read(environ: dict[str, str]) -> str:
    reader = SecretReader(ARN, {"AWS_ENDPOINT_URL": f"http://{CLOSED}", **environ})
    reader.start()
    return reader.text()


def test_the_secrets_reader_asks_again_and_then_says_that_there_are_none() -> None:
    with serving((500, b"")) as endpoint, pytest.raises(SecretUnreadable) as raised:
        read({URI: endpoint.url})
    assert len(endpoint.asked) == 3
    assert f"the secret {ARN}: Lambda gives no credentials (asked 3 times" in str(raised.value)
    assert "at last status 500" in str(raised.value)


def test_an_answer_without_keys_is_asked_for_again_and_names_no_variable() -> None:
    with serving((200, b"{}")) as endpoint, pytest.raises(SecretUnreadable) as raised:
        read({URI: endpoint.url})
    assert len(endpoint.asked) == 3
    assert "at last no AccessKeyId or no SecretAccessKey" in str(raised.value)
    assert "AWS_ACCESS_KEY_ID" not in str(raised.value)


def test_the_endpoint_goes_before_variables_which_would_be_the_snapshots() -> None:
    with serving((500, b"")) as endpoint, pytest.raises(SecretUnreadable, match="no credentials"):
        read({URI: endpoint.url, **VARIABLES})


def test_an_address_elsewhere_is_not_asked_again() -> None:
    with pytest.raises(SecretUnreadable, match="cannot read the secret .* isn't an http address"):
        read({URI: "http://bot.example/"})


def test_endpoint_and_token_are_looked_up_for_each_read() -> None:
    environ = {"AWS_ENDPOINT_URL": f"http://{CLOSED}", URI: f"http://{CLOSED}/", TOKEN: "old"}
    reader = SecretReader(ARN, environ)
    with serving(answer()) as endpoint:
        environ |= {URI: endpoint.url, TOKEN: "first"}
        with pytest.raises(SecretUnreadable):
            reader.fresh_text()
        environ[TOKEN] = "second"
        with pytest.raises(SecretUnreadable):
            reader.fresh_text()
    assert {token for _, token in endpoint.asked} == {"first", "second"}
