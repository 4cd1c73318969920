"""A small proxy between the Runtime API and a web server: the shape of AWS's Lambda Web Adapter.

Sockets of the standard library and nothing else, so that what is measured is the shape. (The real
one is compiled, and costs less.) It starts uvicorn, where the adapter is started next to it.
"""

import json
import os
import socket
import subprocess
import sys

BASE = "/2018-06-01/runtime/invocation"
PRELUDE = b'{"statusCode": 200, "headers": {"content-type": "text/event-stream"}}'


def head_of(connection: socket.socket) -> tuple[bytes, bytes]:
    """A message's head, and what came in after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def field(head: bytes, name: bytes) -> bytes:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return next(value.strip() for key, _, value in lines if key.lower() == name)


def request(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def serve_one(polling: socket.socket, address: tuple[str, int], server: tuple[str, int]) -> None:
    polling.sendall(request("GET", f"{BASE}/next"))
    head, body = head_of(polling)
    while len(body) < int(field(head, b"content-length")):
        body += polling.recv(65536)
    event = json.loads(body)
    with socket.create_connection(address) as answer, socket.create_connection(server) as web:
        for connection in (answer, web):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        text = event["body"].encode()
        headers = [f"{name}: {value}" for name, value in event["headers"].items() if name != "host"]
        headers += [f"Content-Length: {len(text)}", "Connection: close"]
        web.sendall(request("POST", event["rawPath"], *headers) + text)
        request_id = field(head, b"lambda-runtime-aws-request-id").decode()
        mode = "Lambda-Runtime-Function-Response-Mode: streaming"
        path = f"{BASE}/{request_id}/response"
        answer.sendall(request("POST", path, mode, "Transfer-Encoding: chunked"))
        answer.sendall(chunk(PRELUDE))
        answer.sendall(chunk(b"\0" * 8))
        # The server's chunks are the answer's chunks, as they come.
        _, data = head_of(web)
        while data := data or web.recv(65536):
            answer.sendall(data)
            data = b""
        head_of(answer)


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = listener.getsockname()
        subprocess.Popen([sys.executable, "web_server.py", "asgi_app:app"], stdin=listener)
        host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
        address = host, int(port)
        with socket.create_connection(address) as polling:
            while True:
                serve_one(polling, address, server)


main()
