"""What of a map of values one key of the Secret gets: members by name, what is in them by path, and bytes that are no text."""

import base64
import json

import pytest

from keyturn.decide.select import MOST_PARSED, Work, extract
from keyturn.model.errors import Invalid, NotFound
from keyturn.model.material import Form, SourceRef, Value
from keyturn.model.order import Decoding, Entry
from keyturn.model.sensitive import Sensitive

CANARY = "kt-canary-member"
TEXTS = {
    "password": CANARY,
    "empty": "",
    "tls.crt": "certificate",
    "config": '{"db": {"ports": [5432, 1.0e3]}, "tls.crt": "inner"}',
    "config.json": '{"a": "dotted"}',
    "tls": '{"crt": "by path"}',
    "broken": f"{{{CANARY}",
}


def value(texts: dict[str, str], form: Form) -> Value:
    members = texts if form is Form.MAP else {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return Value(Sensitive(json.dumps(members).encode()), form=form)


def taken(found: Value, prop: str, work: Work | None = None, decoding: Decoding = Decoding.NONE) -> bytes:
    return extract(
        found, Entry("key", None, SourceRef("db"), property=prop, decoding=decoding, field="spec.data[0]"), work or Work()
    ).reveal()


@pytest.mark.parametrize("form", [Form.MAP, Form.MAP_OF_BYTES])
@pytest.mark.parametrize(
    ("prop", "text"),
    [
        ("password", CANARY),
        ("empty", ""),
        ("tls.crt", "certificate"),  # its own name before a path
        ("config.db.ports.0", "5432"),
        ("config.db.ports.1", "1.0e3"),
        ("config.db", '{"ports":[5432,1.0e3]}'),
        (r"config.tls\.crt", "inner"),
        (r"config\.json.a", "dotted"),
        ("config", TEXTS["config"]),
    ],
)
def test_a_property_names_a_member_and_goes_on_into_it(form: Form, prop: str, text: str) -> None:
    assert taken(value(TEXTS, form), prop) == text.encode()


@pytest.mark.parametrize("form", [Form.MAP, Form.MAP_OF_BYTES])
@pytest.mark.parametrize("prop", ["none", "config.none", "config.db.ports.2", "tls.crt.more.none", "0"])
def test_what_is_not_there_is_not_found(form: Form, prop: str) -> None:
    with pytest.raises(NotFound, match="db has no property"):
        taken(value(TEXTS, form), prop)


@pytest.mark.parametrize("form", [Form.MAP, Form.MAP_OF_BYTES])
def test_a_path_into_a_member_that_is_no_json_is_invalid_and_tells_nothing_of_it(form: Form) -> None:
    with pytest.raises(Invalid, match="no JSON") as caught:
        taken(value(TEXTS, form), "broken.a")
    assert CANARY not in f"{caught.value!r} {caught.value.__cause__} {caught.value.__context__}"


def test_a_map_of_texts_is_given_whole_and_one_of_bytes_is_not() -> None:
    whole = value(TEXTS, Form.MAP)
    assert taken(whole, "") == whole.data.reveal()
    with pytest.raises(Invalid, match="property"):
        taken(value(TEXTS, Form.MAP_OF_BYTES), "")


def test_bytes_come_as_they_are_and_are_decoded_where_that_is_asked_for() -> None:
    raw = bytes(range(256))
    members = {"raw": base64.b64encode(raw).decode(), "again": base64.b64encode(base64.b64encode(raw)).decode()}
    found = Value(Sensitive(json.dumps(members).encode()), form=Form.MAP_OF_BYTES)
    assert taken(found, "raw") == raw
    assert taken(found, "again", decoding=Decoding.BASE64) == raw
    with pytest.raises(Invalid, match="not UTF-8"):
        taken(found, "raw.a")


def test_each_document_is_taken_apart_once_and_all_of_them_count() -> None:
    inner = json.dumps({"a": "x", "pad": "y" * (MOST_PARSED // 3)})
    work = Work()
    one = value({"config": inner}, Form.MAP)
    for _ in range(5):
        assert taken(one, "config.a", work) == b"x"
    with pytest.raises(Invalid, match="MiB of JSON"):
        extract(value({"config": inner}, Form.MAP), Entry("key", None, SourceRef("other"), property="config.a"), work)
