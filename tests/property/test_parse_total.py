"""Parsing is total: any JSON gives a noun or a `Rejected`, and nothing else ever leaves it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from keyturn.decide.reach import check_prefix
from keyturn.model.errors import Rejected
from keyturn.model.ids import Kind
from keyturn.model.order import Order, ProviderOrder
from keyturn.model.parse import parse_managed_secret, parse_provider
from keyturn.model.specs_provider import reaches_settings
from manifests import Json
from manifests.mutations import WILD, mutated

FIELD = re.compile(r"^(spec|metadata)\b")
LONGEST_MESSAGE = 2000


def parse(kind: Kind, spec: object, *, strict: bool) -> Order | ProviderOrder | Rejected:
    try:
        if kind is Kind.MANAGED_SECRET:
            return parse_managed_secret("app", spec, strict=strict)
        return parse_provider(kind, spec, "shop" if kind is Kind.SECRET_PROVIDER else "", strict=strict)
    except Rejected as rejected:
        return rejected


def is_sound(outcome: Order | ProviderOrder | Rejected) -> bool:
    return not isinstance(outcome, Rejected) or (FIELD.match(str(outcome)) is not None and len(str(outcome)) < LONGEST_MESSAGE)


@given(kind=st.sampled_from(Kind), spec=WILD, strict=st.booleans())
def test_any_json_is_parsed_or_rejected(kind: Kind, spec: object, *, strict: bool) -> None:
    assert is_sound(parse(kind, spec, strict=strict))


@given(changed=mutated(WILD), strict=st.booleans())
def test_a_valid_spec_with_one_thing_changed_is_parsed_or_rejected(changed: tuple[Kind, Json], *, strict: bool) -> None:
    kind, spec = changed

    assert is_sound(parse(kind, spec, strict=strict))


@given(st.text(alphabet="KEYTURN_SAWLP", max_size=16))
def test_the_schema_refuses_no_prefix_that_a_flag_could_open(prefix: str) -> None:
    if not reaches_settings(prefix):
        return
    try:
        check_prefix(prefix, [prefix])
    except Rejected:
        return
    raise AssertionError(prefix)
