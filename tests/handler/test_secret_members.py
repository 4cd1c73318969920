import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.secret.members import KEY, BadMember, check_key, faults, parse_members

VALUE = "kK7" * 10 + "kK"


def refusal_of(text):
    with pytest.raises(BadMember) as caught:
        parse_members(text)
    message = str(caught.value)
    assert "`make set-" in message
    return message


def members(**more):
    return json.dumps({KEY: VALUE, **more})


def test_every_member_is_given_back():
    assert parse_members(members(OPENAI_API_KEY="o", X1_="\n✓ ")) == {
        KEY: VALUE,
        "OPENAI_API_KEY": "o",
        "X1_": "\n✓ ",
    }


@pytest.mark.parametrize("white", ["\n", "\r\n", " ", "\t", "\u00a0"])
def test_white_space_around_the_key_is_stripped(white):
    text = json.dumps({KEY: white + VALUE + white})
    assert parse_members(text) == {KEY: VALUE}
    assert check_key(white + VALUE + white) == VALUE


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
def test_a_secret_that_is_not_an_object_is_refused(text):
    assert "is not a JSON object" in refusal_of(text)


def test_a_member_that_stands_twice_is_refused():
    message = refusal_of(f'{{"{KEY}": "{VALUE}", "{KEY}": "{"x" * 32}"}}')
    assert message == (
        f"the secret has {KEY} more than once: keep one in AWS's console, or start over"
        " (`make set-key RESET=yes`)"
    )


def test_a_line_feed_that_a_person_put_into_a_text_is_taken():
    assert parse_members(f'{{"{KEY}": "{VALUE}", "PEM": "a\nb"}}')["PEM"] == "a\nb"


@pytest.mark.parametrize("text", ["{}", '{"OPENAI_API_KEY": "o"}'])
def test_a_secret_without_the_key_is_refused(text):
    assert refusal_of(text) == f"there is no {KEY} (`make set-key`)"


@pytest.mark.parametrize("key", ["", " ", "\n"])
def test_an_empty_key_is_refused(key):
    message = refusal_of(json.dumps({KEY: key}))
    assert message.startswith("the access key is empty: copy it again from the bot's form on Poe")
    assert message.endswith("(`make set-key`)")


@pytest.mark.parametrize("key", ["k", "k" * 31, "k" * 33, "k" * 16 + "\n" + "k" * 16])
def test_an_ill_sized_key_is_refused_with_its_size(key):
    message = refusal_of(json.dumps({KEY: key}))
    assert f"has {len(key)} characters, not 32: copy it again" in message


@pytest.mark.parametrize("wrong", ["é", " ", "\n", "\x7f", "\ud800"])
def test_a_key_with_characters_that_no_key_has_is_refused(wrong):
    key = "k" * 16 + wrong + "k" * 15
    with pytest.raises(BadMember, match=r"^the access key has characters that no key has"):
        check_key(key)
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
    message = refusal_of(members(**{name: VALUE}))
    assert message.startswith(f"{name} would change how the function runs")
    assert f"`make set-secret NAME={name} REMOVE=yes`" in message


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
    assert parse_members(members(**{name: "v"}))[name] == "v"


@pytest.mark.parametrize(
    "name", ["", "a", "openai_key", "1A", "_A", "A-B", "A B", "Ä", "A\n", "A=B"]
)
def test_a_name_that_no_variable_should_have_is_refused_and_not_repeated(name):
    message = refusal_of(members(**{name: VALUE}))
    assert message == (
        "a member's name has to match [A-Z][A-Z0-9_]*: use one such as OPENAI_API_KEY "
        "(`make set-secret NAME=… REMOVE=yes` takes this one out)"
    )


@pytest.mark.parametrize("value", [None, 7, True, [VALUE], {"a": VALUE}, "a\0b", "\ud800"])
def test_a_value_that_no_variable_can_hold_is_refused_by_name(value):
    message = refusal_of(members(OTHER=value))
    assert "the value of OTHER is not a text" in message
    assert "`make set-secret NAME=OTHER`" in message


@pytest.mark.parametrize("key", [None, 7, [VALUE]])
def test_a_key_that_is_not_a_text_is_refused(key):
    assert f"the value of {KEY} is not a text" in refusal_of(json.dumps({KEY: key}))


def test_every_fault_has_a_line_of_its_own():
    no_key, path, number = faults({"PATH": "/bin", "NUMBER": 1})
    assert no_key == f"there is no {KEY} (`make set-key`)"
    assert path.startswith("PATH would change how the function runs")
    assert number.endswith("that a variable can hold (`make set-secret NAME=NUMBER`)")


marked = st.text("☃✂", min_size=1)  # characters that aren't in any refusal's own text


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
            found = parse_members(text)
        except BadMember:
            continue
        assert all(isinstance(member, str) for member in found.values())
