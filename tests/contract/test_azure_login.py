"""How the azureKeyVault provider logs in: as a service principal, as the operator, and as a tenant's ServiceAccount."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from contract.answers import get, read
from contract.azure_tokens import ISSUER, READER, Issuer, trusting
from contract.azures import SECRET, Rig, rigged
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.azure import AzureConfig, CertificateLogin, ManagedLogin, OwnLogin, Principal, SecretLogin
from keyturn.model.errors import AccessDenied, AuthFailed, ProviderError, Rejected, Throttled, Unavailable
from keyturn.model.ids import Kind
from keyturn.model.order import ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount, TenantToken
from keyturn.providers.registry import Surroundings, build
from keyturn.testing.azure_entra import EXCHANGE
from keyturn.testing.azure_secrets import Rights

PROSE = "kt-canary-prose"
VALUE = b"kt-canary-db"


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
    rig.entra.issuers[ISSUER] = {"one": key.public_key()}
    return Issuer(key)


def refused(error: object, kind: type[ProviderError], *says: str) -> None:
    assert isinstance(error, kind), error
    assert all(each in str(error) for each in says), error
    assert PROSE not in f"{error!r} {error.__cause__!r} {error.__context__!r}"


# -- service principals ---------------------------------------------------------------------------------------------------------------


async def test_a_wrong_client_secret_is_told_by_its_place_and_the_code(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    error = await get(rig.open(rig.login("kt-canary-wrong")))
    refused(error, AuthFailed, "Secret/shop/secret-15", "AADSTS7000215", "store a client secret's value there, and not its id")
    assert "kt-canary" not in caplog.text


async def test_a_client_secret_that_was_replaced_is_used_by_the_next_log_in(rig: Rig) -> None:
    login = rig.login()
    provider = rig.open(login)
    assert await read(provider) == VALUE
    rig.entra.clients[rig.client_id].secrets = {"kt-canary-second"}
    rig.entra.expire()
    rig.secrets[login.secret] = Sensitive.of("kt-canary-second")
    assert await read(provider) == VALUE


async def test_white_space_around_a_secret_is_none_of_it(rig: Rig) -> None:
    assert await read(rig.open(SecretLogin(rig.principal(), rig.keep("spaced", f"{SECRET}\n")))) == VALUE


@pytest.mark.parametrize(("kept", "says"), [(b"", "is empty"), (b"\xff", "no text"), (b" \n", "is empty")])
async def test_a_secret_that_is_none_is_never_sent(rig: Rig, kept: bytes, says: str) -> None:
    refused(await get(rig.open(SecretLogin(rig.principal(), rig.keep("odd", kept)))), AuthFailed, says)
    assert rig.entra.asked == []


@pytest.mark.parametrize("tenant", ["a/b", "../common", "x?y", "..", "ä"])
async def test_a_tenant_that_would_lead_elsewhere_is_never_asked(rig: Rig, tenant: str) -> None:
    principal = Principal(rig.keep("tenant", tenant), rig.principal().client_id)
    refused(await get(rig.open(SecretLogin(principal, rig.keep("s", SECRET)))), AuthFailed, "no id and no domain of a tenant")
    assert rig.entra.asked == []


async def test_a_tenant_that_is_not_there_is_no_log_in(rig: Rig) -> None:
    principal = Principal("another.example", rig.principal().client_id)
    error = await get(rig.open(SecretLogin(principal, rig.keep("s", SECRET))))
    refused(error, AuthFailed, "AADSTS90002", "there is no such tenant; correct the tenant's id in tenantId")
    kept = Principal(rig.keep("tenant", "another.example"), rig.principal().client_id)
    refused(await get(rig.open(SecretLogin(kept, rig.keep("s", SECRET)))), AuthFailed, "correct the tenant's id in Secret/shop/tenant, key")


async def test_a_client_that_is_not_there_is_told_with_where_its_id_stands(rig: Rig) -> None:
    principal = Principal(rig.entra.tenant, rig.keep("client", "0" * 36))
    error = await get(rig.open(SecretLogin(principal, rig.keep("s", SECRET))))
    refused(error, AuthFailed, "AADSTS700016", "no application of this client id; correct it in Secret/shop/client, key")


def pair(key: rsa.RSAPrivateKey) -> tuple[bytes, bytes]:
    """A certificate, and it with its key, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
    certificate = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate, certificate + private


