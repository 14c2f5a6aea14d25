"""Tenants of a real API server at a fake Google: whose token is exchanged, for which audience, and what it opens."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract.answers import get, read
from contract.googles import ACCOUNT, AUDIENCE, Rig, rigged
from contract.kubes import Cluster, cluster
from controlplane.plane import ControlPlane
from keyturn.decide.address import AddressRules
from keyturn.decide.audience import audiences
from keyturn.decide.reach import Reach
from keyturn.model.errors import AccessDenied, AuthFailed, Rejected
from keyturn.model.google import ClusterLogin, FederatedLogin, GoogleConfig, GoogleLogin, cluster_audience
from keyturn.model.ids import Kind
from keyturn.model.material import SourceRef, Value
from keyturn.model.order import ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount
from keyturn.providers.google import GoogleProvider
from keyturn.providers.google_login import ANNOTATION
from keyturn.providers.google_open import opened
from keyturn.providers.registry import Home, Surroundings, build
from keyturn.providers.room import Room
from keyturn.testing.google_tokens import Pool


@pytest.fixture
async def here(plane: ControlPlane) -> AsyncIterator[Cluster]:
    async with cluster(plane) as made:
        yield made


@pytest.fixture
async def rig(here: Cluster) -> AsyncIterator[Rig]:
    """A Google that knows the cluster's issuer and its keys, as they are published."""
    async with rigged() as made:
        about = await asyncio.to_thread(here.call, "GET", "/.well-known/openid-configuration")
        published = await asyncio.to_thread(here.call, "GET", "/openid/v1/jwks")
        made.services.pools[AUDIENCE] = Pool(about["issuer"], {each["kid"]: pem(each) for each in published["keys"]})
        yield made


def pem(key: Mapping[str, Any]) -> str:
    x, y = (int.from_bytes(base64.urlsafe_b64decode(key[part] + "=="), "big") for part in ("x", "y"))
    return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def subject(here: Cluster, name: str) -> str:
    return f"principal:{AUDIENCE}/subject/system:serviceaccount:{here.namespace}:{name}"


def annotate(here: Cluster, name: str, account: str) -> None:
    path = f"/api/v1/namespaces/{here.namespace}/serviceaccounts/{name}"
    made = here.call("GET", path)
    made["metadata"]["annotations"] = {ANNOTATION: account}
    here.call("PUT", path, made)


def tenant(here: Cluster, rig: Rig, name: str, audience: str = AUDIENCE) -> GoogleProvider:
    return tenant_by(here, rig, FederatedLogin(ServiceAccount(here.namespace, name), audience))


def tenant_by(here: Cluster, rig: Rig, login: GoogleLogin) -> GoogleProvider:
    config = GoogleConfig("shop", login)
    provider = opened(config, rig.places, AddressRules(), rig, here.tokens, Room(), here.namespace, may_write=False)
    rig.opened.append(provider)
    return provider


async def test_two_tenants_with_the_same_settings_and_other_accounts_read_each_its_own(here: Cluster, rig: Rig) -> None:
    for name in ("one", "two"):
        await asyncio.to_thread(here.account, name)
        rig.seed(name, f"kt-canary-{name}".encode())
        rig.cloud.grant(subject(here, name), "accessor", name)
    for name, other in (("one", "two"), ("two", "one")):
        provider = tenant(here, rig, name)
        assert await read(provider, name) == f"kt-canary-{name}".encode()
        assert isinstance(await get(provider, other), AccessDenied)


async def test_google_sees_a_token_of_ten_minutes_that_is_worth_nothing_at_the_api_server(here: Cluster, rig: Rig) -> None:
    await asyncio.to_thread(here.account, "one")
    rig.seed("db", b"kt-canary-db")
    rig.cloud.grant(subject(here, "one"), "accessor")
    await read(tenant(here, rig, "one"), "db")
    [(path, form)] = rig.services.asked
    token = form["subject_token"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert path == "/v1/token"
    assert audiences(Sensitive.of(token)) == (AUDIENCE,)
    assert claims["exp"] - claims["iat"] == 600
    status, _ = await asyncio.to_thread(here.plane.request, "GET", "/api", None, token)
    assert status == 401


async def test_an_account_stands_in_for_the_google_account_that_its_annotation_names(here: Cluster, rig: Rig) -> None:
    await asyncio.to_thread(here.account, "one")
    rig.seed("db", b"kt-canary-db")
    rig.cloud.grant(ACCOUNT, "accessor", "db")
    rig.services.stand_ins[ACCOUNT] = {subject(here, "one")}
    assert isinstance(await get(tenant(here, rig, "one"), "db"), AccessDenied)
    await asyncio.to_thread(annotate, here, "one", ACCOUNT)
    assert await read(tenant(here, rig, "one"), "db") == b"kt-canary-db"


async def test_a_cluster_of_gkes_gives_tokens_for_its_projects_pool_alone(here: Cluster, rig: Rig) -> None:
    await asyncio.to_thread(here.account, "one")
    rig.seed("db", b"kt-canary-db")
    pool = cluster_audience("shop-1", "europe-west3", "prod")
    rig.services.pools[pool] = replace(rig.services.pools[AUDIENCE], audiences=("shop-1.svc.id.goog",))
    rig.cloud.grant(f"principal:{pool}/subject/system:serviceaccount:{here.namespace}:one", "accessor", "db")
    login = ClusterLogin(ServiceAccount(here.namespace, "one"), "shop-1", "europe-west3", "prod")
    assert await read(tenant_by(here, rig, login), "db") == b"kt-canary-db"
    [(_, form)] = rig.services.asked
    assert audiences(Sensitive.of(form["subject_token"])) == ("shop-1.svc.id.goog",)


async def test_the_api_servers_own_audience_and_an_account_that_is_not_there_get_no_token(here: Cluster, rig: Rig) -> None:
    for home in here.tokens._home():
        found = await get(tenant(here, rig, "reader", home), "db")
        assert isinstance(found, AuthFailed)
        assert "this cluster's API server's" in str(found)
    assert isinstance(await get(tenant(here, rig, "nobody"), "db"), AuthFailed)
    assert rig.services.asked == []


async def test_the_registry_takes_tokens_from_the_operators_cluster_and_without_one_there_are_none(here: Cluster, rig: Rig) -> None:
    await asyncio.to_thread(here.account, "one")
    rig.seed("db", b"kt-canary-db")
    rig.cloud.grant(subject(here, "one"), "accessor")
    order = ProviderOrder(GoogleConfig("shop", FederatedLogin(ServiceAccount(here.namespace, "one"), AUDIENCE)))
    home = Home(here.mint.url, here.mint.trusting(), here.tokens)
    around = Surroundings(Reach(), AddressRules(), rig, home=home, google=rig.places)
    provider = build(order, kind=Kind.SECRET_PROVIDER, around=around, namespace=here.namespace)
    assert isinstance((await provider.get_many([SourceRef("db")]))[SourceRef("db")], Value)
    await provider.close()
    with pytest.raises(Rejected, match="use secretRef"):
        build(order, kind=Kind.SECRET_PROVIDER, around=Surroundings(Reach(), AddressRules(), rig), namespace=here.namespace)
