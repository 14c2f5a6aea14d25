"""Whom a ServiceAccount's token is for, read from tokens of all shapes, and what may go abroad."""

import base64
import json

import pytest

from keyturn.decide.audience import audiences, check_abroad, uid_of
from keyturn.model.errors import Rejected
from keyturn.model.sensitive import Sensitive

HOME = ("https://kubernetes.default.svc", "k3s")


def token(claims: object) -> Sensitive:
    parts = (base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in ({"alg": "RS256"}, claims))
    return Sensitive(b".".join([*parts, b"signature"]))


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"aud": ["vault"]}, ("vault",)),
        ({"aud": ["a", "b"]}, ("a", "b")),
        ({"aud": "alone"}, ("alone",)),
        ({"aud": ["", 1, None, "vault"]}, ("vault",)),
        ({"aud": {"vault": True}}, ()),
        ({}, ()),
        ([], ()),
        ("aud", ()),
    ],
)
def test_audiences_are_those_that_the_claims_name(claims: object, named: tuple[str, ...]) -> None:
    assert audiences(token(claims)) == named


@pytest.mark.parametrize("text", [b"", b"static-token", b"a.b", b"a.b.c", b"..", b"a.!!!.c", b"a.\xff\xfe.c", b"a." + b"W" * 4000 + b".c"])
def test_what_is_no_web_token_names_nobody(text: bytes) -> None:
    assert audiences(Sensitive(text)) == ()
    assert uid_of(Sensitive(text)) == ""


@pytest.mark.parametrize(
    ("claims", "uid"),
    [
        ({"kubernetes.io": {"serviceaccount": {"uid": "u-1"}}}, "u-1"),
        ({"kubernetes.io": {"serviceaccount": {"uid": 1}}}, ""),
        ({"kubernetes.io": {"serviceaccount": []}}, ""),
        ({"kubernetes.io": None}, ""),
        ({}, ""),
    ],
)
def test_a_token_says_which_incarnation_it_was_made_for(claims: object, uid: str) -> None:
    assert uid_of(token(claims)) == uid


@pytest.mark.parametrize("audience", ["", *HOME])
def test_no_token_that_the_api_server_takes_goes_abroad(audience: str) -> None:
    with pytest.raises(Rejected):
        check_abroad(audience, HOME)


def test_another_servers_audience_may_go_abroad() -> None:
    check_abroad("vault", HOME)
    check_abroad("vault", ())
