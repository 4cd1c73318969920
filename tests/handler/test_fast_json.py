"""pydantic's parser in place of Python's: what it accepts means the same, and Python's decides on
the rest."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from handler import fast_json


def refuse(text):
    raise AssertionError("Python's parser was asked")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
# What a single byte can turn into something else.
TELLING = b'\x00\x0b "\\/{}[],:0123456789.eE+-ntfu\xed\xa0\x80\xef\xbb\xbfdD8'


def changed(text, seed):
    """`text` with up to three bytes put in, replaced or taken out."""
    chance, data = random.Random(seed), bytearray(text)
    for _ in range(chance.randint(0, 3)):
        place = chance.randrange(len(data) + 1)
        data[place : place + chance.randint(0, 1)] = bytes([chance.choice(TELLING)])[
            : chance.randint(0, 1)
        ]
    return bytes(data)


def outcome(loads, text):
    """Values by their `repr`: 1 isn't 1.0, and the order of members counts."""
    try:
        return repr(loads(text))
    except (ValueError, RecursionError) as error:
        return type(error)


@given(VALUES, st.booleans(), st.integers(0, 2**32))
def test_any_text_is_what_python_reads(value, ascii, seed):
    text = json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    for each in (changed(text, seed + number) for number in range(10)):
        assert outcome(fast_json.read, each) == outcome(json.loads, each)


@given(st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_any_number_is_what_python_reads(number):
    assert outcome(fast_json.read, number.encode()) == outcome(json.loads, number)


@pytest.mark.parametrize(
    "text",
    [
        b'"\\ud83d"',
        b"[NaN, -Infinity]",
        b"[" * 300 + b"]" * 300,
        b"\xef\xbb\xbf{}",
        b'"\xed\xa0\x80"',
        '{"a": 1}'.encode("utf-16"),
        b"9" * 5000,
        b"[" * 99_999,
        b"{",
        b"",
    ],
)
def test_what_pydantic_refuses_is_left_to_python(text):
    with pytest.raises(ValueError, match="line 1"):
        from_json(text, allow_inf_nan=False)
    assert outcome(fast_json.read, text) == outcome(json.loads, text)


def test_the_last_of_two_members_with_one_name_is_the_one():
    assert fast_json.read(b'{"a": 1, "b": 2, "a": 3}', refuse) == {"a": 3, "b": 2}


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_ordinary_text_is_left_to_pydantic(kind):
    assert fast_json.read(kind(b'{"a": ["\\ud83d\\ude00"]}'), refuse) == {"a": ["😀"]}
