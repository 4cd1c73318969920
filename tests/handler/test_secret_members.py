import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.secret.members import KEY, BadKey, check_key, parse_members

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:bot-AbCdEf"
VALUE = "kK7" * 10 + "kK"


def refusal_of(text):
    with pytest.raises(BadKey) as caught:
        parse_members(text, ARN)
    message = str(caught.value)
    assert ARN in message
    assert "`make set-" in message
    return message


def members(**more):
    return json.dumps({KEY: VALUE, **more})


def test_every_member_is_given_back():
    assert parse_members(members(OPENAI_API_KEY="o", X1_="\n✓ "), ARN) == {
        KEY: VALUE,
        "OPENAI_API_KEY": "o",
        "X1_": "\n✓ ",
    }


@pytest.mark.parametrize("white", ["\n", "\r\n", " ", "\t", "\u00a0"])
def test_white_space_around_the_key_is_stripped(white):
    text = json.dumps({KEY: white + VALUE + white})
    assert parse_members(text, ARN) == {KEY: VALUE}
    assert check_key(white + VALUE + white, "here") == VALUE


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        VALUE,
        f'"{VALUE}"',
        "null",
        "7",
        "[]",
        f'["{VALUE}"]',
        f'{{"{KEY}": "{VALUE}"',
        f"{{'{KEY}': '{VALUE}'}}",
        "[" * 100_000,
        "{" * 100_000,
        "9" * 5000,
    ],
)
def test_a_secret_that_is_no_object_is_refused(text):
    assert "is not a JSON object" in refusal_of(text)


def test_a_member_that_stands_twice_is_refused():
    message = refusal_of(f'{{"{KEY}": "{VALUE}", "{KEY}": "{"x" * 32}"}}')
    assert "has a member twice" in message


@pytest.mark.parametrize("text", ["{}", '{"OPENAI_API_KEY": "o"}'])
def test_a_secret_without_the_key_is_refused(text):
    assert refusal_of(text) == f"the secret {ARN} has no member {KEY}: run `make set-key`"


@pytest.mark.parametrize("key", ["", " ", "\n"])
def test_an_empty_key_is_refused(key):
    message = refusal_of(json.dumps({KEY: key}))
    assert message == f"the access key from the secret {ARN} is empty: run `make set-key`"


@pytest.mark.parametrize("key", ["k", "k" * 31, "k" * 33, "k" * 16 + "\n" + "k" * 16])
def test_an_ill_sized_key_is_refused_with_its_size(key):
    message = refusal_of(json.dumps({KEY: key}))
    assert f"has {len(key)} characters, not 32: run `make set-key`" in message


@pytest.mark.parametrize("wrong", ["é", " ", "\n", "\x7f", "\ud800"])
def test_a_key_with_characters_that_no_key_has_is_refused(wrong):
    key = "k" * 16 + wrong + "k" * 15
    with pytest.raises(BadKey, match=r"^the access key from here has characters that no key has"):
        check_key(key, "here")
    refusal_of(json.dumps({KEY: key}))


@pytest.mark.parametrize(
    "name",
    [
        "AWS_REGION",
        "AWS_",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PYTHON",
        "PYTHONPATH",
        "PYTHONHOME",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "PATH",
        "HOME",
        "ACCESS_KEY_SECRET_ARN",
    ],
)
def test_a_forbidden_name_is_refused_by_name(name):
    assert f"has a member {name}, which would change" in refusal_of(members(**{name: VALUE}))


@pytest.mark.parametrize(
    "name",
    [
        "AWSOME_KEY",
        "MY_AWS_KEY",
        "LAMBDA",
        "LDAP_KEY",
        "PATH_TO_X",
        "MY_PATH",
        "HOMES",
        "PROXY_KEY",
    ],
)
def test_a_name_that_only_looks_forbidden_is_taken(name):
    assert parse_members(members(**{name: "v"}), ARN)[name] == "v"


@pytest.mark.parametrize(
    "name", ["", "a", "openai_key", "1A", "_A", "A-B", "A B", "Ä", "A\n", "A=B"]
)
def test_a_name_that_no_variable_should_have_is_refused(name):
    message = refusal_of(members(**{name: VALUE}))
    assert "name does not match [A-Z][A-Z0-9_]*" in message


@pytest.mark.parametrize("value", [None, 7, True, [VALUE], {"a": VALUE}, "a\0b", "\ud800"])
def test_a_value_that_no_variable_can_hold_is_refused_by_name(value):
    message = refusal_of(members(OTHER=value))
    assert "the member OTHER of the secret" in message
    assert "`make set-secret NAME=OTHER`" in message


@pytest.mark.parametrize("key", [None, 7, [VALUE]])
def test_a_key_that_is_no_text_is_refused(key):
    assert f"the member {KEY} of the secret" in refusal_of(json.dumps({KEY: key}))


marked = st.text("☃✂", min_size=1)  # what no refusal says of itself


@given(
    st.dictionaries(
        st.sampled_from([KEY, "OTHER", "PATH", "lower", "AWS_X"]),
        marked | st.lists(marked, min_size=1) | marked.map("\0".join),
        min_size=1,
    )
)
def test_no_value_is_ever_in_a_refusal(found):
    message = refusal_of(json.dumps(found))
    assert not {"☃", "✂"} & {*message}


@given(st.text(), st.text())
def test_any_text_gives_members_or_a_refusal(name, value):
    for text in (name, json.dumps({KEY: VALUE, name: value}), json.dumps({KEY: value})):
        try:
            found = parse_members(text, ARN)
        except BadKey:
            continue
        assert all(isinstance(member, str) for member in found.values())
