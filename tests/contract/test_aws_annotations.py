"""Roles in annotations of ServiceAccounts, at a fake STS that lets nobody be a role, or assume one, but whom it trusts."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from contract.answers import get, text_of
from contract.aws import Account, account, refused
from contract.aws_sts import Role
from contract.aws_tokens import APP, SUBJECT, Tokens
from contract.vaults import Signer
from keyturn.model.aws import AUDIENCE, AssumedRole, TenantLogin
from keyturn.model.errors import AuthFailed, Rejected, Unavailable
from keyturn.model.tenant import ServiceAccount, TenantToken

NOTED = "eks.amazonaws.com/role-arn"
OWN, SHOP = "arn:aws:iam::123456789012:role/app", "arn:aws:iam::210987654321:role/shop"
TAGS = (("team", "shop"), ("tier", ""))


@pytest.fixture
async def here() -> AsyncIterator[Account]:
    async with account() as made:
        await made.put("db", "kt-canary-db")
        yield made


@pytest.fixture
def tokens(here: Account) -> Tokens:
    """The app's, which is annotated with a role of its own that trusts it, and which alone may be the shop's."""
    signer = Signer()
    here.front.sts.roles[OWN] = Role(issuer=signer.public_key, subject=SUBJECT)
    here.front.sts.roles[SHOP] = Role({OWN}, external_id="me/2")
    here.tokens = made = Tokens(signer)
    made.noted[APP] = {NOTED: OWN}
    return made


def asked(here: Account) -> list[tuple[str, str]]:
    """What STS was asked for, and for which role."""
    return [(operation, form["RoleArn"]) for operation, form in here.front.asked if "RoleArn" in form]


async def test_a_service_account_is_the_role_that_it_is_annotated_with(here: Account, tokens: Tokens) -> None:
    answers = await asyncio.gather(*(get(here.open(TenantLogin(APP)), "db") for _ in range(3)))
    assert [text_of(answer) for answer in answers] == ["kt-canary-db"] * 3
    assert set(asked(here)) == {("AssumeRoleWithWebIdentity", OWN)}
    assert set(tokens.made) == {(APP, AUDIENCE)}


async def test_a_role_in_the_spec_is_on_top_of_the_annotated_one_with_external_id_and_tags(here: Account, tokens: Tokens) -> None:
    provider = here.open(TenantLogin(APP), AssumedRole(SHOP, "me/2", TAGS))
    answers = await asyncio.gather(*(get(provider, "db") for _ in range(10)))
    assert [text_of(answer) for answer in answers] == ["kt-canary-db"] * 10
    assert asked(here) == [("AssumeRoleWithWebIdentity", OWN), ("AssumeRole", SHOP)]
    first, second = here.front.sts.sessions
    assert {first["RoleSessionName"], second["RoleSessionName"]} == {"keyturn-shop@app"}
    assert not {"ExternalId", "Tags.member.1.Key"} & first.keys()
    assert "WebIdentityToken" not in second
    assert list(here.front.sts.identities.values())[-1].tags == dict(TAGS)
    here.front.sts.end_sessions()
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    assert len(tokens.made) == 2


async def test_the_role_on_top_decides_by_the_annotated_one_and_by_the_external_id(here: Account, tokens: Tokens) -> None:
    says = f"let ServiceAccount/shop/app as the role {OWN} assume the role {SHOP}"
    for external_id in ("", "another"):
        await refused(here, says, login=TenantLogin(APP), role=AssumedRole(SHOP, external_id))
    here.front.sts.roles[SHOP].may_assume = {"arn:aws:iam::123456789012:role/other"}
    await refused(here, says, login=TenantLogin(APP), role=AssumedRole(SHOP, "me/2"))


async def test_the_same_role_in_both_places_is_had_by_its_token_alone(here: Account, tokens: Tokens) -> None:
    assert text_of(await get(here.open(TenantLogin(APP), AssumedRole(OWN)), "db")) == "kt-canary-db"
    assert asked(here) == [("AssumeRoleWithWebIdentity", OWN)]


async def test_without_an_annotation_the_specs_role_is_had_by_the_token(here: Account, tokens: Tokens) -> None:
    tokens.noted.clear()
    assert text_of(await get(here.open(TenantLogin(APP), AssumedRole(OWN)), "db")) == "kt-canary-db"
    assert asked(here) == [("AssumeRoleWithWebIdentity", OWN)]


@pytest.mark.parametrize("role", [AssumedRole(OWN, "me"), AssumedRole(OWN, "", TAGS)], ids=["external id", "tags"])
async def test_what_no_token_is_exchanged_with_is_refused_before_anybody_is_asked(here: Account, tokens: Tokens, role: AssumedRole) -> None:
    tokens.noted.clear()
    await refused(here, f"name the other role in its annotation {NOTED}", login=TenantLogin(APP), role=role)
    assert (here.front.asked, tokens.made) == ([], [])


@pytest.mark.parametrize(
    ("noted", "says"),
    [
        ({}, "no role is named for ServiceAccount/shop/app"),
        ({NOTED: "kt-canary-role"}, f"annotation {NOTED} of ServiceAccount/shop/app is no ARN"),
        ({NOTED: OWN, "eks.amazonaws.com/audience": "kt-canary-vault"}, "annotation eks.amazonaws.com/audience of ServiceAccount/shop/app"),
    ],
)
async def test_an_annotation_that_names_no_role_is_told_and_no_token_is_made(
    here: Account, tokens: Tokens, noted: dict[str, str], says: str
) -> None:
    tokens.noted[APP] = noted
    await refused(here, says, login=TenantLogin(APP))
    assert (here.front.asked, tokens.made) == ([], [])


async def test_a_changed_annotation_holds_from_the_next_log_in_on(here: Account, tokens: Tokens) -> None:
    provider = here.open(TenantLogin(APP))
    await get(provider, "db")
    other = "arn:aws:iam::123456789012:role/other"
    here.front.sts.roles[other] = here.front.sts.roles[OWN]
    tokens.noted[APP] = {NOTED: other}
    await get(provider, "db")
    assert len(here.front.sts.sessions) == 1
    here.now_s += 2401
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    assert [each["RoleArn"] for each in here.front.sts.sessions] == [OWN, other]
    # A role that is taken away from it is not held on to beyond the session.
    tokens.noted[APP] = {}
    here.now_s += 2401
    assert isinstance(await get(provider, "db"), AuthFailed)


async def test_a_neighbours_role_is_not_to_be_had_by_naming_it(here: Account, tokens: Tokens) -> None:
    thief = ServiceAccount("bank", "app")
    tokens.noted[thief] = {NOTED: OWN}
    await refused(here, f"let ServiceAccount/bank/app be the role {OWN}", login=TenantLogin(thief))


async def test_an_api_server_that_is_away_is_an_outage_and_no_other_role(here: Account, tokens: Tokens) -> None:
    provider = here.open(TenantLogin(APP), AssumedRole(OWN))

    async def away(who: ServiceAccount) -> dict[str, str]:
        raise Unavailable(f"look at {who}: no answer from the API server")

    tokens.annotations = away  # type: ignore[method-assign]  # it is a test's own class
    assert type(await get(provider, "db")) is Unavailable
    assert here.front.asked == []


async def test_a_cluster_whose_own_audience_is_awss_gives_no_token(here: Account, tokens: Tokens) -> None:
    async def abroad(who: ServiceAccount, audience: str) -> TenantToken:
        raise Rejected(f"the audience {audience!r} is this cluster's API server's")

    tokens.abroad = abroad  # type: ignore[method-assign]  # it is a test's own class
    await refused(here, AUDIENCE, login=TenantLogin(APP))
    assert here.front.asked == []
