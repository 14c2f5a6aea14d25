"""Tenants and the clouds: each reads by its own ServiceAccount what that may read, and what a tenant tries beyond that is refused."""

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cluster.api import ApiError, Json
from cluster.clouds import ACCOUNT, NAMES, POOL, Clouds, CloudShop
from cluster.process import Operator
from cluster.shop import Shop, condition, secret_provider
from cluster.tenants import Tenants
from cluster.vaults import LOOPBACK_TOO
from cluster.waiting import eventually
from contract.aws import REGION
from contract.servers import Http, elsewhere
from controlplane.plane import ControlPlane
from keyturn.decide.audience import audiences
from keyturn.model.sensitive import Sensitive

AUDIENCES = {"aws": "sts.amazonaws.com", "azure": "api://AzureADTokenExchange", "google": POOL}
LIFE_S = 600
ALIKE_S = 2.0
"""As far as failures may lie apart on a busy machine: an address that is asked takes three seconds and a half."""
METADATA = "https://169.254.169.254"


# -- ServiceAccounts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cloud_operator")
def test_two_tenants_with_the_same_settings_read_each_what_is_its_own(cloud_shop: CloudShop, tenants: Tenants) -> None:
    clouds, shop = cloud_shop.clouds, cloud_shop.shop
    clouds.know(shop.api)
    tenants.grant(shop.namespace, POOL)
    values = {(cloud, who): shop.value(f"{cloud}-{who}") for cloud in NAMES for who in ("one", "two")}
    for who in ("one", "two"):
        tenants.account(who)
        for cloud in NAMES:
            clouds.put(cloud, who, values[cloud, who])
            cloud_shop.trust(cloud, who, who)
            cloud_shop.provider(f"{cloud}-{who}", cloud_shop.by_account(cloud, who))
            for key in ("one", "two"):
                shop.order(f"{cloud}-{who}-reads-{key}", {"password": key})
    for (cloud, who), value in values.items():
        shop.wait(f"{cloud}-{who}-reads-{who}")
        assert shop.data(f"{cloud}-{who}-reads-{who}") == {"password": value}
        other = "two" if who == "one" else "one"
        shop.wait(f"{cloud}-{who}-reads-{other}", "AccessDenied")
        assert shop.find(f"{cloud}-{who}-reads-{other}") is None
    for cloud, claims in shown(clouds).items():
        assert {each["sub"] for each in claims} == {f"system:serviceaccount:{shop.namespace}:{who}" for who in ("one", "two")}
        assert {tuple(each["aud"]) for each in claims} == {(AUDIENCES[cloud],)}
        assert {each["exp"] - each["iat"] for each in claims} == {LIFE_S}
    for token in tokens(clouds):
        assert not is_taken(shop, token)


def shown(clouds: Clouds) -> dict[str, list[Mapping[str, Any]]]:
    """What stood in the tokens that each cloud saw."""
    google = [claims_of(form["subject_token"]) for path, form in clouds.services.asked if path == "/v1/token"]
    return {"aws": list(clouds.aws.sts.claims), "azure": list(clouds.azure.entra.claims), "google": google}


def tokens(clouds: Clouds) -> list[str]:
    google = [form["subject_token"] for path, form in clouds.services.asked if path == "/v1/token"]
    return [asked["WebIdentityToken"] for asked in clouds.aws.sts.sessions] + google


def claims_of(token: str) -> Json:
    middle = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(middle + "==")))


