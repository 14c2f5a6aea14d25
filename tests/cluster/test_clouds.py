"""The three clouds through the operator: log-ins that end in mid-work, credentials that are replaced, and a server that asks for pauses."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from canary import Canary
from cluster.api import Json
from cluster.clouds import ACCOUNT, NAMES, POOL, PROJECT, Clouds, CloudShop
from cluster.process import Operator
from cluster.shop import Shop, cluster_provider
from cluster.tenants import Tenants
from cluster.waiting import Stopwatch, eventually
from contract.aws import REGION, refusal
from contract.aws_sts import Role
from contract.googles import READER
from contract.vaults import ISSUER
from contract.vaults import Signer as Es256
from controlplane.plane import ControlPlane
from effort import SEED, effort
from evidence import counted
from keyturn.testing.azure_entra import Trust
from keyturn.testing.azure_secrets import Rights
from keyturn.testing.google_store import Refused
from keyturn.testing.google_tokens import Signer

ROUNDS = 3
SETTLED_S = 1.0
USED_S = 5.0
AT_ONCE = 4
"""Calls of one provider, which may all be on their way when the first one is refused."""
KEYS = 30
PAUSE_S = 2
ON_ITS_WAY_S = 0.8
"""What was sent before a pause was heard of arrives within that."""
OWN_ROLE = f"arn:aws:iam::{ACCOUNT}:role/operator"
SESSION = f"arn:aws:iam::{ACCOUNT}:role/session"


def order(shop: Shop, name: str, key: str = "db", every: str = "1s") -> None:
    shop.order(name, {"password": key}, refreshInterval=every)


# -- log-ins -----------------------------------------------------------------------------------------------------------------------


def every_log_in(made: CloudShop) -> dict[str, Json]:
    """Provider members by the log-in that each has, all of which end."""
    for cloud in NAMES:
        made.renew(cloud)
        made.trust(cloud, "app", "db")
    by_role = made.by_credential("aws")
    by_role["awsSecretsManager"]["role"] = SESSION
    made.clouds.aws.sts.roles[SESSION] = Role({each.name for each in made.clouds.aws.sts.identities.values()})
    return {
        "aws-role": by_role,
        "aws-account": made.by_account("aws", "app"),
        "azure-secret": made.by_credential("azure"),
        "azure-account": made.by_account("azure", "app"),
        "google-key": made.by_credential("google"),
        "google-account": made.by_account("google", "app"),
    }


def end_all(clouds: Clouds) -> None:
    clouds.aws.sts.end_sessions()
    clouds.azure.entra.expire()
    clouds.services.end_all()


def log_ins(clouds: Clouds) -> tuple[int, int, int]:
    return len(clouds.aws.sts.sessions), len(clouds.azure.entra.grants), len(clouds.services.asked)


def test_log_ins_end_in_mid_work_and_nobody_sees_it(cloud_operator: Operator, cloud_shop: CloudShop, tenants: Tenants) -> None:
    clouds, shop = cloud_shop.clouds, cloud_shop.shop
    clouds.know(shop.api)
    tenants.grant(shop.namespace, POOL)
    tenants.account("app")
    for cloud in NAMES:
        clouds.put(cloud, "db", shop.value(f"first-{cloud}"))
    members = every_log_in(cloud_shop)
    for name, member in members.items():
        cloud_shop.provider(name, member)
        order(shop, name)
    for name in members:
        shop.wait(name)
    before = {name: shop.status(name) for name in members}
    for _ in range(ROUNDS):
        aws, _, google = log_ins(clouds)
        end_all(clouds)
        eventually(
            lambda aws=aws, google=google: log_ins(clouds) >= (aws + 2, 2, google + 2),
            what=lambda: f"{log_ins(clouds)} {cloud_operator.story(20)}",
        )
        time.sleep(SETTLED_S)  # a token that dies before it was used for the first time is not what tokens do
    assert {name: shop.status(name) for name in members} == before
    wanted = {cloud: shop.value(f"second-{cloud}") for cloud in NAMES}
    end_all(clouds)
    for cloud, value in wanted.items():
        clouds.put(cloud, "db", value)
    for name in members:
        eventually(lambda name=name: shop.data(name) == {"password": wanted[name.partition("-")[0]]}, what=lambda: cloud_operator.story(20))
    assert cloud_operator.readiness() == "ok"


def test_a_credential_that_is_replaced_is_used_at_once(cloud_operator: Operator, cloud_shop: CloudShop) -> None:
    clouds, shop = cloud_shop.clouds, cloud_shop.shop
    watch = Stopwatch("a new credential is used", USED_S)
    for cloud in NAMES:
        clouds.put(cloud, "db", shop.value(f"first-{cloud}"))
        cloud_shop.renew(cloud)
        cloud_shop.provider(cloud, cloud_shop.by_credential(cloud))
        order(shop, cloud)
        shop.wait(cloud)
    for cloud in NAMES:
        clouds.put(cloud, "db", value := shop.value(f"second-{cloud}"))
        cloud_shop.renew(cloud)
        watch.time(lambda cloud=cloud, value=value: shop.data(cloud) == {"password": value}, lambda: cloud_operator.story(20))
        shop.wait(cloud)
    watch.tell()


def own_identities(clouds: Clouds, folder: Path) -> dict[str, str]:
    """Variables by which an operator is somebody at each cloud: as the clouds' webhooks set them for a pod, and by a file."""
    signer, subject = Es256(), "system:serviceaccount:keyturn-system:keyturn"
    clouds.aws.sts.roles[OWN_ROLE] = Role(issuer=signer.public_key, subject=subject)
    (folder / "aws-token").write_text(signer.sign(subject, ("sts.amazonaws.com",)))
    client = clouds.azure.entra.add(trust=Trust(ISSUER, subject))
    clouds.azure.entra.takes_es256 = True
    clouds.azure.entra.issuers[ISSUER] = {ISSUER: load_pem_public_key(signer.public_key.encode())}
    clouds.vault.rights[client] = Rights()
    (folder / "azure-token").write_text(signer.sign(subject, ("api://AzureADTokenExchange",)))
    clouds.google.grant(READER, "accessor")
    (folder / "key.json").write_text(clouds.services.key_of(READER, Signer(), "https://oauth2.googleapis.com/token"))
    return {
        "AWS_ROLE_ARN": OWN_ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{folder}/aws-token",
        "AZURE_TENANT_ID": clouds.azure.entra.tenant,
        "AZURE_CLIENT_ID": client,
        "AZURE_FEDERATED_TOKEN_FILE": f"{folder}/azure-token",
        "GOOGLE_APPLICATION_CREDENTIALS": f"{folder}/key.json",
    }


