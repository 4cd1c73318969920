"""Lambda's bytes, compared with `==`."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.runtime import wire
from handler.runtime.wire import BadEvent, Failure, Invocation, NotAFunctionURLEvent
from tests.support.runtime_api import function_url_event

NEXT = {
    "lambda-runtime-aws-request-id": "8476a536",
    "lambda-runtime-deadline-ms": "1542409706888",
}


def test_next_is_read_from_its_headers():
    headers = NEXT | {
        "lambda-runtime-invocation-id": "echo-me",
        "lambda-runtime-trace-id": "Root=1",
        "lambda-runtime-aws-tenant-id": "tenant",
    }
    invocation = Invocation.parse(headers, b"{}")
    assert invocation == Invocation(
        "8476a536", 1542409706888, b"{}", "", "Root=1", "echo-me", tenant_id="tenant"
    )
    assert invocation.echo == [("Lambda-Runtime-Invocation-Id", "echo-me")]


def test_nothing_is_echoed_where_no_invocation_id_came():
    assert Invocation.parse(NEXT, b"").echo == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lambda-runtime-aws-request-id", ""),
        ("lambda-runtime-aws-request-id", "a b"),
        ("lambda-runtime-aws-request-id", "ä"),
        ("lambda-runtime-deadline-ms", ""),
        ("lambda-runtime-deadline-ms", "soon"),
    ],
)
def test_next_without_a_usable_id_or_deadline_is_refused(name, value):
    with pytest.raises(ValueError, match="without a usable"):
        Invocation.parse({**NEXT, name: value}, b"")


def test_the_prelude_has_no_nul_whatever_the_app_sends():
    prelude = wire.encode_prelude(200, {"x": "a\0b"}, ["c=\0"])
    assert b"\0" not in prelude
    assert json.loads(prelude) == {
        "statusCode": 200,
        "headers": {"x": "a\0b"},
        "cookies": ["c=\0"],
    }


def test_a_prelude_without_cookies_has_no_member_for_them():
    assert wire.encode_prelude(204, None, None) == b'{"statusCode": 204, "headers": {}}'


def test_chunks_are_framed_as_http_says():
    assert wire.encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert wire.LAST_CHUNK == b"0\r\n\r\n"


def test_a_failure_becomes_the_two_trailers():
    failure = Failure("ValueError", "the bot failed", ("bot.py:1 in f",))
    body = base64.b64encode(failure.document).decode()
    assert (
        wire.encode_last_chunk(failure.trailers)
        == (
            "0\r\nLambda-Runtime-Function-Error-Type: ValueError\r\n"
            f"Lambda-Runtime-Function-Error-Body: {body}\r\n\r\n"
        ).encode()
    )
    assert json.loads(failure.document) == {
        "errorType": "ValueError",
        "errorMessage": "the bot failed",
        "stackTrace": ["bot.py:1 in f"],
    }


@pytest.mark.parametrize(
    "event",
    [
        {"key1": "value1"},  # the console's test event
        {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}},
        {"version": "1.0", "requestContext": {}},
        {"version": "2.0", "requestContext": {"http": {"method": None}}},
        [],
        "ping",
        None,
    ],
)
def test_events_from_elsewhere_are_told_apart(event):
    with pytest.raises(NotAFunctionURLEvent):
        wire.parse_event(json.dumps(event).encode())


@pytest.mark.parametrize("event", [b"", b"{", b"\xff", b"[" * 100_000])
def test_an_event_that_is_not_json_is_told_apart(event):
    with pytest.raises(NotAFunctionURLEvent, match="not JSON"):
        wire.parse_event(event)


def test_nulls_are_read_as_empty_text():
    event = {**function_url_event(), "headers": None, "rawQueryString": None}
    parsed = wire.parse_event(json.dumps(event).encode())
    assert (parsed["headers"], parsed["rawQueryString"]) == ({}, "")


def parsed(event):
    return wire.parse_event(json.dumps(event).encode())


@pytest.mark.parametrize("padding", [0, wire.SMALL])
@pytest.mark.parametrize("body", ["!!!!", "YWJ", "YQ==YQ==", "ä", 7, ["YWJj"]])
def test_broken_base64_is_refused_not_decoded_to_something_else(body, padding):
    body = body + "!" * padding if isinstance(body, str) else body
    event = parsed({**function_url_event(body=body, isBase64Encoded=True), "pad": "x" * padding})
    with pytest.raises(BadEvent, match="base64"):
        wire.read_body(event)


@pytest.mark.parametrize("body", [7, {"a": 1}, "\ud800"])
def test_a_body_that_is_no_text_is_refused(body):
    with pytest.raises(BadEvent, match="not text"):
        wire.read_body(parsed(function_url_event(body=body)))


@pytest.mark.parametrize("body", [None, ""])
@pytest.mark.parametrize("in_base64", [False, True])
def test_without_a_body_there_are_no_bytes(body, in_base64):
    assert wire.read_body(parsed(function_url_event(isBase64Encoded=in_base64))) == b""
    assert wire.read_body(parsed({**function_url_event(), "body": body})) == b""


def orders(event):
    """`event` as any sender would write it: its members in any order, with spaces or without."""
    names = st.permutations([*event])
    separators = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")])
    return st.builds(
        lambda names, separators, ascii: json.dumps(
            {name: event[name] for name in names}, separators=separators, ensure_ascii=ascii
        ).encode(),
        names,
        separators,
        st.booleans(),
    )


TRAPS = [
    '"body"',
    '"body":"',
    '{"body":',
    '\\"body\\":\\"x',
    '","headers":{"a":"b"},"x":"',
    '"cookies":[]',
]
LARGE = {
    **function_url_event("POST", "/echo", {"x-trap": '"body":"', "body": "a header's"}),
    "cookies": ["body=1", 'b="body":'],
    "queryStringParameters": {"body": "a query's", 'a"body': "x", 'q"body":"': '"body":'},
    "rawQueryString": "body=a%20query%27s",
    "stageVariables": {"body": None},
}


@given(st.data(), st.sampled_from(TRAPS), st.booleans())
def test_a_large_event_is_read_as_if_it_were_small(data, trap, in_base64):
    """Whatever stands in its strings, before, in or after the body."""
    text = trap * (wire.SMALL // len(trap)) + "é"
    body = base64.b64encode(text.encode()).decode() if in_base64 else text
    event = {**LARGE, "body": body, "isBase64Encoded": in_base64}
    document = wire.parse_event(data.draw(orders(event)))
    for name in ("version", "headers", "cookies", "rawQueryString", "requestContext"):
        assert document[name] == event[name]
    assert wire.read_body(document) == text.encode()
    assert document == event


@pytest.mark.parametrize("rest", [b'"\\x', b'"', b'7,"a":1}', b"}", b'{"a":'])
def test_what_comes_after_the_head_of_a_large_event_is_not_looked_at_before_it_is_needed(rest):
    head = json.dumps(function_url_event()).encode()[:-1]
    document = wire.parse_event(head + b',"body":' + rest + b"x" * wire.SMALL)
    assert document["requestContext"]["http"]["method"] == "POST"
    with pytest.raises(BadEvent):
        wire.read_body(document)


@pytest.mark.parametrize("event", [["body"], {"body": "x", "detail": {}}, {"x": {"body": ""}}])
def test_a_large_event_from_elsewhere_is_told_apart(event):
    with pytest.raises(NotAFunctionURLEvent):
        wire.parse_event(json.dumps(event).encode() + b" " * wire.SMALL)
