"""A Secrets Manager of one secret, over TLS, 10 ms away.

Run as a program, so that its work is not the measuring process's: it takes a file with certificate
and key, prints its port, and serves until its input ends.
"""

import json
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:poe-bot-AbCdEf"
KEY = "k" * 32
DISTANCE = 0.010  # seconds
ANSWER = json.dumps({"ARN": ARN, "SecretString": json.dumps({"POE_ACCESS_KEY": KEY})}).encode()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(DISTANCE)
        self.send_response(200)
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # processes that are measured end without goodbye


def main(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
