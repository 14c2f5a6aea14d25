"""One ClusterSecretProvider, by which each namespace logs in for itself: on a real API server and a real OpenBao."""

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bao import Bao
from canary import Canary
from cluster.api import ApiError, Json
from cluster.audit import mark, requests
from cluster.process import Operator
from cluster.shop import Shop, cluster_provider, condition
from cluster.tenants import Tenants
from cluster.vaults import LOOPBACK_TOO, VaultShop
from cluster.waiting import eventually
from contract.aws import KEY_ID, SECRET, USER, account
from contract.aws_sts import Role
from controlplane.plane import ControlPlane
from kstatus.plugin import Statuses

TOKEN = {"tokenSecretRef": {"name": "vault-token", "key": "token"}}


@pytest.fixture
def operator(own_home: ControlPlane, tmp_path: Path, canary: Canary) -> Iterator[Operator]:
    with Operator(own_home, tmp_path, *LOOPBACK_TOO) as running:
        canary.watch_operator(running.log_file, running.health_url)
        yield running


@pytest.fixture
def other_shop(own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary, statuses: Statuses) -> Iterator[Shop]:
    """Another team's namespace."""
    opened = Shop(own_shop.api, tmp_path, canary).open()
    canary.watch_cluster(own_home, opened.namespace)
    statuses.watch(own_home, opened.namespace)
    yield opened
    with suppress(ApiError):
        opened.close()


class Team(VaultShop):
    """A namespace with keys of its own in an engine that it shares with others, and a token that reads those alone."""

    def __init__(self, bao: Bao, shop: Shop, mount: str, provider: str) -> None:
        super().__init__(bao, shop)
        self.mount = mount
        self.policy = bao.policy(shop.namespace, {f"{mount}/data/{shop.namespace}/*": ["read"]})
        shop.provider = {"kind": "ClusterSecretProvider", "name": provider}
        self.token = ""

    def log_in(self) -> None:
        """By a new token, in the Secret that the provider means."""
        self.token = self.bao.token([self.policy])
        self.credential("vault-token", token=self.token)

    def key(self) -> str:
        return f"{self.shop.namespace}/db"

    def wants(self, name: str = "app", key: str = "") -> None:
        self.order(name, key or self.key(), refreshInterval="1s")

    def has(self, value: str, name: str = "app") -> None:
        eventually(lambda: self.shop.find(name) is not None and self.shop.data(name) == {"password": value})


Teams = Callable[..., tuple[Team, Team]]


@pytest.fixture
def teams(bao: Bao, own_shop: Shop, other_shop: Shop) -> Iterator[Teams]:
    """Makes the provider and two teams that use it; what is given goes to the provider's spec."""
    name = f"vault-{own_shop.namespace}"

    def make(**spec: object) -> tuple[Team, Team]:
        mount = bao.enable_kv(f"shared-{own_shop.namespace}")
        vault = {"server": bao.url, "path": mount, "caBundle": base64.b64encode(bao.ca_pem).decode(), "auth": TOKEN}
        own_shop.api.create(cluster_provider(name, {"hashicorpVault": vault}, **spec))
        return Team(bao, own_shop, mount, name), Team(bao, other_shop, mount, name)

    yield make
    with suppress(ApiError):
        own_shop.api.delete("ClusterSecretProvider", "", name)


def provider_ready(shop: Shop) -> Json:
    return condition(shop.api.get("ClusterSecretProvider", "", shop.provider["name"]).get("status", {}), "Ready")


def test_each_team_reads_what_its_own_token_may_and_nothing_else(teams: Teams, operator: Operator) -> None:
    ours, theirs = teams()
    values = {}
    for team in (ours, theirs):
        team.log_in()
        team.put(team.key(), password=values.setdefault(team, team.shop.value()))
        team.wants()
    for team in (ours, theirs):
        team.has(values[team])
    theirs.wants("stolen", ours.key())
    assert ours.key() in theirs.shop.wait("stolen", "AccessDenied")["message"]
    assert theirs.shop.find("stolen") is None
    ready = provider_ready(ours.shop)
    assert (ready["status"], ready["reason"]) == ("True", "CheckedPerNamespace")
    status = ours.shop.api.get("ClusterSecretProvider", "", ours.shop.provider["name"])["status"]
    assert "lastCheckTime" not in status
    assert "capabilities" not in status
    assert operator.metric("keyturn_providers", reason="CheckedPerNamespace") == 1


@pytest.mark.usefixtures("operator")
def test_a_team_without_a_credential_is_told_where_it_belongs_and_syncs_once_it_is_there(teams: Teams) -> None:
    ours, theirs = teams()
    ours.log_in()
    for team in (ours, theirs):
        team.put(team.key(), password=team.shop.value())
        team.wants()
    ours.shop.wait("app")
    told = theirs.shop.wait("app", "AuthFailed")["message"]
    assert f"Secret/{theirs.shop.namespace}/vault-token is not there" in told
    ours.put(ours.key(), password=(second := ours.shop.value("second")))
    ours.has(second)
    assert provider_ready(ours.shop)["status"] == "True"
    theirs.log_in()
    theirs.shop.wait("app")
    assert ours.shop.ready("app")["reason"] == "Synced"


