"""The secret of `make run`: it can be read with this run's credentials only."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from handler.secret.reader import SecretReader
from handler.secret.signed_call import Credentials, signed_headers
from local import secrets_manager
from local.secrets_manager import BODY_LIMIT, REGION, secret

pytestmark = pytest.mark.anyio

MEMBERS = {"POE_ACCESS_KEY": "k" * 32, "OTHER": "välue"}
GET = "secretsmanager.GetSecretValue"


@pytest.fixture
async def served():
    async with secret(MEMBERS) as made:
        yield made


def boto(served, **more):
    keys = served.credentials
    given = {
        "endpoint_url": served.endpoint,
        "region_name": REGION,
        "aws_access_key_id": keys.access_key_id,
        "aws_secret_access_key": keys.secret_access_key,
        "aws_session_token": keys.session_token,
    }
    config = Config(retries={"max_attempts": 1}, proxies={})
    return boto3.client("secretsmanager", config=config, **(given | more))


async def refusal(call, *arguments, **named):
    """AWS's name for the error that botocore's client meets."""
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(call, *arguments, **named)
    assert "k" * 32 not in str(caught.value)
    return caught.value.response["Error"]["Code"]


def signed(served, target=GET, body=None, now=None):
    """A request as the function sends it: headers and body."""
    body = json.dumps({"SecretId": served.arn}).encode() if body is None else body
    keys = served.credentials
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    now = now or datetime.now(UTC)
    return signed_headers(urlsplit(served.endpoint), REGION, target, body, credentials, now), body


async def sent(served, headers, body, *, method="POST", path="/"):
    """Status and AWS's name for the error, if it is one."""
    async with httpx.AsyncClient(trust_env=False) as client:
        headers = {**dict(headers), "accept": "*/*"}
        reply = await client.request(method, served.endpoint + path, headers=headers, content=body)
    assert reply.headers["content-type"] == "application/x-amz-json-1.1"
    document = reply.json()
    if reply.status_code != 200:
        assert "k" * 32 not in reply.text
    return reply.status_code, document.get("__type")


async def test_the_function_reads_it_with_the_variables_that_it_gets(served):
    reader = SecretReader(served.arn, served.environment)
    reader.start()
    assert json.loads(await asyncio.to_thread(reader.text)) == MEMBERS


async def test_a_bot_reads_it_by_boto3_with_the_same_variables(served, monkeypatch):
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    client = boto3.session.Session().client("secretsmanager")
    value = await asyncio.to_thread(client.get_secret_value, SecretId=served.arn)
    assert json.loads(value["SecretString"]) == MEMBERS
    assert (value["ARN"], value["VersionStages"]) == (served.arn, ["AWSCURRENT"])
    again = await asyncio.to_thread(
        client.get_secret_value,
        SecretId=served.arn,
        VersionId=value["VersionId"],
        VersionStage="AWSCURRENT",
    )
    assert again["SecretString"] == value["SecretString"]


@pytest.mark.parametrize("wrong", ["aws_access_key_id", "aws_session_token"])
async def test_credentials_that_were_invented_are_unknown(served, wrong):
    client = boto(served, **{wrong: "invented"})
    error = await refusal(client.get_secret_value, SecretId=served.arn)
    assert error == "UnrecognizedClientException"


async def test_a_key_without_its_token_is_unknown(served):
    client = boto(served, aws_session_token=None)
    error = await refusal(client.get_secret_value, SecretId=served.arn)
    assert error == "UnrecognizedClientException"


async def test_a_signature_by_another_key_is_refused(served):
    client = boto(served, aws_secret_access_key="invented")
    error = await refusal(client.get_secret_value, SecretId=served.arn)
    assert error == "InvalidSignatureException"


async def test_the_key_of_another_run_opens_nothing(served):
    async with secret(MEMBERS) as other:
        keys = other.credentials
        client = boto(
            served,
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
            aws_session_token=keys.session_token,
        )
        error = await refusal(client.get_secret_value, SecretId=served.arn)
        assert error == "UnrecognizedClientException"
        assert other.arn != served.arn


async def test_a_request_for_another_region_is_refused(served):
    client = boto(served, region_name="eu-west-1")
    with pytest.raises(ClientError, match="InvalidSignature.* scoped to .*/us-east-1/secrets"):
        await asyncio.to_thread(client.get_secret_value, SecretId=served.arn)


async def test_a_request_without_a_signature_is_refused(served):
    headers, body = signed(served)
    del headers["authorization"]
    assert await sent(served, headers, body) == (400, "MissingAuthenticationTokenException")
    headers["authorization"] = "Bearer x"
    assert await sent(served, headers, body) == (400, "IncompleteSignatureException")


