"""The local AWS answers to this run's credentials, and to no other: other users of the machine,
and web pages."""

import contextlib
import functools
import http.client
import http.server
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from playwright.sync_api import sync_playwright

from infra.toolchain.folders import ROOT
from local.aws import ministack as module
from local.aws.ministack import ACCOUNT, REGION, MiniStack, installed, ministack
from tests.support.page import browser_path

ROLE = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
STRANGER = "a-stranger"
CALLS = {  # one of each protocol: query, JSON, REST with JSON, REST with XML
    "sts": "get_caller_identity",
    "secretsmanager": "list_secrets",
    "lambda": "list_functions",
    "s3": "list_buckets",
}
UNKNOWN, UNSIGNED = "UnrecognizedClientException", "MissingAuthenticationTokenException"
BADLY_SIGNED = "InvalidSignatureException"


class Aws:
    """The local AWS, with clients for it."""

    def __init__(self, served: MiniStack, folder: Path) -> None:
        self.served, self.folder = served, folder
        self.address = urlsplit(served.endpoint)
        mine = served.credentials
        self.keys = (mine.access_key_id, mine.secret_access_key, mine.session_token)

    def client(self, service: str, *keys: str | None) -> Any:
        return boto3.Session(*(keys or self.keys), region_name=REGION).client(
            service,
            endpoint_url=self.served.endpoint,
            config=Config(retries={"max_attempts": 1}, proxies={}),
        )

    def send(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, str]:
        """As a stranger would, byte for byte: the status, and AWS's name for the error."""
        assert self.address.port
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.address.port, timeout=30)
        ) as connection:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            given = {"host": self.address.netloc, "content-length": str(len(body))}
            for name, value in {**given, **(headers or {})}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            reply = connection.getresponse()
            reply.read()
            return reply.status, reply.headers.get("x-amzn-errortype", "")

    def signed(self, body: bytes, host: str = "") -> dict[str, str]:
        """The headers of a CreateSecret that is signed as it should be."""
        headers = {
            "host": host or self.address.netloc,
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": "secretsmanager.CreateSecret",
        }
        request = AWSRequest("POST", f"http://{headers['host']}/", headers, body)
        SigV4Auth(Credentials(*self.keys), "secretsmanager", REGION).add_auth(request)
        return dict(request.headers.items())

    def log(self) -> str:
        return (self.folder / "ministack.log").read_text()

    def secrets(self) -> list[str]:
        return [each["Name"] for each in self.client("secretsmanager").list_secrets()["SecretList"]]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    folder = tmp_path_factory.mktemp("local-aws") / "aws"
    with ministack(folder) as served:
        yield Aws(served, folder)


def code_of(call: Any, **named: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**named)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return str(caught.value.response["Error"]["Code"])


def test_its_environment_has_the_python_that_runs_whichever_uv_prefers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUILD", tmp_path)
    monkeypatch.setenv("UV_PYTHON", "3.99")  # as .python-version on a machine without that one
    version = [installed(), "-c", "import sys; print(sys.version)"]
    assert subprocess.run(version, capture_output=True, text=True).stdout.strip() == sys.version


CREATE = json.dumps({"Name": STRANGER, "SecretString": "{}"}).encode()


@pytest.mark.parametrize(("service", "call"), CALLS.items())
def test_this_runs_credentials_open_every_service(aws: Aws, service: str, call: str) -> None:
    assert getattr(aws.client(service), call)()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_odd_names_and_queries_are_signed_as_clients_sign_them(aws: Aws) -> None:
    s3, key = aws.client("s3"), "a b/ü+~*'(1)//.txt"
    s3.create_bucket(Bucket="odd")
    s3.put_object(Bucket="odd", Key=key, Body=b"x" * 100_000)
    assert len(s3.get_object(Bucket="odd", Key=key)["Body"].read()) == 100_000
    found = s3.list_objects_v2(Bucket="odd", Prefix="a b/ü+", Delimiter="")
    assert [each["Key"] for each in found["Contents"]] == [key]
    name = "arn:aws:lambda:us-east-1:123456789012:function:nothing"
    with pytest.raises(ClientError, match="ResourceNotFound"):
        aws.client("lambda").get_function(FunctionName=name, Qualifier="live")