@pytest.mark.usefixtures("operator")
def test_a_credential_that_ends_fails_its_own_team_alone_and_a_new_one_is_taken_up(teams: Teams, bao: Bao) -> None:
    ours, theirs = teams()
    for team in (ours, theirs):
        team.log_in()
        team.put(team.key(), password=team.shop.value())
        team.wants()
        team.shop.wait("app")
    bao.revoke(theirs.token)
    theirs.shop.wait("app", "AuthFailed", 60)
    assert ours.shop.ready("app")["reason"] == "Synced"
    theirs.put(theirs.key(), password=(second := theirs.shop.value("second")))
    theirs.log_in()
    theirs.has(second)
    theirs.shop.wait("app")
    assert ours.shop.ready("app")["reason"] == "Synced"


@pytest.mark.usefixtures("operator")
def test_only_whom_the_conditions_admit_has_its_credential_read(teams: Teams, own_home: ControlPlane, own_shop: Shop) -> None:
    since = mark(own_home)
    ours, theirs = teams(conditions=[{"namespaces": [own_shop.namespace]}])
    for team in (ours, theirs):
        team.log_in()
        team.put(team.key(), password=team.shop.value())
        team.wants()
    ours.shop.wait("app")
    theirs.shop.wait("app", "ProviderNotAllowed")
    read = {(each.namespace, each.name) for each in requests(own_home, since=since) if each.resource == "secrets" and each.verb == "get"}
    assert (own_shop.namespace, "vault-token") in read
    assert (theirs.shop.namespace, "vault-token") not in read


def test_the_end_of_the_provider_ends_its_log_ins_for_all(teams: Teams, operator: Operator, bao: Bao) -> None:
    ours, theirs = teams()
    for team in (ours, theirs):
        team.log_in()
        team.put(team.key(), password=team.shop.value())
        team.wants()
        team.shop.wait("app")
    ours.shop.api.delete("ClusterSecretProvider", "", ours.shop.provider["name"])
    for team in (ours, theirs):
        team.shop.wait("app", "ProviderNotFound")
    since = bao.mark()
    tasks = operator.metric("keyturn_tasks")
    ours.shop.resync("app")
    assert bao.asked(since, path=f"{ours.mount}/data/{ours.key()}") == []
    assert operator.metric("keyturn_tasks") <= tasks + 5
    assert operator.readiness() == "ok"


def test_each_reads_as_its_own_service_account_of_the_name_that_the_provider_says(
    granted: Tenants, other_shop: Shop, operator: Operator
) -> None:
    shop = granted.shop
    granted.put("db", password=(value := shop.value()))
    granted.account("reader", "db")
    granted.grant(other_shop.namespace)
    name = granted.vault
    granted.api.create(cluster_provider(name, {"kubernetes": {"remoteNamespace": name, "auth": {"serviceAccount": {"name": "reader"}}}}))
    try:
        entry = {"secretKey": "password", "remoteRef": {"key": "db", "property": "password"}}
        for each in (shop, other_shop):
            each.provider = {"kind": "ClusterSecretProvider", "name": name}
            each.order("app", {}, data=[entry])
        shop.wait("app")
        assert shop.data("app") == {"password": value}
        told = other_shop.wait("app", "AuthFailed")["message"]
        assert f"there is no ServiceAccount/{other_shop.namespace}/reader" in told
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": other_shop.namespace}}
        granted.api.create(account)
        # It may read nothing: what another namespace's may is not its own.
        other_shop.wait("app", "AccessDenied", 120)
        assert other_shop.find("app") is None
        assert operator.readiness() == "ok"
    finally:
        granted.api.delete("ClusterSecretProvider", "", name)


async def test_a_role_of_the_operators_own_is_assumed_by_an_external_id_of_this_cluster_and_the_reader(
    own_home: ControlPlane, own_shop: Shop, other_shop: Shop, tmp_path: Path, canary: Canary
) -> None:
    role, name = "arn:aws:iam::123456789012:role/of-the-operator", f"aws-{own_shop.namespace}"
    cluster = own_shop.api.get("Namespace", "", "kube-system")["metadata"]["uid"]
    async with account() as aws:
        await aws.put("db", value := own_shop.value())
        aws.front.sts.roles[role] = Role({USER}, external_id=f"keyturn/{cluster}/{own_shop.namespace}")
        there = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        keys = there | {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
        with Operator(own_home, tmp_path, settings=keys) as running:
            # Its environment has the keys.
            canary.watch_operator(running.log_file, running.health_url, environ=False)
            own_shop.api.create(cluster_provider(name, {"awsSecretsManager": {"region": "eu-west-1", "role": role}}))
            try:
                for shop in (own_shop, other_shop):
                    shop.provider = {"kind": "ClusterSecretProvider", "name": name}
                    shop.order("app", {"password": "db"})
                own_shop.wait("app")
                assert own_shop.data("app") == {"password": value}
                told = other_shop.wait("app", "AuthFailed")["message"]
                assert "check the role's trust policy and its external id" in told
                assert other_shop.find("app") is None
                assert provider_ready(own_shop)["reason"] == "CheckedPerNamespace"
                assert {each["ExternalId"] for each in aws.front.sts.sessions} == {f"keyturn/{cluster}/{own_shop.namespace}"}
            finally:
                own_shop.api.delete("ClusterSecretProvider", "", name)