async def test_the_signature_covers_body_and_headers(served):
    headers, body = signed(served)
    assert await sent(served, headers, body) == (200, None)
    assert await sent(served, headers, body + b" ") == (400, "InvalidSignatureException")
    changed = headers | {"x-amz-target": "secretsmanager.PutSecretValue"}
    assert await sent(served, changed, body) == (400, "InvalidSignatureException")
    added = headers | {"x-amz-unsigned": "1"}
    assert await sent(served, added, body) == (400, "InvalidSignatureException")
    twice = [*headers.items(), ("x-amz-target", GET + "s")]
    assert await sent(served, headers, body) == (200, None)
    async with httpx.AsyncClient(trust_env=False) as client:
        reply = await client.post(served.endpoint, headers=twice, content=body)
    assert reply.json()["__type"] == "InvalidSignatureException"


async def test_an_unsigned_host_is_refused_even_if_the_signature_fits_what_it_names(served):
    headers, body = signed(served)
    names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    fewer = names.replace("host;", "")
    headers["authorization"] = headers["authorization"].replace(names, fewer)
    async with httpx.AsyncClient(trust_env=False) as client:
        reply = await client.post(served.endpoint, headers=headers, content=body)
    assert reply.json()["Message"] == "These headers have to be signed: host"


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_an_old_signature_is_refused_and_so_is_one_of_the_future(served, minutes):
    now = datetime.now(UTC) + timedelta(minutes=minutes)
    assert await sent(served, *signed(served, now=now)) == (400, "InvalidSignatureException")
    now = datetime.now(UTC) + timedelta(minutes=minutes / 2)
    assert await sent(served, *signed(served, now=now)) == (200, None)


async def test_another_action_is_denied(served):
    client = boto(served)
    for call in (client.put_secret_value, client.update_secret):
        error = await refusal(call, SecretId=served.arn, SecretString="x")
        assert error == "AccessDeniedException"
    assert await refusal(client.list_secrets) == "AccessDeniedException"


async def test_another_secret_is_denied(served):
    client = boto(served)
    for name in ("poe-bot", served.arn + "x", served.arn.upper()):
        error = await refusal(client.get_secret_value, SecretId=name)
        assert error == "AccessDeniedException"


async def test_another_version_does_not_exist(served):
    client = boto(served)
    for version in ({"VersionStage": "AWSPREVIOUS"}, {"VersionId": "v" * 32}):
        error = await refusal(client.get_secret_value, SecretId=served.arn, **version)
        assert error == "ResourceNotFoundException"


@pytest.mark.parametrize(
    "strange",
    [
        {"host": "attacker.example"},
        {"host": "localhost:1"},
        {"origin": "http://127.0.0.1:9001"},
        {"origin": "null"},
        {"origin": ""},
    ],
)
async def test_a_web_page_gets_nothing_even_with_a_signature(served, strange):
    """DNS rebinding shows by the Host, any other page by its Origin."""
    headers, body = signed(served)
    assert await sent(served, headers | strange, body) == (403, "AccessDeniedException")


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9999",
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9999\r\nExpect: 100-continue",
        "POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked",
        "POST / HTTP/1.0\r\nContent-Length: 9999",
        "POST / HTTP/1.1\r\nContent-Length: 9999",
        "POST / HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\nContent-Length: 9999",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9999",
    ],
)
async def test_a_strangers_body_is_not_waited_for(served, head):
    host = urlsplit(served.endpoint).netloc
    reader, writer = await asyncio.open_connection(*host.split(":"))
    writer.write(f"{head.format(host=host)}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    assert answer.split()[1] in (b"400", b"403", b"404")


async def test_only_posts_to_its_one_path_are_served(served):
    headers, body = signed(served)
    assert await sent(served, headers, body, path="/x") == (404, "UnknownOperationException")
    assert await sent(served, headers, body, path="/?x=1") == (404, "UnknownOperationException")
    assert await sent(served, headers, body, method="PUT") == (404, "UnknownOperationException")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 10_000, b"\xff"])
async def test_a_body_that_is_not_a_json_object_is_refused(served, body):
    assert await sent(served, *signed(served, body=body)) == (400, "SerializationException")


async def test_a_body_beyond_the_limit_is_refused(served):
    value = {"SecretId": served.arn}
    fits = json.dumps(value).encode().ljust(BODY_LIMIT)
    assert await sent(served, *signed(served, body=fits)) == (200, None)
    error = (413, "RequestEntityTooLargeException")
    assert await sent(served, *signed(served, body=fits + b" ")) == error


async def test_it_listens_on_loopback_alone_and_ends_with_the_block():
    async with secret(MEMBERS) as made:
        url = urlsplit(made.endpoint)
        assert url.hostname == secrets_manager.HOST == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(url.hostname, url.port)


async def test_nothing_secret_is_in_its_repr(served):
    shown = repr(served)
    for value in (served.credentials.secret_access_key, served.credentials.session_token, "k" * 32):
        assert value not in shown
