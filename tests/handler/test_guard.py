import copy
import json
import tracemalloc

import fastapi_poe as fp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.app import guard
from handler.app.guard import LARGEST_BODY, MODELS, Refusal

KEY = "k" * 32
JSON = [(b"content-type", b"application/json")]
QUERY = {
    "type": "query",
    "version": "1.2",
    "user_id": "u",
    "conversation_id": "c",
    "message_id": "m",
}
REPORT = {
    "version": "1.2",
    "message_id": "m",
    "user_id": "u",
    "conversation_id": "c",
}
VALID = [
    {**QUERY, "query": [{"role": "user", "content": "hi"}]},
    {"type": "settings", "version": "1.2"},
    {"type": "report_feedback", **REPORT, "feedback_type": "like"},
    {"type": "report_reaction", **REPORT, "reaction": "❤"},
    {"type": "report_error", "version": "1.2", "message": "x", "metadata": {"a": [1]}},
]


@pytest.fixture
def anyio_backend():
    return "asyncio"


def message(**more):
    return {"role": "user", "content": "hi", **more}


def query(*messages, **more):
    return {**QUERY, "query": [*messages], **more}


def encode(document):
    return json.dumps(document).encode()


def accept(document):
    """The request as the bot gets it, and the document as it is handed on."""
    document = guard.parse(encode(document))
    return guard.validate(document), document


def accept_query(*messages, **more):
    """The bot's query; the document that is handed on means the same."""
    request, document = accept(query(*messages, **more))
    assert fp.QueryRequest.model_validate(document) == request
    return request


def refusal_of(body):
    """The refusal of a body, given as bytes or as a document."""
    with pytest.raises(Refusal) as caught:
        guard.validate(guard.parse(body if isinstance(body, bytes) else encode(body)))
    return caught.value


def seen(refusal):
    return refusal.status, refusal.reason


# The key


def check(*values, key=KEY):
    headers = [(b"host", b"x"), *((b"authorization", value) for value in values)]
    guard.check_key(guard.credential(headers), key)


def refused_key(*values, key=KEY):
    with pytest.raises(Refusal) as caught:
        check(*values, key=key)
    refusal = caught.value
    assert refusal.status == 401
    assert (b"www-authenticate", b"Bearer") in refusal.headers
    assert KEY not in refusal.reason
    return refusal.reason


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER", b"beAReR"])
def test_the_right_key_passes_whatever_the_schemes_case(scheme):
    check(scheme + b" " + KEY.encode())
    check(scheme + b"  " + KEY.encode() + b" ")


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [KEY.encode()],
        [b"Basic " + KEY.encode()],
        [b"Bearer" + KEY.encode()],
        [b"Bearer\t" + KEY.encode()],
        [b"Bearer\xa0" + KEY.encode()],
        [b"\xff\xfe\x00"],
        [b"Bearer " + KEY.encode(), b"Bearer " + KEY.encode()],
        [b"Bearer " + b"x" * 32, b"Bearer " + KEY.encode()],
    ],
)
def test_a_missing_scheme_or_a_second_header_is_refused(values):
    assert refused_key(*values).startswith("an access key is needed: Authorization: Bearer")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"x" * 32,
        KEY[:-1].encode(),
        KEY.encode() + b"k",
        KEY.upper().encode(),
        KEY.encode() + b" " + KEY.encode(),
        b"\xff" * 32,
        "ключ".encode(),
        KEY[:-1].encode() + b"\x00",
    ],
)
def test_a_wrong_key_is_refused(sent):
    assert refused_key(b"Bearer " + sent) == "the access key is wrong"


@pytest.mark.parametrize("sent", [[b"Bearer "], [b"Bearer"], [], [b"Bearer x"]])
def test_an_empty_key_lets_nobody_in(sent):
    refused_key(*sent, key="")


def test_the_key_is_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(guard.hmac, "compare_digest", lambda *pair: compared.append(pair))
    refused_key(b"Bearer " + KEY.encode())
    assert compared == [(KEY.encode(), KEY.encode())]


# The body


