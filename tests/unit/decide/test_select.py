"""From a provider's value to the bytes of one key."""

import traceback

import pytest

from keyturn.decide.select import Work, extract
from keyturn.model.errors import Invalid, KeyturnError, NotFound, Rejected
from keyturn.model.material import SourceRef, Value
from keyturn.model.order import Decoding, Entry
from keyturn.model.sensitive import Sensitive

CANARY = "kt-canary-select"


def entry(prop: str = "", decoding: Decoding = Decoding.NONE) -> Entry:
    return Entry("password", None, SourceRef("shop/db"), property=prop, decoding=decoding, field="spec.data[0]")


def taken(value: str | bytes, prop: str = "", decoding: Decoding = Decoding.NONE) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return extract(Value(Sensitive(data)), entry(prop, decoding), Work()).reveal()


@pytest.mark.parametrize("value", [b"", b"\x00\xff\n", b'{"a": 1}', CANARY.encode()])
def test_without_property_the_bytes_are_the_providers_own(value: bytes):
    assert taken(value) == value


@pytest.mark.parametrize(
    ("document", "prop", "expected"),
    [
        ('{"a": "x"}', "a", "x"),
        ('{"a": ""}', "a", ""),
        ('{"a": "\\u00fc\\n"}', "a", "ü\n"),
        ('{"a": 1}', "a", "1"),
        ('{"a": 1.0}', "a", "1.0"),
        ('{"a": 1.50e+03}', "a", "1.50e+03"),
        ('{"a": -0}', "a", "-0"),
        ('{"a": 123456789012345678901234567890}', "a", "123456789012345678901234567890"),
        ('{"a": true, "b": null}', "a", "true"),
        ('{"a": true, "b": null}', "b", "null"),
        ('{"a": {"z": 1.10, "b": [1, "two", {"c": false}]}}', "a", '{"z":1.10,"b":[1,"two",{"c":false}]}'),
        ('{"a": {"u": "\\u00fc", "q": "\\""}}', "a", '{"u":"ü","q":"\\""}'),
        ('{"a": []}', "a", "[]"),
        ('{"a": {"b": {"c": "x"}}}', "a.b.c", "x"),
        ('{"a": [{"b": "x"}]}', "a.0.b", "x"),
        ('[["x"]]', "0.0", "x"),
        ('{"a.b": "literal", "a": {"b": "path"}}', "a.b", "literal"),
        ('{"a.b": "literal", "a": {"b": "path"}}', r"a\.b", "literal"),
        ('{"a\\\\": "literal"}', "a\\", "literal"),
        ('\ufeff{"a": "x"}', "a", "x"),
    ],
)
def test_a_property_is_taken_by_its_name_first_and_then_by_path(document: str, prop: str, expected: str):
    assert taken(document, prop) == expected.encode()


def test_a_long_number_keeps_all_its_digits():
    digits = "9" * 10_000
    assert taken(f'{{"a": {digits}}}', "a") == digits.encode()


@pytest.mark.parametrize("prop", ["b", "a.b", "A", "a.0"])
def test_a_missing_property_is_not_found_and_named(prop: str):
    with pytest.raises(NotFound, match=rf"^shop/db has no property '{prop}'$"):
        taken(f'{{"a": "{CANARY}"}}', prop)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (CANARY, "no JSON"),
        ("", "no JSON"),
        (f'{{"a": "{CANARY}"', "no JSON"),
        (f'{{"a":\n"{CANARY}"\n"b"', r"no JSON \(line 3\)"),
        (f'"{CANARY}"', "a single JSON value"),
        ("12345", "a single JSON value"),
        ("null", "a single JSON value"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (f'{{"a": "{CANARY}", "a": "x"}}', "two members of one name"),
        (f'{{"a": {{"b": 1, "b": "{CANARY}"}}}}', "two members of one name"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "NaN"),
        ('{"a": "\x01"}', "no JSON"),
        ('{"a": "\\ud800"}', "no Unicode"),
        ('{"a": 01}', "no JSON"),
    ],
)
def test_a_value_that_cannot_hold_a_property_is_invalid(value: str | bytes, problem: str):
    with pytest.raises(Invalid, match=problem):
        taken(value, "a")


