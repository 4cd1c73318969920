"""The local Lambda's pure parts: events, answers and log lines, compared with `==`."""

import base64
import json

import pytest

from local.aws_lambda.answer import PreludeParser, ResponseHead, parse_payload, parse_prelude
from local.aws_lambda.event import UrlRequest, function_url_event
from local.aws_lambda.invocation import FunctionError, InvocationRecord, MalformedAnswer, Outcome
from local.aws_lambda.logs import exit_message, report_line, start_report_line

PRELUDE = b'{"statusCode": 201, "headers": {"X-A": "b"}, "cookies": ["c=d", "e=f"]}'
HEAD = ResponseHead(
    201,
    (
        ("x-a", "b"),
        ("content-type", "application/octet-stream"),
        ("set-cookie", "c=d"),
        ("set-cookie", "e=f"),
    ),
)


def request(method: str = "POST", target: str = "/", body: bytes = b"", *headers: tuple[str, str]):
    return UrlRequest(method, target, (("host", "x.test:80"), *headers), body, "10.0.0.1", 8080)


def event_of(url_request: UrlRequest) -> dict:
    return function_url_event(url_request, "the-id", "Root=1-a-b", now=1_700_000_000.5)


def test_a_prelude_is_found_wherever_the_stream_is_split():
    stream = PRELUDE + bytes(8) + b"bo\0dy"
    for split in range(len(stream) + 1):
        parser = PreludeParser()
        first, rest = stream[:split], stream[split:]
        parsed = parser.feed(first)
        if parsed is None:
            head, body = parser.feed(rest)
        else:
            head, body = parsed[0], parsed[1] + rest
        assert (head, body) == (HEAD, b"bo\0dy"), split


def test_a_prelude_that_comes_byte_by_byte_is_known_at_the_last_nul():
    parser = PreludeParser()
    parsed = [parser.feed(bytes([byte])) for byte in PRELUDE + bytes(8)]
    assert parsed == [None] * (len(PRELUDE) + 7) + [(HEAD, b"")]


@pytest.mark.parametrize(
    "stream",
    [
        PRELUDE + bytes(7) + b"x",
        b"no json" + bytes(8),
        b"[]" + bytes(8),
        b'{"statusCode": "200"}' + bytes(8),
        b'{"statusCode": 99}' + bytes(8),
        b'{"statusCode": 199}' + bytes(8),
        b'{"statusCode": 600}' + bytes(8),
        b'{"statusCode": true}' + bytes(8),
        b'{"headers": [1]}' + bytes(8),
        b'{"headers": {"a": "b\\r\\nc: d"}}' + bytes(8),
        b'{"headers": {"a": "b\\rc: d"}}' + bytes(8),
        b'{"headers": {"a": "b\\nc: d"}}' + bytes(8),
        b'{"headers": {"a": "b\\u0000c"}}' + bytes(8),
        b"x" * 2_000_000,
    ],
)
def test_a_malformed_prelude_is_refused_as_soon_as_it_shows(stream: bytes):
    with pytest.raises(MalformedAnswer):
        PreludeParser().feed(stream)


def test_framing_and_hop_by_hop_headers_are_dropped_and_www_authenticate_is_renamed():
    headers = {
        "Transfer-Encoding": "chunked",
        "Content-Length": "3",
        "Connection": "close",
        "WWW-Authenticate": "Basic",
        "Content-Type": "text/plain",
    }
    head = parse_prelude(json.dumps({"headers": headers}).encode())
    assert head.headers == (
        ("x-amzn-remapped-www-authenticate", "Basic"),
        ("content-type", "text/plain"),
    )


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (b'"a text"', b"a text"),
        (b'{"a": 1}', b'{"a": 1}'),
        (b"null", b"null"),
        (b'{"statusCode": 200, "body": "x"}', b"x"),
        (b'{"statusCode": 200, "body": "AAE=", "isBase64Encoded": true}', b"\0\1"),
        (b'{"statusCode": 200}', b""),
    ],
)
def test_a_buffered_answer_becomes_a_body(payload: bytes, body: bytes):
    assert parse_payload(payload) == (
        ResponseHead(200, (("content-type", "application/json"),)),
        body,
    )


@pytest.mark.parametrize(
    "payload", [b"", b'{"statusCode": 200, "body": "%", "isBase64Encoded": true}']
)
def test_a_buffered_answer_that_promises_too_much_is_malformed(payload: bytes):
    with pytest.raises(MalformedAnswer):
        parse_payload(payload)