def receiving(*bodies, end=None):
    """`receive` that gives `bodies` and then `end`, or nothing more after the last body."""
    messages = [
        {"type": "http.request", "body": body, "more_body": end is not None or number < len(bodies)}
        for number, body in enumerate(bodies, 1)
    ]
    messages += [end] if end else []

    async def receive():
        return messages.pop(0)

    return receive


async def read(headers, *bodies, **more):
    return await guard.read_body(headers, receiving(*bodies, **more))


@pytest.mark.anyio
@pytest.mark.parametrize("bodies", [[b"abc"], [b"a", b"", b"bc"], [b"abc", b""]])
async def test_a_body_is_read_whole(bodies):
    assert await read(JSON, *bodies) == b"abc"


@pytest.mark.anyio
async def test_a_body_that_comes_as_a_whole_is_not_copied():
    body = b"abc"
    assert await read(JSON, body) is body


@pytest.mark.anyio
async def test_a_message_may_leave_everything_away():
    async def receive():
        return {"type": "http.request"}

    assert await guard.read_body(JSON, receive) == b""


@pytest.mark.anyio
async def test_a_body_of_6_mb_passes():
    assert LARGEST_BODY == 6_291_456
    assert len(await read(JSON, b" " * (LARGEST_BODY - 1), b" ")) == LARGEST_BODY


@pytest.mark.anyio
@pytest.mark.parametrize("length", [str(LARGEST_BODY + 1), "9" * 5000])
async def test_a_body_that_is_said_to_be_larger_is_not_read_at_all(length):
    with pytest.raises(Refusal) as caught:
        await guard.read_body([(b"content-length", length.encode())], None)
    assert caught.value.status == 413


@pytest.mark.anyio
@pytest.mark.parametrize("length", [b"", b"3", b"-1", b"x", b"\xb2", str(LARGEST_BODY).encode()])
async def test_what_the_length_is_said_to_be_is_not_relied_on(length):
    assert await read([*JSON, (b"content-length", length)], b"abc") == b"abc"


@pytest.mark.anyio
async def test_a_larger_body_is_refused_before_its_end():
    with pytest.raises(Refusal, match="larger than 6 MB") as caught:
        await read(JSON, b" " * LARGEST_BODY, b" ", b"never asked for", end={"type": "fault"})
    assert caught.value.status == 413


@pytest.mark.anyio
async def test_a_body_that_a_client_cuts_is_not_taken_for_whole():
    with pytest.raises(Refusal, match="the body is incomplete") as caught:
        await read(JSON, encode(VALID[0]), end={"type": "http.disconnect"})
    assert caught.value.status == 400


@pytest.mark.anyio
@pytest.mark.parametrize(
    "kind",
    [
        b"application/json",
        b"application/json; charset=utf-8",
        b"Application/JSON ;charset=UTF-8",
        b"application/problem+json",
        b"",
    ],
)
async def test_json_by_any_name_passes(kind):
    assert await read([(b"content-type", kind)], b"{}") == b"{}"
    assert await read([], b"{}") == b"{}"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "kind",
    [b"text/plain", b"application/x-www-form-urlencoded", b"application/jsonp", b"json", b"\xff"],
)
async def test_another_content_type_is_refused_before_the_body_is_read(kind):
    with pytest.raises(Refusal, match="has to be JSON") as caught:
        await guard.read_body([(b"content-type", kind)], receiving())
    assert caught.value.status == 415


# The document


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}{}",
        b"{'type': 'query'}",
        b'{"type": "query",}',
        b"nul",
        b'{"type": NaN}',
        b'{"type": "settings", "x": [Infinity]}',
        b'{"type": "settings", "x": -Infinity}',
        b'{"type": "settings", "x": ' + b"9" * 5000 + b"}",
        b'{"type": "a\nb"}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_broken_json_is_refused(body):
    assert seen(refusal_of(body)) == (400, "the body is not JSON")


@pytest.mark.parametrize(
    "body", [b"\xff", b'{"type": "\xe9"}', b"\xed\xa0\x80", "{}".encode("utf-16")]
)
def test_invalid_utf_8_is_refused(body):
    assert seen(refusal_of(body)) == (400, "the body is not UTF-8")


@pytest.mark.parametrize("document", [[], [VALID[0]], "query", 7, None, True])
def test_what_is_not_an_object_is_refused(document):
    assert seen(refusal_of(document)) == (400, "the body is not a JSON object")


