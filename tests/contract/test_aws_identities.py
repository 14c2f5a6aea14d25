"""Log-ins to AWS as a tenant's ServiceAccount and as the operator itself, at a fake STS that checks tokens and audiences."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.answers import get, text_of
from contract.aws import KEY_ID, SECRET, Account, account, refused
from contract.aws_sts import AUDIENCE, Role
from contract.aws_tokens import APP, SUBJECT, Tokens
from contract.vaults import Signer
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.aws import AssumedRole, AwsConfig, OwnLogin, TenantLogin
from keyturn.model.errors import AuthFailed, Rejected, Unavailable
from keyturn.model.ids import Kind
from keyturn.model.order import ProviderOrder
from keyturn.model.tenant import ServiceAccount
from keyturn.providers.registry import Surroundings, build

OTHER = "arn:aws:iam::123456789012:role/other"


@pytest.fixture
async def here() -> AsyncIterator[Account]:
    async with account() as made:
        await made.put("db", "kt-canary-db")
        yield made


# -- a tenant's ServiceAccount -----------------------------------------------------------------------------------------------------


@pytest.fixture
def signer(here: Account) -> Signer:
    """The cluster's, which the role of a ServiceAccount trusts."""
    made = Signer()
    here.front.sts.roles[OTHER] = Role(issuer=made.public_key, subject=SUBJECT)
    here.tokens = Tokens(made)
    return made


async def test_a_service_account_is_the_role_that_trusts_it(here: Account, signer: Signer) -> None:
    provider = here.open(TenantLogin(APP), AssumedRole(OTHER))
    await asyncio.gather(*(get(provider, "db") for _ in range(10)))
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    assert isinstance(here.tokens, Tokens)
    assert here.tokens.made == [(APP, AUDIENCE)]
    [asked] = here.front.sts.sessions
    assert asked["RoleSessionName"] == "keyturn-shop@app"
    here.front.sts.end_sessions()
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    assert len(here.tokens.made) == 2


async def test_two_tenants_with_one_role_are_told_apart_by_their_service_accounts(here: Account, signer: Signer) -> None:
    assert text_of(await get(here.open(TenantLogin(APP), AssumedRole(OTHER)), "db")) == "kt-canary-db"
    await refused(here, "ServiceAccount/bank/app be the role", login=TenantLogin(ServiceAccount("bank", "app")), role=AssumedRole(OTHER))


@pytest.mark.parametrize("claims", [{"exp": 1000}, {"aud": ["vault"]}, {"sub": "system:serviceaccount:shop:other"}], ids=str)
async def test_a_token_that_has_ended_or_is_for_others_is_taken_for_nobodys(
    here: Account, signer: Signer, claims: dict[str, object]
) -> None:
    here.tokens = Tokens(signer, **claims)
    await refused(here, "ServiceAccount/shop/app be the role", login=TenantLogin(APP), role=AssumedRole(OTHER))


async def test_another_clusters_token_is_refused(here: Account, signer: Signer) -> None:
    here.tokens = Tokens(Signer())
    await refused(here, "check the role's trust policy and its OIDC provider", login=TenantLogin(APP), role=AssumedRole(OTHER))


def test_outside_of_a_cluster_there_is_no_log_in_as_a_service_account() -> None:
    around = Surroundings(Reach(), AddressRules(), Account())
    order = ProviderOrder(AwsConfig("eu-west-1", TenantLogin(APP), AssumedRole(OTHER)))
    with pytest.raises(Rejected, match="serviceAccountRef"):
        build(order, kind=Kind.SECRET_PROVIDER, around=around, namespace="shop")


# -- the operator's own identity ---------------------------------------------------------------------------------------------------


async def test_the_operators_own_keys_come_by_variables(here: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "kt-canary-wrong")
    provider = here.open(OwnLogin())
    assert isinstance(await get(provider, "db"), AuthFailed)
    # Found anew once what was found is refused.
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert text_of(await get(provider, "db")) == "kt-canary-db"


async def test_without_an_identity_the_operator_says_what_it_lacks(here: Account) -> None:
    await refused(here, "there is no AWS identity here", login=OwnLogin())


async def test_the_operators_own_keys_are_never_a_tenants(here: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    login = here.keys(KEY_ID, "kt-canary-wrong")
    await refused(here, f"the access key in {login.key_id}", login=login)


async def test_the_operators_role_by_a_web_identity(here: Account, signer: Signer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(signer.sign(SUBJECT, (AUDIENCE,)))
    monkeypatch.setenv("AWS_ROLE_ARN", OTHER)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    provider = here.open(OwnLogin())
    for _ in range(3):
        assert text_of(await get(provider, "db")) == "kt-canary-db"
        here.now_s += 61
    assert len(here.front.sts.sessions) == 1
    here.front.sts.end_sessions()
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    assert len(here.front.sts.sessions) == 2


async def test_a_pod_identity_agent_that_is_away_is_an_outage(here: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("kt-canary-pod-token")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    error = await get(here.open(OwnLogin()), "db")
    assert type(error) is Unavailable
    assert error.__cause__ is error.__context__ is None
