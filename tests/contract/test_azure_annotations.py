"""Ids in annotations of ServiceAccounts, as the webhook of workload identity reads them for pods; Entra is asked by them, or not at all."""

from collections.abc import AsyncIterator, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from contract.answers import get, read
from contract.azure_tokens import ISSUER, READER, Issuer, trusting
from contract.azures import Rig, rigged
from keyturn.model.azure import TenantLogin
from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.model.tenant import ServiceAccount

VALUE = b"kt-canary-db"
CLIENT, TENANT = "azure.workload.identity/client-id", "azure.workload.identity/tenant-id"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    with rigged() as made:
        made.seed("db", VALUE.decode())
        yield made
        await made.close()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def issuer(rig: Rig, key: rsa.RSAPrivateKey) -> Issuer:
    """The reader is annotated with both ids of a client that trusts it."""
    rig.entra.issuers[ISSUER] = {"one": key.public_key()}
    made = Issuer(key)
    made.noted[READER] = {CLIENT: trusting(rig), TENANT: rig.entra.tenant}
    return made


async def failed(rig: Rig, issuer: Issuer, login: TenantLogin, *says: str) -> None:
    """Neither Entra nor the API server is asked for a token."""
    error = await get(rig.open(login, tokens=issuer))
    assert isinstance(error, AuthFailed), error
    assert all(each in str(error) for each in says), error
    assert "kt-canary" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"
    assert (rig.entra.asked, issuer.made) == ([], [])


async def test_ids_that_the_spec_leaves_out_stand_on_the_service_account(rig: Rig, issuer: Issuer) -> None:
    assert await read(rig.open(TenantLogin(READER), tokens=issuer)) == VALUE
    assert {each["client_id"] for each in rig.entra.asked} == {issuer.noted[READER][CLIENT]}


async def test_each_id_may_stand_in_either_place(rig: Rig, issuer: Issuer) -> None:
    client, tenant = issuer.noted[READER][CLIENT], rig.entra.tenant
    issuer.noted[READER] = {CLIENT: client}
    assert await read(rig.open(TenantLogin(READER, tenant), tokens=issuer)) == VALUE
    assert await read(rig.open(TenantLogin(READER, rig.keep("tenant", f"{tenant}\n")), tokens=issuer)) == VALUE
    issuer.noted[READER] = {TENANT: tenant}
    assert await read(rig.open(TenantLogin(READER, client_id=rig.keep("client", client)), tokens=issuer)) == VALUE


async def test_what_the_spec_says_goes_before_what_is_annotated(rig: Rig, issuer: Issuer) -> None:
    client = issuer.noted[READER][CLIENT]
    issuer.noted[READER] = {CLIENT: "0" * 36, TENANT: "another.example"}
    assert await read(rig.open(rig.tenant_login(READER, client), tokens=issuer)) == VALUE
    issuer.noted[READER] = {CLIENT: "0" * 36, TENANT: rig.entra.tenant}
    assert await read(rig.open(TenantLogin(READER, client_id=rig.keep("client", client)), tokens=issuer)) == VALUE


async def test_where_the_spec_says_all_nobody_looks_at_the_service_account(
    rig: Rig, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(who: ServiceAccount) -> Mapping[str, str]:
        raise Unavailable(f"look at {who}: no answer from the API server")

    monkeypatch.setattr(issuer, "annotations", away)
    assert await read(rig.open(rig.tenant_login(READER, issuer.noted[READER][CLIENT]), tokens=issuer)) == VALUE
    assert type(await get(rig.open(TenantLogin(READER), tokens=issuer))) is Unavailable


async def test_an_id_that_stands_nowhere_is_told_with_both_places(rig: Rig, issuer: Issuer) -> None:
    whole = issuer.noted.pop(READER)
    await failed(rig, issuer, TenantLogin(READER), TENANT, "spec.provider.azureKeyVault.tenantId", "ServiceAccount/shop/reader")
    issuer.noted[READER] = {TENANT: whole[TENANT]}
    await failed(rig, issuer, TenantLogin(READER), CLIENT, "spec.provider.azureKeyVault.authSecretRef.clientId")


@pytest.mark.parametrize("name", [CLIENT, TENANT])
@pytest.mark.parametrize("text", ["../kt-canary", "a/b", "kt-canary id", "ä", "x" * 300])
async def test_an_annotation_that_would_lead_elsewhere_is_never_sent(rig: Rig, issuer: Issuer, name: str, text: str) -> None:
    issuer.noted[READER][name] = text
    await failed(rig, issuer, TenantLogin(READER), f"the annotation {name} of ServiceAccount/shop/reader is no")


async def test_a_changed_annotation_holds_from_the_next_log_in_on(rig: Rig, issuer: Issuer) -> None:
    provider = rig.open(TenantLogin(READER), tokens=issuer)
    assert await read(provider) == VALUE
    issuer.noted[READER][CLIENT] = second = trusting(rig)
    assert await read(provider) == VALUE
    assert second not in {each["client_id"] for each in rig.entra.asked}
    rig.entra.expire()
    assert await read(provider) == VALUE
    assert rig.entra.asked[-1]["client_id"] == second


async def test_a_neighbours_client_is_not_to_be_had_by_naming_it(rig: Rig, issuer: Issuer) -> None:
    thief = ServiceAccount("bank", "reader")
    issuer.noted[thief] = issuer.noted[READER]
    error = await get(rig.open(TenantLogin(thief), tokens=issuer))
    assert isinstance(error, AuthFailed)
    assert "ServiceAccount/bank/reader" in str(error)
    assert "AADSTS700213" in str(error)
