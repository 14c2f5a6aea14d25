"""What is printed of a row that somebody else wrote says only what it says, on its own line, in its own order."""

import json
from datetime import UTC, datetime

import pytest

from keyturn.decide.auditrow import row_of, texts_of
from keyturn.decide.printable import printed
from keyturn.model.audit import AuditRow

SIGNS = [
    *range(0x20),
    *range(0x7F, 0xA0),
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
]


@pytest.mark.parametrize("sign", SIGNS)
def test_what_a_terminal_obeys_is_spelled_out(sign: int) -> None:
    assert printed(f"a{chr(sign)}b") == f"a\\u{sign:04x}b"
    made = texts_of(AuditRow("e", datetime.now(UTC), f"a{chr(sign)}b", "x", "s", "t", keys=(chr(sign),), details={chr(sign): chr(sign)}))
    assert made["actor"] == f"a\\u{sign:04x}b"
    assert not any(chr(sign) in text for text in made.values())


def test_all_other_text_is_printed_as_it_is() -> None:
    whole = "Secret/shop/app → ключ é 日本 ٣ 🙂 \\u001b\u00a0"
    assert printed(whole) == whole


def test_json_says_the_same_after_it() -> None:
    told = {"a": "x\u009b\u202e\u2028y"}
    assert json.loads(printed(json.dumps(told, ensure_ascii=False))) == told


@pytest.mark.parametrize(
    ("keys", "details"),
    [('[1, null, "a", ["b"], {}]', '{"n": 1, "a": "b", "c": null, "d": {"e": "f"}}'), ('["a"]', '{"a": "b"}')],
)
def test_members_that_are_no_text_are_none_of_a_row(keys: str, details: str) -> None:
    """Whoever settles such an intent says so in a row of its own, which holds text alone."""
    texts = {**texts_of(AuditRow("e", datetime.now(UTC), "a", "x", "s", "t")), "keys": keys, "details": details}
    row = row_of(texts)
    assert (row.keys, row.details) == (("a",), {"a": "b"})
    assert texts_of(row)["keys"] == '["a"]'