def is_taken(shop: Shop, token: str) -> bool:
    """Whether the API server takes it for somebody's."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {"token": token}}
    return bool(shop.api.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)["status"].get("authenticated"))


def test_a_server_of_a_tenants_gets_no_token_that_the_api_server_takes(
    own_home: ControlPlane, own_shop: Shop, tenants: Tenants, clouds: Clouds, tmp_path: Path
) -> None:
    """A Vault of its own making, which keeps what it is sent."""
    sent: list[str] = []

    async def log_in(request: web.BaseRequest) -> web.StreamResponse:
        sent.append((await request.json())["jwt"])
        return web.json_response({"errors": ["permission denied"]}, status=403)

    tenants.grant(own_shop.namespace)
    tenants.account("app")
    with elsewhere() as loop, Http(loop, tls=clouds.serving("localhost")) as trap:
        trap.streams["/v1/auth/kubernetes/login"] = log_in
        authority = base64.b64encode(clouds.azure.authority.cert_pem.bytes()).decode()
        auth = {"kubernetes": {"mountPath": "kubernetes", "role": "shop", "serviceAccountRef": {"name": "app"}}}
        vault = {"server": f"https://localhost:{trap.port}", "caBundle": authority, "auth": auth}
        own_shop.api.create(secret_provider(own_shop.namespace, "trap", {"hashicorpVault": vault}))
        with Operator(own_home, tmp_path, *LOOPBACK_TOO):
            eventually(lambda: sent)
    for token in sent:
        assert audiences(Sensitive.of(token)) == ("vault",)
        assert not is_taken(own_shop, token)


# -- the kit -----------------------------------------------------------------------------------------------------------------------

REF = {"name": "login", "key": "key"}
ELSEWHERE = {"name": "login", "key": "key", "namespace": "kube-system"}
KEYS = {"secretRef": {"accessKeyID": REF, "secretAccessKey": REF}}
VAULT = "kit.vault.azure.net"
PRINCIPAL = {"vaultUrl": f"https://{VAULT}", "tenantId": "t", "authSecretRef": {"clientId": REF, "clientSecret": REF}}
ROLE = f"arn:aws:iam::{ACCOUNT}:role/admin"
OWN_NAMESPACE = "reads its own namespace only"


def aws(**fields: Any) -> Json:
    return {"awsSecretsManager": {"region": REGION, **fields}}


def azure(**fields: Any) -> Json:
    return {"azureKeyVault": PRINCIPAL | fields}


def google(**fields: Any) -> Json:
    return {"googleSecretManager": {"projectID": "shop", **fields}}


def federation(audience: str, **ref: str) -> Json:
    return {"workloadIdentityFederation": {"audience": audience, "serviceAccountRef": {"name": "app", **ref}}}


KIT = {
    "no auth at AWS": (aws(), "auth is needed in a SecretProvider"),
    "a role under the operator's identity": (aws(role=ROLE), "auth is needed in a SecretProvider"),
    "a role and another's external id": (aws(role=ROLE, externalID="keyturn/x/bank"), "auth is needed in a SecretProvider"),
    "an endpoint under the operator's identity": (aws(endpoint="https://evil.test"), "auth is needed in a SecretProvider"),
    "a region that is a host": (aws(region="eu-west-1.evil.test/", auth=KEYS), "is no region of AWS"),
    "an endpoint in plain text": (aws(endpoint="http://evil.test", auth=KEYS), "https"),
    "keys of another namespace": (aws(auth={"secretRef": {"accessKeyID": ELSEWHERE, "secretAccessKey": REF}}), OWN_NAMESPACE),
    "an account of another namespace": (
        aws(role=ROLE, auth={"serviceAccountRef": {"name": "admin", "namespace": "kube-system"}}),
        OWN_NAMESPACE,
    ),
    "the machine's identity at Azure": (
        azure(authType="ManagedIdentity"),
        "the operator's own identity serves a ClusterSecretProvider only",
    ),
    "the operator's workload identity": (azure(authType="WorkloadIdentity"), "the operator's own identity serves a ClusterSecretProvider"),
    "a vault of a tenant's own": (azure(vaultUrl="https://evil.test"), "vaultUrl must be"),
    "a vault below another name": (azure(vaultUrl="https://shop.vault.azure.net.evil.test"), "vaultUrl must be"),
    "a vault of another cloud": (azure(environment="ChinaCloud"), "vaultUrl must be"),
    "a secret of another namespace": (azure(authSecretRef={"clientId": REF, "clientSecret": ELSEWHERE}), OWN_NAMESPACE),
    "no auth at Google": (google(), "auth is needed in a SecretProvider"),
    "a key of another namespace": (google(auth={"secretRef": {"secretAccessKeySecretRef": ELSEWHERE}}), OWN_NAMESPACE),
    "a token for the API server": (
        google(auth=federation("https://kubernetes.default.svc.cluster.local")),
        "is not the full name of a pool's provider",
    ),
    "a token for a server of one's own": (google(auth=federation("//evil.test/projects/1")), "is not the full name of a pool's provider"),
    "a token of another namespace": (google(auth=federation(POOL, namespace="kube-system")), OWN_NAMESPACE),
    "a project that is a path": (google(projectID="shop/secrets/x", auth=federation(POOL)), "is no id or number of a project"),
}


def test_what_a_tenant_tries_at_the_clouds_is_refused_with_its_reason(cloud_operator: Operator, own_shop: Shop, clouds: Clouds) -> None:
    """Whatever it is, nothing is asked of a cloud, and nothing is told of what is elsewhere."""
    said = {what: tried(own_shop, f"try-{number}", member) for number, (what, (member, _)) in enumerate(KIT.items())}
    assert {what: told for what, told in said.items() if KIT[what][1] not in told} == {}
    assert cloud_operator.readiness() == "ok"
    assert VAULT not in clouds.azure.asked_proxy


def tried(shop: Shop, name: str, member: Json) -> str:
    """What a tenant is told who makes such a provider: by the API server at once, or by the operator in its condition."""
    try:
        shop.api.create(secret_provider(shop.namespace, name, member))
    except ApiError as refused:
        return f"{refused}" if refused.status == 422 else f"another error: {refused}"
    ready = provider_ready(shop, name)
    return str(ready["message"]) if (ready["status"], ready["reason"]) == ("False", "InvalidSpec") else f"not refused: {ready}"


def test_an_endpoint_tells_a_tenant_nothing_of_what_is_there(
    cloud_operator: Operator, cloud_shop: CloudShop, own_home: ControlPlane, clouds: Clouds
) -> None:
    """The metadata service, loopback, the API server, a port of nobody's: one reason, one text, one time."""
    shop = cloud_shop.shop
    cloud_shop.renew("aws")
    port = clouds.azure.proxy.rpartition(":")[2]
    endpoints = (METADATA, f"https://127.0.0.1:{port}", own_home.url, "https://[::1]:9", "https://localhost:9")
    took: dict[str, float] = {}
    told = set[tuple[str, str]]()
    for number, endpoint in enumerate(endpoints):
        member = cloud_shop.by_credential("aws")
        member["awsSecretsManager"]["endpoint"] = endpoint
        began = time.monotonic()
        cloud_shop.provider(f"try-{number}", member)
        ready = provider_ready(shop, f"try-{number}")
        took[endpoint] = time.monotonic() - began
        told.add((ready["reason"], ready["message"]))
    print(", ".join(f"{endpoint} {seconds:.1f} s" for endpoint, seconds in took.items()))
    [(reason, _)] = told
    assert reason == "ProviderUnavailable"
    assert max(took.values()) - min(took.values()) < ALIKE_S, took
    assert clouds.aws.asked == []
    assert cloud_operator.readiness() == "ok"


def provider_ready(shop: Shop, name: str) -> Json:
    """The provider's own Ready condition, once there is one."""

    def found() -> Json:
        return condition(shop.api.get("SecretProvider", shop.namespace, name).get("status", {}), "Ready")

    return eventually(found, what=name)