@pytest.mark.parametrize("depth", [101, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_without_end_is_invalid_and_no_recursion_error(depth: int, opening: str, closing: str):
    with pytest.raises(Invalid, match="deeper than 100 levels"):
        taken(opening * depth + "1" + closing * depth, "a")


def test_a_hundred_levels_are_read_and_brackets_in_strings_do_not_count():
    assert taken('{"a":' * 100 + '"x"' + "}" * 100, ".".join("a" * 100)) == b"x"
    assert taken('{"a": "' + r"\"[" * 1000 + '", "b": [[]]}', "b") == b"[[]]"


@pytest.mark.timeout(5)
def test_a_string_without_end_costs_no_more_than_its_length():
    with pytest.raises(Invalid):
        taken("[" * 101 + '"' + r"\"" * 500_000, "a")


def test_a_property_that_is_no_path_is_rejected_with_its_field():
    with pytest.raises(Rejected, match=r"^spec\.data\[0\]\.remoteRef\.property: .*backslash"):
        taken('{"b": 1}', "a\\")


@pytest.mark.parametrize(
    ("text", "decoding", "expected"),
    [
        ("aGk/", Decoding.BASE64, b"hi?"),
        ("aGk_", Decoding.BASE64_URL, b"hi?"),
        ("aGk=", Decoding.BASE64, b"hi"),
        ("aA==", Decoding.BASE64, b"h"),
        ("aA==", Decoding.BASE64_URL, b"h"),
        ("aG\r\nk=\n", Decoding.BASE64, b"hi"),
        ("", Decoding.BASE64, b""),
        ("aGk/", Decoding.AUTO, b"hi?"),
        ("aGk_", Decoding.AUTO, b"hi?"),
        ("aGk", Decoding.AUTO, b"aGk"),
        ("not base64!", Decoding.AUTO, b"not base64!"),
        ("\n", Decoding.AUTO, b""),
        ("password", Decoding.AUTO, b"\xa5\xab,\xc2\x8a\xdd"),
        ("aGk=", Decoding.NONE, b"aGk="),
    ],
)
def test_a_value_is_decoded_by_its_strategy(text: str, decoding: Decoding, expected: bytes):
    assert taken(text, decoding=decoding) == expected


@pytest.mark.parametrize("text", ["aGk", "aGk_", "aG k=", " aGk=", "a", "aA=", "aA===", "====", "=", "aA==aA==", "aGk=\0", "ü"])
def test_what_is_not_standard_base64_is_invalid(text: str):
    with pytest.raises(Invalid, match=r"^shop/db: the value is no Base64 "):
        taken(text, decoding=Decoding.BASE64)


@pytest.mark.parametrize("text", ["aGk", "aGk/", "a+==", "aA="])
def test_what_is_not_url_safe_base64_is_invalid(text: str):
    with pytest.raises(Invalid, match=r"^shop/db: the value is no Base64URL "):
        taken(text, decoding=Decoding.BASE64_URL)


def test_a_property_is_taken_before_it_is_decoded():
    assert taken('{"a": "aGk="}', "a", Decoding.BASE64) == b"hi"


@pytest.mark.parametrize(
    ("value", "prop", "decoding"),
    [
        (f'{{"x": "{CANARY}" oops', "a", Decoding.NONE),
        (f'{{"{CANARY}": 1, "{CANARY}": 2}}', "a", Decoding.NONE),
        (f'{{"x": "{CANARY}"}}', "a", Decoding.NONE),
        (CANARY.encode() + b"\xff", "a", Decoding.NONE),
        (f'{{"a": "{CANARY}\\ud800"}}', "a", Decoding.NONE),
        (f"{CANARY}!", "", Decoding.BASE64),
    ],
)
def test_no_error_holds_a_piece_of_the_value(value: str | bytes, prop: str, decoding: Decoding):
    with pytest.raises(KeyturnError) as caught:
        taken(value, prop, decoding)
    cause: BaseException | None = caught.value
    while cause is not None:
        assert CANARY not in repr(cause.args) + repr(vars(cause))
        cause = cause.__cause__ or cause.__context__
    assert CANARY not in "".join(traceback.format_exception_only(caught.value))
