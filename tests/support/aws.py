"""A deployed stack as the operator's commands see it, over real HTTP, and those as processes.

Secrets Manager and CloudWatch Logs are moto's. Its CloudFormation knows none of the stack's
resources, so that the calls to it, DescribeStacks and ListStackResources, are answered here.
"""

import http.server
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import boto3
from moto.server import ThreadedMotoServer

from infra.toolchain.folders import ROOT
from tests.support.closed import CLOSED
from tests.support.home import NOBODYS

KEY = "k" * 32
REGION = "us-east-1"
NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"
# All of moto's servers in one process share their content, so that a name may not come again.
_NUMBERS = itertools.count(1)

Answer = tuple[int, str]  # status and body


@dataclass(frozen=True)
class Stack:
    """A stack with the outputs of ours, whatever is behind its URL."""

    aws: "Aws"
    name: str
    arn: str
    log_group: str

    @property
    def environment(self) -> dict[str, str]:
        return self.aws.environment

    @property
    def secrets(self) -> Any:
        return self.aws.client("secretsmanager")

    @property
    def text(self) -> str:
        return self.current["SecretString"]

    @property
    def current(self) -> dict[str, Any]:
        return self.secrets.get_secret_value(SecretId=self.arn, VersionStage="AWSCURRENT")

    @property
    def members(self) -> dict[str, Any]:
        return json.loads(self.text)


class Aws:
    def __init__(
        self, moto: str, cloudformation: str, stacks: dict[str, Mapping[str, str]]
    ) -> None:
        self._moto = moto
        self._stacks = stacks
        self.environment = {
            "AWS_ENDPOINT_URL": moto,
            "AWS_ENDPOINT_URL_CLOUDFORMATION": cloudformation,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
        }

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._moto,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def stack(self, *, url: str = f"http://{CLOSED}/", text: str | None = None) -> Stack:
        """Make one, with this URL in its outputs and this text in its secret."""
        name = f"PoeBot-{next(_NUMBERS)}"
        text = json.dumps({"POE_ACCESS_KEY": KEY}) if text is None else text
        secret = self.client("secretsmanager").create_secret(Name=name, SecretString=text)
        made = Stack(self, name, secret["ARN"], f"/logs/{name}")
        self.client("logs").create_log_group(logGroupName=made.log_group)
        outputs = {"FunctionUrl": url, "SecretArn": made.arn, "LogGroup": made.log_group}
        self._stacks[name] = outputs
        return made


@contextmanager
def aws() -> Iterator[Aws]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    stacks: dict[str, Mapping[str, str]] = {}
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    try:
        with answering(lambda body: _describe_stacks(stacks, body)) as cloudformation:
            yield Aws(f"http://{host}:{port}", cloudformation, stacks)
    finally:
        moto.stop()


def _describe_stacks(stacks: Mapping[str, Mapping[str, str]], body: str) -> Answer:
    """API reference of CloudFormation, DescribeStacks and ListStackResources; their errors are in
    the query protocol's."""
    query = parse_qs(body)
    [name] = query["StackName"]
    if name not in stacks:
        message = f"Stack with id {name} does not exist"
        error = f"<Error><Code>ValidationError</Code><Message>{message}</Message></Error>"
        return 400, f'<ErrorResponse xmlns="{NAMESPACE}">{error}</ErrorResponse>'
    if query["Action"] == ["ListStackResources"]:
        return 200, _result("ListStackResources", "<StackResourceSummaries/>")
    outputs = "".join(
        f"<member><OutputKey>{key}</OutputKey><OutputValue>{escape(value)}</OutputValue></member>"
        for key, value in stacks[name].items()
    )
    stack = (
        f"<StackName>{name}</StackName><StackStatus>CREATE_COMPLETE</StackStatus>"
        "<CreationTime>2026-01-01T00:00:00Z</CreationTime>"
        f"<Outputs>{outputs}</Outputs>"
    )
    return 200, _result("DescribeStacks", f"<Stacks><member>{stack}</member></Stacks>")


def _result(action: str, result: str) -> str:
    result = f"<{action}Result>{result}</{action}Result>"
    return f'<{action}Response xmlns="{NAMESPACE}">{result}</{action}Response>'


@contextmanager
def answering(answer: Callable[[str], Answer]) -> Iterator[str]:
    """A server that answers each POST by what `answer` makes of its body; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, text = answer(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """A command's: these variables, and nothing of a person's."""
    nobodys = {"HOME": NOBODYS, "AWS_EC2_METADATA_DISABLED": "true", "PYTHONWARNINGS": "ignore"}
    return {"PATH": os.defpath, **nobodys, **variables}


def command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def run(
    module: str, *arguments: str, said: str = "", variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(module, *arguments),
        cwd=ROOT,
        env=environment(variables),
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