@pytest.mark.parametrize("kind", [None, 7, [], {}, True])
def test_a_body_without_a_type_is_refused(kind):
    assert seen(refusal_of({"version": "1.2"})) == (400, "the body has no type")
    assert seen(refusal_of({**VALID[0], "type": kind})) == (400, "the body has no type")


@pytest.mark.parametrize("kind", ["", "Query", "query ", "report_nothing", "\ud800", "x" * 99999])
def test_an_unknown_type_is_not_implemented(kind):
    assert seen(refusal_of({**VALID[0], "type": kind})) == (
        501,
        "this type of request is not supported",
    )


def nested(depth, inner="1"):
    return '{"a": [' * (depth // 2) + inner + "]}" * (depth // 2)


@pytest.mark.parametrize("depth", [120, 990, 5000, 50_000, 1_000_000])
def test_deep_nesting_is_refused(depth):
    report = '{"type": "report_error", "version": "1", "message": "", "metadata": '
    for body in (f"{report}{nested(depth)}}}", nested(depth), "[" * depth):
        refusal = refusal_of(body.encode())
        assert refusal.status == 400
        assert refusal.reason in (guard.TOO_DEEP, "the body is not JSON")
    assert seen(refusal_of(f"{report}{nested(depth)}}}".encode())) == (400, guard.TOO_DEEP)


def test_nesting_as_poe_may_send_it_passes():
    depth = guard.DEEPEST - 2  # the body itself, and `metadata`
    document = {**VALID[4], "metadata": {"a": json.loads(nested(depth))}}
    assert accept(document)[1] == document
    document["metadata"] = {"a": [document["metadata"]["a"]]}
    assert seen(refusal_of(document)) == (400, guard.TOO_DEEP)


def test_messages_that_refer_to_each_other_deeply_are_refused():
    refers = message()
    for _ in range(99):
        refers = message(referenced_message=refers)
    assert seen(refusal_of(query(refers))) == (400, guard.TOO_DEEP)


def test_the_reason_is_short_json():
    refusal = refusal_of(b"[]")
    assert json.loads(refusal.body) == {"error": "the body is not a JSON object"}
    assert dict(refusal.headers) == {
        b"content-type": b"application/json",
        b"content-length": str(len(refusal.body)).encode(),
    }


def test_a_body_is_parsed_without_a_copy_of_its_text():
    body = encode(query(message(content="x" * 1_000_000)))
    guard.parse(body)
    tracemalloc.start()
    try:
        guard.parse(body)
        assert tracemalloc.get_traced_memory()[1] < 1.1 * len(body)
    finally:
        tracemalloc.stop()


# The request


@pytest.mark.parametrize("document", VALID, ids=[document["type"] for document in VALID])
def test_every_type_of_request_is_taken(document):
    request, handed_on = accept(document)
    assert type(request) is MODELS[document["type"]]
    assert handed_on == document


@pytest.mark.parametrize(
    ("document", "field"),
    [(document, field) for document in VALID for field in document if field != "type"],
)
def test_a_missing_field_is_named(document, field):
    lacking = {name: value for name, value in document.items() if name != field}
    assert seen(refusal_of(lacking)) == (400, f"invalid request: {field}: missing")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (query(7), "query.0: model_type"),
        (query(message(), {"role": "user"}), "query.1.content: missing"),
        (query({"content": ""}), "query.0.role: missing"),
        (query(message(content=7)), "query.0.content: string_type"),
        (query(message(role=7)), "query.0.role: literal_error"),
        (query(message(role=None)), "query.0.role: literal_error"),
        (query(message(content_type=[])), "query.0.content_type: literal_error"),
        (query(message(timestamp="x")), "query.0.timestamp: int_parsing"),
        (query(message(timestamp=1e999)), "query.0.timestamp: finite_number"),
        (query(message(feedback=[{"type": "like"}])), "query.0.feedback.0.reason: missing"),
        (
            query(message(sender={"id": 7, "name": 7})),
            "query.0.sender.id: string_type; query.0.sender.name: string_type",
        ),
        (query(message(), temperature=10**400), "temperature: float_type"),
        (query(message(), logit_bias={"theirs": "x"}), "logit_bias.*: float_parsing"),
        ({**QUERY, "query": {"role": "user"}}, "query: list_type"),
        ({**QUERY, "query": None, "user_id": 7}, "query: list_type; user_id: string_type"),
        ({**VALID[2], "feedback_type": 7}, "feedback_type: literal_error"),
        ({**VALID[2], "feedback_type": None}, "feedback_type: literal_error"),
        ({**VALID[3], "reaction": ["❤"]}, "reaction: string_type"),
        ({**VALID[4], "metadata": "x"}, "metadata: dict_type"),
    ],
)
def test_a_wrong_field_is_named_by_its_place(document, reason):
    body = encode(document).replace(b"Infinity", b"1e999")
    assert seen(refusal_of(body)) == (400, f"invalid request: {reason}")