def test_an_event_has_every_part_of_the_request_where_lambda_puts_it():
    event = event_of(
        request(
            "POST",
            "/a%20b?x=1&x=2&y=%20",
            b'{"a": 1}',
            ("content-type", "application/json"),
            ("user-agent", "agent"),
            ("x-many", "1"),
            ("x-many", "2"),
            ("cookie", "c=d; e=f"),
            ("connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
        )
    )
    assert event == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a%20b",
        "rawQueryString": "x=1&x=2&y=%20",
        "cookies": ["c=d", "e=f"],
        "headers": {
            "host": "x.test:80",
            "content-type": "application/json",
            "user-agent": "agent",
            "x-many": "1,2",
            "x-forwarded-for": "10.0.0.1",
            "x-forwarded-port": "8080",
            "x-forwarded-proto": "http",
            "x-amzn-trace-id": "Root=1-a-b",
        },
        "queryStringParameters": {"x": "1,2", "y": " "},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "x",
            "domainName": "x.test",
            "domainPrefix": "x",
            "http": {
                "method": "POST",
                "path": "/a%20b",
                "protocol": "HTTP/1.1",
                "sourceIp": "10.0.0.1",
                "userAgent": "agent",
            },
            "requestId": "the-id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "14/Nov/2023:22:13:20 +0000",
            "timeEpoch": 1700000000500,
        },
        "body": '{"a": 1}',
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize(
    ("host", "domain"),
    [("x.test", "x.test"), ("[::1]", "[::1]"), ("[::1]:80", "[::1]"), ("x.test:", "x.test")],
)
def test_the_domain_is_the_host_without_its_port(host: str, domain: str):
    url_request = UrlRequest("GET", "/", (("host", host),), b"", "10.0.0.1", 8080)
    context = event_of(url_request)["requestContext"]
    assert (context["domainName"], context["domainPrefix"]) == (domain, domain.split(".")[0])


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/octet-stream", b"\0\1"),
        ("application/json", '{"text": "…"}'.encode()),
        ("application/x-www-form-urlencoded", b"a=b"),
    ],
)
def test_a_body_that_is_no_ascii_text_comes_in_base64(content_type: str, body: bytes):
    event = event_of(request("POST", "/", body, ("content-type", content_type)))
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == body


def test_a_request_without_body_and_query_has_neither_in_its_event():
    event = event_of(request("GET", "/"))
    assert not {"body", "cookies", "queryStringParameters"} & event.keys()
    assert (event["rawQueryString"], event["isBase64Encoded"]) == ("", False)


def test_a_tunnels_forwarded_headers_are_kept():
    event = event_of(request("GET", "/", b"", ("x-forwarded-proto", "https")))
    assert event["headers"]["x-forwarded-proto"] == "https"


def test_report_lines_read_like_lambdas():
    done = InvocationRecord(
        "the-id", Outcome.DONE, duration_ms=12.344, init_ms=300.5, max_memory_mb=52
    )
    assert report_line(done, memory_mb=1024) == (
        "REPORT RequestId: the-id\tDuration: 12.34 ms\tBilled Duration: 313 ms\t"
        "Memory Size: 1024 MB\tMax Memory Used: 52 MB\tInit Duration: 300.50 ms"
    )
    error = FunctionError("Runtime.ExitError", {})
    gone = InvocationRecord("the-id", Outcome.EXIT, error, duration_ms=1, max_memory_mb=9)
    assert report_line(gone, memory_mb=128).endswith("Status: error\tError Type: Runtime.ExitError")
    late = InvocationRecord("the-id", Outcome.TIMEOUT, error, duration_ms=1, max_memory_mb=9)
    assert report_line(late, memory_mb=128).endswith("Status: timeout")
    assert start_report_line("init", 10.0, None) == (
        "INIT_REPORT Init Duration: 10.00 ms\tPhase: init\tStatus: timeout"
    )
    restored = InvocationRecord("the-id", Outcome.DONE, duration_ms=1, restore_ms=20.2)
    assert "Billed Duration: 22 ms" in report_line(restored, memory_mb=128)
    assert report_line(restored, memory_mb=128).endswith(
        "\tRestore Duration: 20.20 ms\tBilled Restore Duration: 21 ms"
    )
    assert start_report_line("restore", 10.0, "Runtime.AfterRestoreError") == (
        "RESTORE_REPORT Restore Duration: 10.00 ms\tPhase: restore\tStatus: error\t"
        "Error Type: Runtime.AfterRestoreError"
    )


def test_exits_are_told_in_the_platforms_words():
    assert exit_message(3) == "Runtime exited with error: exit status 3"
    assert exit_message(-9) == "Runtime exited with error: signal: killed"
    assert exit_message(0) == "Runtime exited without providing a reason"