@pytest.mark.parametrize("service", CALLS)
@pytest.mark.parametrize(
    ("key_id", "secret", "token", "error"),
    [
        ("testing", "testing", None, UNKNOWN),
        ("test", "test", None, UNKNOWN),  # MiniStack's own root
        (ACCOUNT, "right", "right", UNKNOWN),  # and another
        ("ASIAINVENTED", "right", "right", UNKNOWN),
        ("right", "right", None, UNKNOWN),
        ("right", "right", "invented", UNKNOWN),
        ("right", "invented", "right", BADLY_SIGNED),
    ],
)
def test_invented_credentials_open_nothing(
    aws: Aws, service: str, key_id: str, secret: str, token: str | None, error: str
) -> None:
    given = [
        mine if each == "right" else each
        for each, mine in zip((key_id, secret, token), aws.keys, strict=True)
    ]
    assert code_of(getattr(aws.client(service, *given), CALLS[service])) == error


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/_localstack/health"),
        ("POST", "/_ministack/reset"),
        ("POST", "/_ministack/config"),
        ("GET", f"/_ministack/lambda-code/{ACCOUNT}/{REGION}/x"),
        ("PUT", "/_ministack/cfn-response/guessed"),
        ("PUT", "/a-bucket"),
        ("OPTIONS", "/"),
        ("GET", "/a-bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"),
        ("POST", "/?Action=CreateStack&StackName=x"),
        ("POST", "//_ministack/reset"),
        ("POST", "/%5fministack/reset"),
    ],
)
def test_whatever_is_unsigned_is_refused_administration_too(
    aws: Aws, method: str, path: str
) -> None:
    aws.client("s3").create_bucket(Bucket="still-there")
    assert aws.send(method, path) == (403, UNSIGNED)
    buckets = [each["Name"] for each in aws.client("s3").list_buckets()["Buckets"]]
    assert "still-there" in buckets
    assert "a-bucket" not in buckets
    assert f"refused {method} {path.partition('?')[0]}: " in aws.log()


@pytest.mark.parametrize("authorization", ["AWS key:signature", "Bearer x", "AWS4-HMAC-SHA256 x"])
def test_other_kinds_of_authorization_are_refused(aws: Aws, authorization: str) -> None:
    headers = {"authorization": authorization}
    assert aws.send("GET", "/", headers) == (403, "IncompleteSignatureException")


@pytest.mark.parametrize(
    "host", ["attacker.example", "localhost", "localhost.attacker.example:{}", "127.0.0.1:1", ""]
)
def test_a_name_that_was_pointed_at_this_machine_is_refused_even_where_it_is_signed(
    aws: Aws, host: str
) -> None:
    """DNS rebinding."""
    host = host.format(aws.address.port)
    headers = aws.signed(CREATE, host) | {"host": host}
    assert aws.send("POST", "/", headers, CREATE) == (403, "AccessDenied")
    assert STRANGER not in aws.secrets()


@pytest.mark.parametrize("origin", ["null", "http://localhost:1", "https://attacker.example", ""])
def test_any_origin_is_refused_even_where_it_is_signed(aws: Aws, origin: str) -> None:
    headers = aws.signed(CREATE) | {"origin": origin}
    assert aws.send("POST", "/", headers, CREATE) == (403, "AccessDenied")
    assert STRANGER not in aws.secrets()