def test_a_query_without_messages_is_refused():
    assert seen(refusal_of(query())) == (400, "the query has no message with a known role")


def test_many_wrong_fields_make_a_short_reason():
    refusal = refusal_of(query(*[7] * 1000))
    assert refusal.reason.count("model_type") == guard.MOST_NAMED
    assert refusal.reason.endswith("; and 995 more")


@pytest.mark.parametrize(
    "number", [10**300, -(10**300), 10**4000], ids=["large", "negative", "larger"]
)
def test_huge_integers_do_no_harm(number):
    assert accept_query(message(timestamp=number)).query[0].timestamp == number
    assert accept({**VALID[4], "metadata": {"a": number}})
    assert refusal_of({**VALID[4], "version": number}).status == 400


def test_lone_surrogates_do_no_harm():
    body = encode(query(message(content="\ud800"), extra_params={"\udc00": "\ud800"}))
    assert guard.validate(guard.parse(body)).query[0].content == "\ud800"
    assert refusal_of(query(message(), logit_bias={"\ud800": "\ud800"})).status == 400
    assert refusal_of(query(message(role="\ud800"))).status == 400


# What is to be ignored


def test_an_unknown_role_takes_its_message_along():
    request = accept_query(
        message(role="narrator"), message(), message(role="narrator"), message(content="2")
    )
    assert [each.content for each in request.query] == ["hi", "2"]


def test_a_message_of_an_unknown_role_may_look_like_nothing_known():
    request = accept_query(
        {"role": "narrator"},
        {"role": "narrator", "content": [1], "timestamp": "x", "feedback": 7},
        message(),
    )
    assert len(request.query) == 1


def test_a_query_of_unknown_roles_alone_is_refused():
    assert seen(refusal_of(query(message(role="narrator")))) == (
        400,
        "the query has no message with a known role",
    )


def test_an_unknown_content_type_is_the_default():
    assert accept_query(message(content_type="text/x-new")).query[0].content_type == "text/markdown"


def test_an_unknown_message_type_is_none():
    assert accept_query(message(message_type="new")).query[0].message_type is None


def test_unknown_feedback_in_a_message_is_left_out():
    def feedback(kind):
        return {"type": kind, "reason": None}

    kinds = ["love", "like", "love", "hate", "dislike", "love"]
    request = accept_query(message(feedback=[feedback(kind) for kind in kinds]))
    assert [each.type for each in request.query[0].feedback] == ["like", "dislike"]


def test_a_referenced_message_of_an_unknown_role_is_left_out():
    request = accept_query(
        message(referenced_message=message(referenced_message=message(role="narrator")))
    )
    assert request.query[0].referenced_message.referenced_message is None


def test_everything_at_once_leaves_the_rest():
    strange = message(
        role="narrator",
        content_type="x",
        message_type="x",
        feedback=[{"type": "love", "reason": ""}],
        referenced_message=message(role="narrator", content_type="x"),
    )
    normal = message(
        content_type="x",
        message_type="x",
        feedback=[{"type": "love", "reason": ""}, {"type": "like", "reason": "good"}],
        referenced_message=message(
            content_type="x", feedback=[{"type": "love"}], referenced_message=strange
        ),
    )
    request = accept_query(strange, normal, strange, copy.deepcopy(strange), normal)
    expected = message(feedback=[{"type": "like", "reason": "good"}], referenced_message=message())
    assert request == accept_query(expected, expected)