def test_an_admins_provider_reads_as_the_operator_behind_a_proxy_and_a_private_authority(
    own_home: ControlPlane, clouds: Clouds, own_shop: Shop, tmp_path: Path, canary: Canary
) -> None:
    settings = clouds.settings(tmp_path) | own_identities(clouds, tmp_path)
    members = {
        "aws": {"awsSecretsManager": {"region": REGION}},
        "azure": {"azureKeyVault": {"vaultUrl": f"https://{clouds.vault.host}", "authType": "WorkloadIdentity"}},
        "google": {"googleSecretManager": {"projectID": PROJECT}},
    }
    with Operator(own_home, tmp_path, settings=settings) as operator:
        canary.watch_operator(operator.log_file, operator.health_url, environ=False)
        for cloud, member in members.items():
            clouds.put(cloud, "db", value := own_shop.value(cloud))
            own_shop.provider = {"kind": "ClusterSecretProvider", "name": f"{own_shop.namespace}-{cloud}"}
            own_shop.api.create(cluster_provider(own_shop.provider["name"], member))
            order(own_shop, cloud)
            eventually(lambda cloud=cloud, value=value: own_shop.data(cloud) == {"password": value}, what=lambda: operator.story(20))
            own_shop.api.delete("ClusterSecretProvider", "", own_shop.provider["name"])


