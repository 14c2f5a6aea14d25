"""A tenant's ServiceAccount of a real cluster at Entra: what token goes there, whose, for how long, and who gets none."""

import asyncio
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers

from contract.annotated import annotate
from contract.answers import get, read
from contract.azures import Rig, rigged
from contract.kubes import READER, Cluster, cluster
from controlplane.plane import ControlPlane
from keyturn.model.azure import TenantLogin
from keyturn.model.errors import AccessDenied, AuthFailed
from keyturn.model.tenant import ServiceAccount
from keyturn.testing.azure_entra import EXCHANGE, Trust
from keyturn.testing.azure_secrets import Rights

VALUE = b"kt-canary-db"


@pytest.fixture
async def rig(plane: ControlPlane) -> AsyncIterator[Rig]:
    with rigged() as made:
        made.seed("db", VALUE.decode())
        made.seed("other", "kt-canary-other")
        yield made
        await made.close()


@pytest.fixture
async def here(plane: ControlPlane, rig: Rig) -> AsyncIterator[Cluster]:
    """A namespace whose ServiceAccounts' tokens Entra can check: it was given the cluster's keys."""
    rig.entra.takes_es256 = True  # by which this cluster signs, and few others do
    async with cluster(plane) as made:
        about = await asyncio.to_thread(made.call, "GET", "/.well-known/openid-configuration")
        keys = await asyncio.to_thread(made.call, "GET", "/openid/v1/jwks")
        rig.entra.issuers[about["issuer"]] = {key["kid"]: _key(key).public_key() for key in keys["keys"]}
        yield made


def _key(told: dict[str, Any]) -> EllipticCurvePublicNumbers:
    assert told["kty"] == "EC"
    x, y = (int.from_bytes(urlsafe_b64decode(told[name] + "==")) for name in ("x", "y"))
    return EllipticCurvePublicNumbers(x, y, SECP256R1())


def trusting(rig: Rig, who: ServiceAccount, *keys: str) -> str:
    """A client that trusts the ServiceAccount, and may read these keys."""
    [issuer] = rig.entra.issuers
    client = rig.entra.add(trust=Trust(issuer, f"system:serviceaccount:{who.namespace}:{who.name}"))
    rig.vault.rights[client] = Rights(keys=frozenset(keys))
    return client


async def test_entra_gets_a_token_of_ten_minutes_for_itself_and_the_vault_decides_by_tenant(here: Cluster, rig: Rig) -> None:
    who = ServiceAccount(here.namespace, READER)
    provider = rig.open(rig.tenant_login(who, trusting(rig, who, "db")), tokens=here.tokens)
    assert await read(provider) == VALUE
    assert isinstance(await get(provider, "other"), AccessDenied)
    [claims] = rig.entra.claims
    assert claims["aud"] == [EXCHANGE]
    assert claims["exp"] - claims["iat"] == 600
    assert claims["sub"] == f"system:serviceaccount:{here.namespace}:{READER}"


async def test_another_service_account_with_the_same_settings_is_another_identity(here: Cluster, rig: Rig) -> None:
    await asyncio.to_thread(here.account, "stranger")
    client = trusting(rig, ServiceAccount(here.namespace, READER), "db")
    stranger = rig.open(rig.tenant_login(ServiceAccount(here.namespace, "stranger"), client), tokens=here.tokens)
    error = await get(stranger)
    assert isinstance(error, AuthFailed)
    assert "AADSTS700213" in str(error)


async def test_a_token_that_ends_in_mid_work_is_followed_by_another(here: Cluster, rig: Rig) -> None:
    who = ServiceAccount(here.namespace, READER)
    provider = rig.open(rig.tenant_login(who, trusting(rig, who, "db")), tokens=here.tokens)
    await read(provider)
    for _ in range(2):
        rig.entra.expire()
        answers = await asyncio.gather(*(read(provider) for _ in range(10)))
        assert set(answers) == {VALUE}
    assert len(rig.entra.claims) == 3


async def test_a_service_account_that_is_not_there_is_named_and_entra_is_not_asked(here: Cluster, rig: Rig) -> None:
    who = ServiceAccount(here.namespace, "gone")
    error = await get(rig.open(rig.tenant_login(who, trusting(rig, who, "db")), tokens=here.tokens))
    assert isinstance(error, AuthFailed)
    assert f"there is no ServiceAccount/{here.namespace}/gone" in str(error)
    assert rig.entra.asked == []


async def test_ids_may_stand_in_annotations_of_the_real_service_account(here: Cluster, rig: Rig) -> None:
    who = ServiceAccount(here.namespace, READER)
    provider = rig.open(TenantLogin(who), tokens=here.tokens)
    error = await get(provider)
    assert isinstance(error, AuthFailed)
    assert f"no tenant is named for ServiceAccount/{here.namespace}/{READER}" in str(error)
    client, other = trusting(rig, who, "db"), trusting(rig, who, "other")
    ids = {"azure.workload.identity/tenant-id": rig.entra.tenant, "azure.workload.identity/client-id": client}
    await annotate(here, READER, **ids)
    assert await read(provider) == VALUE
    assert isinstance(await get(provider, "other"), AccessDenied)
    await annotate(here, READER, **ids | {"azure.workload.identity/client-id": other})
    rig.entra.expire()
    assert await read(provider, "other") == b"kt-canary-other"