async def test_a_certificate_logs_in_by_a_signature_and_its_key_stays_here(rig: Rig, key: rsa.RSAPrivateKey) -> None:
    certificate, both = pair(key)
    client = rig.entra.add(certificate=certificate)
    rig.vault.rights[client] = Rights()
    assert await read(rig.open(CertificateLogin(rig.principal(client), rig.keep("pem", both)))) == VALUE
    stranger = rsa.generate_private_key(65537, 2048)
    wrong = rig.open(CertificateLogin(rig.principal(client), rig.keep("wrong", pair(stranger)[1])))
    refused(await get(wrong), AuthFailed, "the certificate in Secret/shop/wrong", "AADSTS700027")


async def test_a_certificate_without_its_key_is_no_log_in(rig: Rig, key: rsa.RSAPrivateKey) -> None:
    for kept, says in ((pair(key)[0], "holds no RSA private key"), (b"kt-canary-no-pem", "is not in PEM")):
        provider = rig.open(CertificateLogin(rig.principal(), rig.keep("half", kept)))
        refused(await get(provider), AuthFailed, f"Secret/shop/half, key value, {says}")
    assert rig.entra.asked == []


async def test_a_token_service_that_fails_is_no_wrong_credential(rig: Rig) -> None:
    from aiohttp import web

    said = {"error": "temporarily_unavailable", "error_description": PROSE}
    rig.entra.trouble = lambda _: web.json_response(said, status=503)
    refused(await get(rig.open()), Unavailable, "HTTP 503")
    rig.entra.trouble = lambda _: web.json_response(said, status=429, headers={"Retry-After": "9"})
    error = await get(rig.open())
    refused(error, Throttled)
    assert isinstance(error, Throttled)
    assert error.retry_after == 9
    rig.entra.trouble = lambda _: web.Response(status=200, text=f"<html>{PROSE}", content_type="text/html")
    refused(await get(rig.open()), Unavailable)
    answers: tuple[object, ...] = ({}, {"access_token": "kt-canary-t"}, {"expires_in": 3599}, {"access_token": None, "expires_in": "x"}, [])
    for told in answers:
        rig.entra.trouble = lambda _, told=told: web.json_response(told)  # type: ignore[misc]  # a lambda's defaults have no types
        refused(await get(rig.open()), Unavailable)


# -- the operator ---------------------------------------------------------------------------------------------------------------------


async def test_a_managed_identity_is_asked_for_at_the_machine_and_not_through_a_proxy(rig: Rig) -> None:
    rig.entra.machine = rig.entra.add(is_managed=True)
    other = rig.entra.add(is_managed=True)
    rig.vault.rights[rig.entra.machine] = Rights(keys=frozenset({"db"}))
    provider = rig.open(ManagedLogin())
    assert await read(provider) == VALUE
    assert rig.entra.asked[0]["resource"].startswith("https://vault.azure.net")
    assert "login.microsoftonline.com" not in rig.cloud.asked_proxy
    refused(await get(rig.open(ManagedLogin(rig.keep("other", other)))), AccessDenied)
    rig.entra.expire()
    assert await read(provider) == VALUE


async def test_a_machine_without_that_identity_says_so(rig: Rig) -> None:
    named = await get(rig.open(ManagedLogin(rig.keep("nobody", "0" * 36))))
    refused(named, AuthFailed, "the operator's managed identity", "assign that identity to the operator's machines", "Secret/shop/nobody")
    refused(await get(rig.open(ManagedLogin())), AuthFailed, "assign one to the operator's machines, or name one by its client id")


async def test_no_metadata_service_is_an_outage(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    refused(await get(rig.open(ManagedLogin())), Unavailable)


@pytest.fixture
def projected(issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rig: Rig) -> Path:
    """The operator's own token, and what the webhook of workload identity sets."""
    operator = ServiceAccount("keyturn", "keyturn")
    place = tmp_path / "token"
    place.write_text(issuer.token(operator))
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(place))
    monkeypatch.setenv("AZURE_CLIENT_ID", trusting(rig, operator))
    monkeypatch.setenv("AZURE_TENANT_ID", rig.entra.tenant)
    return place