def test_what_is_wrong_next_to_what_is_ignored_is_refused():
    refusal = refusal_of(query(message(content_type="x"), message(content=7)))
    assert seen(refusal) == (400, "invalid request: query.1.content: string_type")


@pytest.mark.parametrize("kind", ["love", "", "Like"])
def test_an_unknown_feedback_type_is_ignored_as_a_whole(kind):
    refusal = refusal_of({**VALID[2], "feedback_type": kind})
    assert refusal.status == 200
    assert refusal.body == b"{}"


@pytest.mark.parametrize("document", VALID, ids=[document["type"] for document in VALID])
def test_unknown_keys_are_ignored(document):
    request, _ = accept({**document, "new": {"key": [1]}})
    assert request == accept(document)[0]


def test_unknown_keys_inside_are_ignored():
    more = {"new": {"key": [1]}}
    request = accept_query(
        message(
            sender={"id": "1", **more}, feedback=[{"type": "like", "reason": None, **more}], **more
        )
    )
    assert request.query[0].sender.id == "1"


def test_any_reaction_is_taken():
    assert accept({**VALID[3], "reaction": "a new one"})[0].reaction == "a new one"


# Whatever comes


def scalars(text):
    numbers = st.integers() | st.floats(allow_nan=False) | st.just(10**400)
    return st.none() | st.booleans() | numbers | text


def documents(text):
    """JSON of any shape, with the words of the protocol among its keys and values."""
    words = text | st.sampled_from(
        ["user", "like", "love", "query", "text/plain", "1.2", "narrator", "function_call"]
    )
    names = text | st.sampled_from(sorted(guard._field_names()))
    values = st.recursive(
        scalars(words),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=8,
    )
    messages = st.recursive(
        st.fixed_dictionaries(
            {},
            optional={
                "role": words | values,
                "content": words | values,
                "content_type": words | values,
                "message_type": words | values,
                "feedback": st.lists(
                    st.fixed_dictionaries({"type": words, "reason": words | st.none()}) | values,
                    max_size=3,
                )
                | values,
                "timestamp": values,
            },
        ),
        lambda inner: st.builds(
            lambda outer, ref: {**outer, "referenced_message": ref}, inner, inner
        ),
        max_leaves=3,
    )
    whole = st.sampled_from(VALID).flatmap(
        lambda valid: st.fixed_dictionaries(
            {}, optional={name: st.just(value) | values for name, value in valid.items()}
        ).map(lambda change: {**valid, **change})
    )
    queries = st.lists(messages | values, max_size=4).map(lambda found: query(*found))
    return values | whole | queries


def answer_to(body):
    """The request or the refusal; any other exception is a failed test."""
    try:
        return guard.validate(guard.parse(body))
    except Refusal as refusal:
        answer = refusal
    assert answer.status in (200, 400, 501)
    assert len(answer.body) < 1000
    return answer


@settings(max_examples=300, deadline=None)
@given(documents(st.text()))
def test_any_document_gives_a_request_or_a_refusal(document):
    answer_to(encode(document))


@settings(max_examples=200, deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_give_a_request_or_a_refusal(body):
    answer_to(body)


@settings(max_examples=300, deadline=None)
@given(documents(st.text("☃✂", min_size=1)))
def test_nothing_of_a_body_is_echoed(document):
    answer = answer_to(json.dumps(document, ensure_ascii=False).encode())
    if isinstance(answer, Refusal):
        assert not {"☃", "✂"} & {*json.loads(answer.body).get("error", "")}


@settings(max_examples=200, deadline=None)
@given(documents(st.text()))
def test_what_is_left_out_once_stays_out(document):
    if isinstance(answer_to(encode(document)), Refusal):
        return
    request, handed_on = accept(document)
    assert accept(handed_on)[1] == handed_on
    assert MODELS[handed_on["type"]].model_validate(handed_on).model_dump() == request.model_dump()


def test_many_unknown_values_come_to_an_end():
    strange = message(role="narrator", content_type="x")
    assert len(accept_query(*[strange, message()] * 1000).query) == 1000