def test_a_signature_is_good_for_its_own_request_alone(aws: Aws) -> None:
    headers, other = aws.signed(CREATE), CREATE.replace(b"{}", b"{ }")
    replayed = {
        "another body": ("POST", "/", headers, other),
        "another path": ("POST", "/x", headers, CREATE),
        "another query": ("POST", "/?Action=x", headers, CREATE),
        "another method": ("PUT", "/", headers, CREATE),
        "another host": ("POST", "/", headers | {"host": f"127.0.0.1:{aws.address.port}"}, CREATE),
        "another action": (
            "POST",
            "/",
            headers | {"x-amz-target": "secretsmanager.DeleteSecret"},
            CREATE,
        ),
        "a body said to be unsigned": (
            "POST",
            "/",
            headers | {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"},
            other,
        ),
    }
    for what, request in replayed.items():
        assert (what, *aws.send(*request)) == (what, 403, BADLY_SIGNED)
    assert STRANGER not in aws.secrets()
    assert aws.send("POST", "/", headers, CREATE)[0] == 200
    aws.client("secretsmanager").delete_secret(SecretId=STRANGER, ForceDeleteWithoutRecovery=True)


def test_what_sts_gave_to_a_caller_of_this_run_opens_it_too(aws: Aws) -> None:
    role = aws.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(ROLE))
    given = aws.client("sts").assume_role(RoleArn=role["Role"]["Arn"], RoleSessionName="session")
    keys = [given["Credentials"][n] for n in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    assert aws.client("sts", *keys).get_caller_identity()["Arn"].endswith("assumed-role/r/session")
    assert code_of(aws.client("s3", keys[0], "invented", keys[2]).list_buckets) == BADLY_SIGNED
    assert code_of(aws.client("s3", *keys[:2]).list_buckets) == UNKNOWN


@pytest.fixture(scope="module")
def function(aws: Aws) -> dict[str, Any]:
    """One that MiniStack itself can run; it gives its credentials away."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("index.py", FUNCTION)
    role = aws.client("iam").create_role(RoleName="f", AssumeRolePolicyDocument=json.dumps(ROLE))
    aws.client("lambda").create_function(
        FunctionName="f",
        Runtime="python3.13",
        Handler="index.handler",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": archive.getvalue()},
    )
    got: dict[str, Any] = aws.client("lambda").get_function(FunctionName="f")
    return got


FUNCTION = """
import os
NAMES = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
def handler(event, context):
    return [os.environ[name] for name in NAMES]
"""


def test_a_packages_link_downloads_it_and_opens_nothing_else(
    aws: Aws, function: dict[str, Any]
) -> None:
    link = function["Code"]["Location"]
    with urllib.request.urlopen(link) as reply:
        assert zipfile.ZipFile(io.BytesIO(reply.read())).namelist() == ["index.py"]
    url = urlsplit(link)
    token = link.rpartition("token=")[2]
    assert len(token) == 64
    guesses = [url.path, f"{url.path}?token=", f"{url.path}?token={token[:-1]}", f"/?token={token}"]
    for path in [*guesses, f"{url.path}x?token={token}"]:
        assert aws.send("GET", path) == (403, UNSIGNED)
    assert aws.send("POST", f"{url.path}?token={token}") == (403, UNSIGNED)


def test_a_function_that_ministack_runs_has_credentials_that_cannot_be_computed(
    aws: Aws, function: dict[str, Any]
) -> None:
    def credentials() -> list[str]:
        given = aws.client("lambda").invoke(FunctionName="f")["Payload"].read()
        return list(json.loads(given))

    keys = credentials()
    assert not set(keys) & {ACCOUNT, *aws.keys}
    assert aws.client("sts", *keys).get_caller_identity()["Arn"].endswith("assumed-role/f/f")
    aws.client("lambda").update_function_configuration(FunctionName="f", MemorySize=256)
    assert not set(credentials()) & set(keys)


CUSTOM = """
import json, urllib.request
def handler(event, context):
    names = ("StackId", "RequestId", "LogicalResourceId")
    answer = {"Status": "SUCCESS", "PhysicalResourceId": "x", **{n: event[n] for n in names}}
    url, body = event["ResponseURL"], json.dumps(answer).encode()
    urllib.request.urlopen(urllib.request.Request(url, body, method="PUT"))
"""
TEMPLATE = {
    "Resources": {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": ROLE}},
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": "python3.13",
                "Handler": "index.handler",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Code": {"ZipFile": CUSTOM},
            },
        },
        "Custom": {
            "Type": "Custom::Thing",
            "Properties": {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}},
        },
    }
}


def test_a_custom_resource_of_a_bots_stack_answers_by_the_link_that_it_is_given(aws: Aws) -> None:
    stacks = aws.client("cloudformation")
    stacks.create_stack(StackName="Custom", TemplateBody=json.dumps(TEMPLATE))
    waiter = stacks.get_waiter("stack_create_complete")
    waiter.wait(StackName="Custom", WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_a_websocket_is_refused(aws: Aws) -> None:
    gateway = aws.client("apigatewayv2")
    api = gateway.create_api(
        Name="w", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
    )["ApiId"]
    gateway.create_stage(ApiId=api, StageName="live", AutoDeploy=True)
    headers = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    }
    assert aws.send("GET", f"/_aws/execute-api/{api}/live", headers)[0] == 403


@contextlib.contextmanager
def another_site(folder: Path) -> Iterator[str]:
    """A page of an origin of its own, on loopback, from where browsers let most requests pass."""
    (folder / "index.html").write_text("<!doctype html><p>A page.")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/index.html"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.browser
def test_a_web_page_changes_nothing(aws: Aws, tmp_path: Path) -> None:
    """What a page can send without asking: forms, plain fetches, a WebSocket."""
    target = f"127.0.0.1:{aws.address.port}"
    tries = f"""async () => {{
        const send = (path, more) => fetch("http://{target}" + path, {{mode: "no-cors", ...more}})
        const form = new URLSearchParams({{Action: "CreateTopic", Name: "{STRANGER}"}})
        await send("/", {{method: "POST", body: form}})
        await send("/_ministack/reset", {{method: "POST"}})
        await send("/?Action=CreateTopic&Name={STRANGER}")
        await fetch("http://{target}/{STRANGER}", {{method: "PUT"}}).catch(() => 0)
        const socket = new WebSocket("ws://{target}/_aws/execute-api/a/b")
        return await new Promise(over => {{
            socket.onopen = () => over("open")
            socket.onerror = () => over("refused")
        }})
    }}"""
    aws.client("sns").create_topic(Name="kept")
    before = aws.log()
    with another_site(tmp_path) as site, sync_playwright() as tools:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = tools.chromium.launch(executable_path=browser_path(), args=flags)
        page = browser.new_page()
        page.goto(site)
        assert page.evaluate(tries) == "refused"
        browser.close()
    refused = aws.log().removeprefix(before)
    for start in ("POST /:", "POST /_ministack/reset:", "GET /:", "OPTIONS /", "GET /_aws"):
        assert f"refused {start}" in refused
    topics = [each["TopicArn"] for each in aws.client("sns").list_topics()["Topics"]]
    assert topics == [f"arn:aws:sns:{REGION}:{ACCOUNT}:kept"]


def test_its_folder_is_this_users_and_no_command_line_shows_a_credential(aws: Aws) -> None:
    assert aws.folder.stat().st_mode & 0o777 == 0o700
    shown = b""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            shown += file.read_bytes()
    assert b"ministack_start.py" in shown
    assert not [key for key in aws.keys if key.encode() in shown or key in aws.log()]


@pytest.mark.skipif(shutil.which("ss") is None, reason="ss of iproute2 isn't installed")
def test_it_listens_on_loopback_alone_and_on_one_port(aws: Aws) -> None:
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    (process,) = {
        found[0]
        for line in listening.splitlines()
        if f":{aws.address.port} " in line and (found := re.search(r"pid=\d+", line))
    }
    its = [line.split()[3] for line in listening.splitlines() if f"{process}," in line]
    assert its == [f"127.0.0.1:{aws.address.port}"]


STARTER = """
import sys, time
from pathlib import Path
from local.aws.ministack import ministack
with ministack(Path(sys.argv[1])) as served:
    print(served.endpoint, flush=True)
    time.sleep(300)
"""


def test_it_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path / "aws")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        port = urlsplit(starter.stdout.readline().strip()).port
        starter.send_signal(signal.SIGKILL)
    assert port
    while True:  # until the last process that listens has ended
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