async def test_the_operators_workload_identity_is_what_its_pod_has(rig: Rig, projected: Path, issuer: Issuer) -> None:
    provider = rig.open(OwnLogin())
    assert await read(provider) == VALUE
    other = ServiceAccount("keyturn", "other")
    client = trusting(rig, other)
    refused(await get(rig.open(OwnLogin(client_id=rig.keep("client", client)))), AuthFailed, "workload identity", "AADSTS700213")
    await asyncio.to_thread(projected.write_text, issuer.token(other))
    assert await read(rig.open(OwnLogin(rig.entra.tenant, rig.keep("client", client)))) == VALUE


@pytest.mark.parametrize("name", ["AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"])
async def test_without_a_workload_identity_it_says_what_is_missing(
    rig: Rig, projected: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert os.environ[name]
    monkeypatch.delenv(name)
    refused(await get(rig.open(OwnLogin())), AuthFailed, "the operator has no workload identity", name)


# -- tenants --------------------------------------------------------------------------------------------------------------------------


async def test_a_service_account_logs_in_by_a_token_for_entra_alone(rig: Rig, issuer: Issuer) -> None:
    login = rig.tenant_login(READER, trusting(rig))
    provider = rig.open(login, tokens=issuer)
    assert await read(provider) == VALUE
    assert issuer.made == [(READER, "api://AzureADTokenExchange")]
    rig.entra.expire()
    assert await read(provider) == VALUE
    assert len(issuer.made) == 2


async def test_two_tenants_with_the_same_settings_read_each_its_own(rig: Rig, issuer: Issuer) -> None:
    rig.seed("bank", "kt-canary-bank")
    teller = ServiceAccount("bank", "reader")
    ours, theirs = trusting(rig), trusting(rig, teller)
    rig.vault.rights |= {ours: Rights(keys=frozenset({"db"})), theirs: Rights(keys=frozenset({"bank"}))}
    mine = rig.open(rig.tenant_login(READER, ours), tokens=issuer)
    yours = rig.open(rig.tenant_login(teller, theirs), tokens=issuer)
    assert await read(mine) == VALUE
    assert await read(yours, "bank") == b"kt-canary-bank"
    refused(await get(mine, "bank"), AccessDenied)
    refused(await get(yours, "db"), AccessDenied)
    # Another's client is not to be had by naming it.
    subject = "the subject system:serviceaccount:shop:reader and the audience api://AzureADTokenExchange"
    refused(await get(rig.open(rig.tenant_login(READER, theirs), tokens=issuer), "bank"), AuthFailed, "AADSTS700213", subject)


async def test_a_token_that_entra_does_not_take_is_told_by_whose_it_is(rig: Rig, issuer: Issuer) -> None:
    login = rig.tenant_login(READER, trusting(rig))
    issuer.life_s = -1
    refused(await get(rig.open(login, tokens=issuer)), AuthFailed, "ServiceAccount/shop/reader", "AADSTS700024")
    issuer.life_s, issuer.audience = 600, "elsewhere"
    refused(await get(rig.open(login, tokens=issuer)), AuthFailed, "AADSTS700212")
    issuer.audience, issuer.key = "", rsa.generate_private_key(65537, 2048)
    refused(await get(rig.open(login, tokens=issuer)), AuthFailed, "AADSTS50013")


async def test_outside_of_a_cluster_nobody_makes_tokens(rig: Rig) -> None:
    login = rig.tenant_login(READER, trusting(rig))
    refused(await get(rig.open(login)), AuthFailed, "ServiceAccount/shop/reader")
    order = ProviderOrder(AzureConfig(rig.vault.host, login))
    with pytest.raises(Rejected, match="serviceAccountRef"):
        build(order, kind=Kind.SECRET_PROVIDER, around=Surroundings(Reach(), AddressRules(), rig), namespace="shop")


async def test_a_cluster_whose_own_audience_is_entras_gives_no_token(rig: Rig, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def abroad(who: ServiceAccount, audience: str) -> TenantToken:
        raise Rejected(f"the audience {audience!r} is this cluster's API server's")

    monkeypatch.setattr(issuer, "abroad", abroad)
    refused(await get(rig.open(rig.tenant_login(READER, trusting(rig)), tokens=issuer)), AuthFailed, EXCHANGE)
    assert rig.entra.asked == []
