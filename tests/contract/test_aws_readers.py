"""A role that the operator itself assumes, for one namespace at a time: whom it trusts is told apart by external ids."""

from collections.abc import AsyncIterator

import pytest

from contract.aws import KEY_ID, SECRET, USER, Account, account
from contract.aws_sts import Role
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.errors import AuthFailed, ProviderError
from keyturn.model.ids import Kind
from keyturn.model.material import SourceRef, Value
from keyturn.model.order import ProviderOrder
from keyturn.model.parse import parse_provider
from keyturn.model.reader import Reader
from keyturn.ports import Provider
from keyturn.providers.registry import Surroundings, build

ROLE = "arn:aws:iam::123456789012:role/of-the-operator"
CLUSTER = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"


@pytest.fixture
async def here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Account]:
    """The operator has keys of its own."""
    async with account() as made:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        await made.put("db", "kt-canary-db")
        yield made


def shared(**more: object) -> ProviderOrder:
    """As an admin writes it."""
    return parse_provider(Kind.CLUSTER_SECRET_PROVIDER, {"provider": {"awsSecretsManager": {"region": "eu-west-1", "role": ROLE} | more}})


def opened(here: Account, order: ProviderOrder, namespace: str) -> Provider:
    """As the operator opens it for this namespace; '' is nobody's."""
    made = build(order, kind=Kind.CLUSTER_SECRET_PROVIDER, around=Surroundings(Reach(), AddressRules(), here), namespace=namespace)
    here.opened.append(made)  # type: ignore[arg-type]  # it is closed, and nothing else
    return made


def reads(here: Account, namespace: str, cluster: str = CLUSTER, **more: object) -> Provider:
    return opened(here, shared(**more).read_by(Reader(namespace, cluster)), namespace)


async def read(provider: Provider) -> Value | ProviderError:
    ref = SourceRef("db")
    return (await provider.get_many([ref]))[ref]


async def test_two_namespaces_are_two_external_ids_and_two_sessions(here: Account) -> None:
    here.front.sts.roles[ROLE] = Role({USER})
    for namespace in ("shop", "bank"):
        value = await read(reads(here, namespace))
        assert isinstance(value, Value)
        assert value.data.reveal() == b"kt-canary-db"
    told = [(each["RoleArn"], each["ExternalId"], each["RoleSessionName"]) for each in here.front.sts.sessions]
    assert told == [(ROLE, f"keyturn/{CLUSTER}/{namespace}", f"keyturn-{namespace}") for namespace in ("shop", "bank")]
    assert len({key_id for key_id, each in here.front.sts.identities.items() if each.token}) == 2


async def test_a_role_that_trusts_one_namespace_is_refused_to_every_other_and_to_other_clusters(here: Account) -> None:
    here.front.sts.roles[ROLE] = Role({USER}, external_id=f"keyturn/{CLUSTER}/shop")
    assert isinstance(await read(reads(here, "shop")), Value)
    for namespace, cluster in (("bank", CLUSTER), ("shop2", CLUSTER), ("shop", "another-cluster")):
        provider = reads(here, namespace, cluster)
        error = await read(provider)
        assert isinstance(error, AuthFailed), error
        assert f"let the operator's own identity assume the role {ROLE}; check the role's trust policy and its external id" in str(error)
        with pytest.raises(AuthFailed):
            await provider.validate()


async def test_one_that_is_nobodys_can_be_opened_and_assumes_no_role(here: Account) -> None:
    here.front.sts.roles[ROLE] = Role({USER}, external_id=f"keyturn/{CLUSTER}/shop")
    assert isinstance(await read(opened(here, shared(), "")), ProviderError)
    assert here.front.sts.sessions == []


async def test_the_session_has_its_tags(here: Account) -> None:
    here.front.sts.roles[ROLE] = Role({USER})
    assert isinstance(await read(reads(here, "shop", sessionTags=[{"key": "team", "value": "shop"}])), Value)
    [session] = [each for each in here.front.sts.identities.values() if each.token]
    assert session.tags == {"team": "shop"}


async def test_a_session_that_has_ended_is_renewed_by_the_same_external_id(here: Account) -> None:
    here.front.sts.roles[ROLE] = Role({USER}, external_id=f"keyturn/{CLUSTER}/shop")
    provider = reads(here, "shop")
    assert isinstance(await read(provider), Value)
    here.front.sts.end_sessions()
    assert isinstance(await read(provider), Value)
    assert [each["ExternalId"] for each in here.front.sts.sessions] == [f"keyturn/{CLUSTER}/shop"] * 2
