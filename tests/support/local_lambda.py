"""Small functions for the local Lambda's tests, and a runtime client that knows nothing of ours."""

import sys
import textwrap
from pathlib import Path

from local.aws_lambda.service import FunctionConfig

BOOTSTRAP = """\
#!/bin/sh
exec "$1" -u function.py
"""

# A runtime client on http.client and sockets alone, for the functions to import.
RUNTIME = '''\
import base64, http.client, json, os, socket, sys, time

AUTHORITY, _, PATH = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
HOST, PORT = AUTHORITY.split(":")
BASE = f"/{PATH}/2018-06-01/runtime"
PRELUDE = "application/vnd.awslambda.http-integration-response"
poll = http.client.HTTPConnection(HOST, int(PORT))
echo = {}  # what an answer has to send back


def next_invocation():
    """(id, event, headers)"""
    poll.request("GET", BASE + "/invocation/next")
    reply = poll.getresponse()
    body = reply.read()
    assert reply.status == 200, (reply.status, body)
    token = "Lambda-Runtime-Invocation-Id"
    echo[token] = reply.headers[token]
    return reply.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(body), reply.headers


def post(path, body=b"", headers={}):
    """(status, document)"""
    connection = http.client.HTTPConnection(HOST, int(PORT))
    connection.request("POST", BASE + path, body, echo | headers)
    reply = connection.getresponse()
    result = reply.status, json.loads(reply.read())
    connection.close()
    return result


def respond(id, value):
    return post(f"/invocation/{id}/response", json.dumps(value).encode())


class Stream:
    """A streamed response by hand, so that every byte's chunk is chosen here."""

    def __init__(self, id, content_type=PRELUDE):
        self.socket = socket.create_connection((HOST, int(PORT)))
        self.socket.sendall((
            f"POST {BASE}/invocation/{id}/response HTTP/1.1\\r\\nHost: {AUTHORITY}\\r\\n"
            "Lambda-Runtime-Function-Response-Mode: streaming\\r\\n"
            f"Lambda-Runtime-Invocation-Id: {echo['Lambda-Runtime-Invocation-Id']}\\r\\n"
            f"Content-Type: {content_type}\\r\\nTransfer-Encoding: chunked\\r\\n"
            "Trailer: Lambda-Runtime-Function-Error-Type\\r\\n"
            "Trailer: Lambda-Runtime-Function-Error-Body\\r\\n\\r\\n"
        ).encode())

    def head(self, status=200, headers={}, cookies=()):
        prelude = {"statusCode": status, "headers": headers, "cookies": list(cookies)}
        self.chunk(json.dumps(prelude).encode() + bytes(8))

    def chunk(self, data):
        self.socket.sendall(b"%x\\r\\n%b\\r\\n" % (len(data), data))

    def end(self, trailers=""):
        self.socket.sendall(f"0\\r\\n{trailers}\\r\\n".encode())
        return self.reply()

    def fail(self, error_type, document):
        body = base64.b64encode(json.dumps(document).encode()).decode()
        return self.end(
            f"Lambda-Runtime-Function-Error-Type: {error_type}\\r\\n"
            f"Lambda-Runtime-Function-Error-Body: {body}\\r\\n"
        )

    def reply(self):
        reply = http.client.HTTPResponse(self.socket)
        reply.begin()
        result = reply.status, json.loads(reply.read())
        self.socket.close()
        return result
'''


def write_package(directory: Path, function: str) -> Path:
    """A package whose `function.py` runs after `from runtime import *`."""
    directory.mkdir(exist_ok=True)
    (directory / "bootstrap").write_text(BOOTSTRAP)
    (directory / "bootstrap").chmod(0o755)
    (directory / "runtime.py").write_text(RUNTIME)
    (directory / "function.py").write_text("from runtime import *\n" + textwrap.dedent(function))
    return directory


def function_config(package: Path, **changes: object) -> FunctionConfig:
    return FunctionConfig(package=package, python=Path(sys.executable), **changes)  # type: ignore[arg-type]