# -- pauses ------------------------------------------------------------------------------------------------------------------------


class Half:
    """Refuses one call of two, and asks for a pause. By lot: a read of two calls would never meet two that are let through in turn."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, bool]] = []
        self._lot = random.Random(SEED)

    def refuses(self) -> bool:
        self.calls.append((time.monotonic(), refused := self._lot.random() < 0.5))
        return refused

    @property
    def refused(self) -> int:
        return sum(refused for _, refused in self.calls)

    def too_early(self) -> int:
        """Calls that came in a pause, and cannot have been on their way when it was asked for."""
        pauses = [at for at, refused in self.calls if refused]
        return sum(any(ON_ITS_WAY_S < at - began < PAUSE_S - ON_ITS_WAY_S / 8 for began in pauses) for at, _ in self.calls)


def halve(clouds: Clouds) -> dict[str, Half]:
    """From now on each cloud refuses every second read, as it words that."""
    halves = {cloud: Half() for cloud in NAMES}

    def by_aws(operation: str) -> web.Response | None:
        is_hit = operation != "AssumeRole" and halves["aws"].refuses()
        return refusal("ThrottlingException", 429, **{"Retry-After": str(PAUSE_S)}) if is_hit else None

    def by_azure(_: Any) -> web.Response | None:
        return web.Response(status=429, headers={"Retry-After": str(PAUSE_S)}) if halves["azure"].refuses() else None

    def by_google() -> Refused | None:
        return Refused("RESOURCE_EXHAUSTED", "kt-canary-prose", PAUSE_S) if halves["google"].refuses() else None

    clouds.aws.answering, clouds.vault.trouble, clouds.google.trouble = by_aws, by_azure, by_google
    return halves


@pytest.mark.timeout(600)
def test_half_of_all_calls_are_refused_with_a_pause_and_all_end_and_nobody_else_waits(
    cloud_operator: Operator, cloud_shop: CloudShop, own_shop: Shop, request: pytest.FixtureRequest
) -> None:
    clouds, count = cloud_shop.clouds, counted(request, effort(6, KEYS), KEYS, "keys of each cloud")
    others = own_shop.provider
    for cloud in NAMES:
        for number in range(count):
            clouds.put(cloud, f"key{number}", json.dumps({"password": own_shop.value(f"{cloud}-{number}")}))
        cloud_shop.renew(cloud)
    halves = halve(clouds)
    began = time.monotonic()
    for cloud in NAMES:
        cloud_shop.provider(cloud, cloud_shop.by_credential(cloud))
        for number in range(count):
            order(own_shop, f"{cloud}-{number}", f"key{number}", "1h")
    own_shop.provider = others
    watch = Stopwatch("a Secret of another provider is there", 0.5)
    for number in range(5):
        own_shop.source(password=own_shop.value())
        own_shop.order(f"other-{number}")
        watch.time(lambda number=number: own_shop.find(f"other-{number}"), lambda: cloud_operator.story(20))
    watch.tell()
    wanted = {f"{cloud}-{number}" for cloud in NAMES for number in range(count)}
    eventually(lambda: wanted <= synced(own_shop), 120 + 12 * count, lambda: f"{wanted - synced(own_shop)} {cloud_operator.story(20)}")
    for cloud, half in halves.items():
        while half.refused < 2:  # what the audit trail took in one commit may be read by one call
            own_shop.resync(f"{cloud}-0")
        print(f"{cloud}: {len(half.calls)} calls, {half.refused} refused, {half.too_early()} in a pause, {time.monotonic() - began:.0f} s")
        assert half.refused >= 2, cloud
        assert half.too_early() <= AT_ONCE + len(half.calls) / 20, (cloud, half.calls)


def synced(shop: Shop) -> set[str]:
    return {each["metadata"]["name"] for each in shop.api.items("Secret", shop.namespace, labelSelector="keyturn.dev/managed=true")}
