"""A Secrets Manager that gives the answers it is told to, and reads of it."""

import contextlib
import http.server
import json
import ssl
import threading
from datetime import UTC, datetime

import pytest

from handler.secret.reader import SecretReader, SecretUnreadable

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
