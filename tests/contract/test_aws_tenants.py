"""A tenant's ServiceAccount of a real cluster at AWS: whose token goes there, as what role, and who gets none."""

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract.annotated import annotate
from contract.answers import get, text_of
from contract.aws import Account, account
from contract.aws_sts import Role
from contract.kubes import READER, Cluster, cluster
from controlplane.plane import ControlPlane
from keyturn.model.aws import AssumedRole, TenantLogin
from keyturn.model.errors import AuthFailed
from keyturn.model.tenant import ServiceAccount

OWN, SHOP = "arn:aws:iam::123456789012:role/app", "arn:aws:iam::210987654321:role/shop"
ROLE = "eks.amazonaws.com/role-arn"


@pytest.fixture
async def aws() -> AsyncIterator[Account]:
    async with account() as made:
        await made.put("db", "kt-canary-db")
        yield made


@pytest.fixture
async def here(plane: ControlPlane, aws: Account) -> AsyncIterator[Cluster]:
    """A namespace whose reader a role trusts, since AWS was given the cluster's keys."""
    async with cluster(plane) as made:
        [told] = (await asyncio.to_thread(made.call, "GET", "/openid/v1/jwks"))["keys"]
        x, y = (int.from_bytes(urlsafe_b64decode(told[name] + "==")) for name in ("x", "y"))
        key = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        aws.front.sts.roles[OWN] = Role(issuer=key.decode(), subject=f"system:serviceaccount:{made.namespace}:{READER}")
        aws.front.sts.roles[SHOP] = Role({OWN}, external_id="me")
        aws.tokens = made.tokens
        yield made


async def test_aws_gets_a_token_of_ten_minutes_for_itself_and_the_annotated_role_decides(here: Cluster, aws: Account) -> None:
    provider = aws.open(TenantLogin(here.reader), AssumedRole(SHOP, "me"))
    error = await get(provider, "db")
    assert isinstance(error, AuthFailed)
    assert ROLE in str(error)
    await annotate(here, READER, **{ROLE: OWN})
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    first, second = aws.front.sts.sessions
    claims = json.loads(urlsafe_b64decode(first["WebIdentityToken"].split(".")[1] + "=="))
    assert claims["aud"] == ["sts.amazonaws.com"]
    assert claims["exp"] - claims["iat"] == 600
    assert (first["RoleArn"], second["RoleArn"], second["ExternalId"]) == (OWN, SHOP, "me")


async def test_a_stranger_with_the_same_annotation_is_not_that_role(here: Cluster, aws: Account) -> None:
    await asyncio.to_thread(here.account, "stranger")
    await annotate(here, "stranger", **{ROLE: OWN})
    error = await get(aws.open(TenantLogin(ServiceAccount(here.namespace, "stranger"))), "db")
    assert isinstance(error, AuthFailed)
    assert f"ServiceAccount/{here.namespace}/stranger be the role {OWN}" in str(error)


async def test_a_service_account_that_is_not_there_is_named_and_aws_is_not_asked(here: Cluster, aws: Account) -> None:
    error = await get(aws.open(TenantLogin(ServiceAccount(here.namespace, "gone"))), "db")
    assert isinstance(error, AuthFailed)
    assert f"there is no ServiceAccount/{here.namespace}/gone" in str(error)
    assert aws.front.sts.sessions == []
