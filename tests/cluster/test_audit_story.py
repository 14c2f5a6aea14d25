"""One story on a real API server, told by the audit trail on both databases, and by `kubectl describe` to whoever owns the objects."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bao import Bao
from canary import Canary
from cluster.process import Operator
from cluster.shop import API_VERSION, Shop, cluster_provider, encoded
from cluster.trails import Row, Trail
from cluster.vaults import LOOPBACK_TOO, VaultShop
from cluster.waiting import eventually
from controlplane.plane import ControlPlane
from store.places import Place

ELSEWHERE = "elsewhere"


class Stage(NamedTuple):
    """Who plays: an operator over a database, and a namespace with a folder of files and an OpenBao."""

    operator: Operator
    shop: Shop
    vault: VaultShop
    trail: Trail
    plane: ControlPlane

    def name(self, of: str) -> str:
        return f"ManagedSecret/{self.shop.namespace}/{of}"

    def secret(self, of: str) -> str:
        return f"Secret/{self.shop.namespace}/{of}"

    def described(self, kind: str, name: str) -> str:
        """What `kubectl describe` shows, with runs of blanks as one."""
        told = self.plane.kubectl("describe", kind, name, f"--namespace={self.shop.namespace}").stdout
        return " ".join(told.split())

    def wait(self, of: str, action: str, **wanted: str) -> Row:
        return self.trail.wait("--object", self.name(of), action=action, **wanted)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    given = {"SECRET_KEY": secrets.token_urlsafe(48), "SECRETS_PROVIDER_NAMESPACES": ELSEWHERE}
    if request.param == "sqlite":
        (tmp_path / "database").mkdir()
        yield given | {"DATABASE_URL": f"sqlite:///{tmp_path}/database/own.db"}
        return
    server = request.getfixturevalue("postgres")
    own = server.create()
    asyncio.run(_migrated(Place(own.user_url, own.owner_url, server=server, own=own)))
    yield given | {"DATABASE_URL": own.user_url}
    server.drop(own)


async def _migrated(place: Place) -> None:
    await place.migrate()
    await place.close()


@pytest.fixture
def stage(own_home: ControlPlane, own_shop: Shop, bao: Bao, tmp_path: Path, settings: dict[str, str], canary: Canary) -> Iterator[Stage]:
    with Operator(own_home, tmp_path, *LOOPBACK_TOO, settings=settings) as operator:
        canary.watch_operator(operator.log_file, operator.health_url, environ=False)
        yield Stage(operator, own_shop, VaultShop(bao, own_shop), Trail(settings), own_home)


def joined(row: Row, settled: Row) -> None:
    """The two are an intent and its settlement, of one attempt, by the operator."""
    assert settled["settles"] == row["event"]
    assert settled["attempt"] == row["attempt"] != ""
    assert row["actor"] == settled["actor"] == "operator/operator"


def test_a_story_is_in_the_trail_with_who_what_why_and_how_it_ended_and_people_read_what_to_do(stage: Stage) -> None:
    values = [stage.shop.value(name) for name in ("first", "second", "edit", "vault")]
    first, second, edit, kept = values
    synced_and_changed(stage, first, second)
    edited_and_deleted_by_another_hand(stage, edit)
    requested(stage)
    denied_by_conditions(stage)
    denied_by_the_default_provider(stage)
    denied_at_the_path_and_then_away(stage, kept)
    deleted(stage)
    started_and_stopped(stage)
    whole = stage.trail.call("query", "--json", "--limit", "10000")
    assert [value for value in values if value in whole] == []
    assert "hang together as they were written" in stage.trail.call("verify")


def synced_and_changed(stage: Stage, first: str, second: str) -> None:
    stage.shop.source(password=first, user="shop")
    stage.shop.synced("app", {"password": "password", "user": "user"}, refreshInterval="2s")
    made = stage.wait("app", "secret.create", outcome="")
    ended = stage.wait("app", "secret.create", outcome="success")
    joined(made, ended)
    assert (made["subject"], made["target"], made["trigger"], made["keys"]) == (
        *(stage.name("app"), stage.secret("app"), "new"),
        ["password", "user"],
    )
    status, secret = stage.shop.status("app"), stage.shop.secret("app")
    assert made["details"]["revision"] == status["revision"]
    assert ended["details"]["target_uid"] == secret["metadata"]["uid"]
    assert made["details"]["sources"] == ", ".join(f"ClusterSecretProvider/{stage.shop.namespace}:{key}" for key in ("password", "user"))
    read = stage.wait("app", "provider.read", outcome="success")
    assert (read["attempt"], read["target"]) == (made["attempt"], f"ClusterSecretProvider/{stage.shop.namespace}")
    stage.shop.source(password=second)
    changed = stage.wait("app", "secret.change", outcome="success", trigger="source")
    assert changed["keys"] == ["password"]
    assert changed["details"]["before"] == status["revision"] != changed["details"]["revision"]
    passes = stage.trail.rows("--object", f"ClusterSecretProvider/{stage.shop.namespace}", "--action", "provider.read")
    moved = [row for row in passes if row["trigger"] == "refresh" and row["keys"] and row["outcome"]]
    assert [(row["keys"], row["details"]["asked"], row["details"]["failed"]) for row in moved] == [(["password"], "2", "0")]


def edited_and_deleted_by_another_hand(stage: Stage, edit: str) -> None:
    stage.shop.edit("app", manager="meddler", data=encoded(password=edit))
    mended = stage.wait("app", "secret.change", outcome="success", trigger="drift: edited")
    assert (mended["keys"], mended["details"]["by"]) == (["password"], "meddler")
    stage.shop.api.delete("Secret", stage.shop.namespace, "app")
    again = stage.wait("app", "secret.recreate", outcome="success", trigger="drift: deleted")
    assert again["keys"] == ["password", "user"]

    def told() -> str:
        return stage.described("managedsecret", "app")

    eventually(lambda: "Recreated" in told(), what=told)
    assert "Secret app had been changed (password by meddler) and is as ordered again; change it at its source" in told()
    assert "Secret app was gone and was made anew; delete the ManagedSecret to be rid of it" in told()
    assert "Secret app got its new value" in told()


def requested(stage: Stage) -> None:
    token = stage.shop.request_sync("app")
    asked = stage.wait("app", "provider.read", outcome="success", trigger=f"request {token}")
    assert asked["subject"] == stage.name("app")


def denied_by_conditions(stage: Stage) -> None:
    closed = f"closed-{stage.shop.namespace}"
    stage.shop.api.create(cluster_provider(closed, {"file": {"path": stage.shop.namespace}}, conditions=[{"namespaces": [ELSEWHERE]}]))
    try:
        stage.shop.provider, former = {"kind": "ClusterSecretProvider", "name": closed}, stage.shop.provider
        stage.shop.order("closed")
        stage.shop.provider = former
        denied = stage.wait("closed", "sync.deny", outcome="denied")
        assert (denied["reason"], denied["target"]) == ("ProviderNotAllowed", f"ClusterSecretProvider/{closed}")
        assert denied["details"]["uid"] == stage.shop.api.get("ManagedSecret", stage.shop.namespace, "closed")["metadata"]["uid"]
        configured = stage.trail.wait("--object", f"ClusterSecretProvider/{closed}", action="provider.configure")
        assert (configured["details"]["type"], configured["details"]["admits"]) == ("file", ELSEWHERE)
        told = eventually(lambda: "Warning ProviderNotAllowed" in (text := stage.described("managedsecret", "closed")) and text)
        assert "its owner adds it to spec.conditions, or use another provider" in str(told)
    finally:
        stage.shop.api.delete("ClusterSecretProvider", "", closed)
    assert stage.trail.wait("--object", f"ClusterSecretProvider/{closed}", action="provider.end")["trigger"] == "deletion"


def denied_by_the_default_provider(stage: Stage) -> None:
    data = [{"secretKey": "password", "remoteRef": {"key": "PASSWORD"}}]
    metadata = {"name": "default", "namespace": stage.shop.namespace}
    stage.shop.api.create({"apiVersion": API_VERSION, "kind": "ManagedSecret", "metadata": metadata, "spec": {"data": data}})
    denied = stage.wait("default", "sync.deny", outcome="denied")
    assert (denied["reason"], denied["target"]) == ("ProviderNotAllowed", "default")
    told = eventually(lambda: "Warning ProviderNotAllowed" in (text := stage.described("managedsecret", "default")) and text)
    assert "have an admin add the namespace to SECRETS_PROVIDER_NAMESPACES" in str(told)


def denied_at_the_path_and_then_away(stage: Stage, kept: str) -> None:
    former, vault = stage.shop.provider, stage.vault
    vault.put("app/db", password=kept)
    vault.put("other/db", password=kept)
    vault.provider(vault.log_in_by_approle())
    vault.order("vaulted", refreshInterval="2s")
    vault.order("outside", key="other/db")
    stage.shop.provider = former
    created = stage.wait("vaulted", "secret.create", outcome="success")
    assert "SecretProvider/vault:app/db@1" in created["details"]["sources"]
    denied = stage.wait("outside", "sync.deny", outcome="denied")
    assert (denied["reason"], denied["target"]) == ("AccessDenied", f"SecretProvider/{stage.shop.namespace}/vault")
    read = stage.wait("outside", "provider.read", outcome="denied")
    assert (read["reason"], read["keys"], read["attempt"]) == ("AccessDenied", ["other/db"], denied["attempt"])
    told = eventually(lambda: "Warning AccessDenied" in (text := stage.described("managedsecret", "outside")) and text)
    assert "other/db" in str(told)
    lines = stage.trail.lines("--object", stage.name("outside"), "--outcome", "denied")
    assert any("sync.deny" in line and "denied (AccessDenied)" in line for line in lines), lines
    vault.bao.stop()
    try:
        provider = f"SecretProvider/{stage.shop.namespace}/vault"
        away = stage.trail.wait("--object", provider, action="provider.read", outcome="failure", trigger="refresh")
        assert away["reason"] == "ProviderUnavailable"
        assert stage.shop.data("vaulted") == {"password": kept}
        told = eventually(lambda: "Warning ProviderUnavailable" in (text := stage.described("secretprovider", "vault")) and text, 60)
        assert "127.0.0.1" not in str(told).rpartition("Events:")[2], "of a server that a tenant chose nothing is told"
    finally:
        vault.bao.start()


def deleted(stage: Stage) -> None:
    revision = stage.shop.status("app")["revision"]
    stage.shop.remove("app")
    ended = stage.wait("app", "managedsecret.end", outcome="success")
    assert (ended["target"], ended["trigger"], ended["keys"]) == (stage.secret("app"), "deletion", ["password", "user"])
    assert (ended["details"]["secret"], ended["details"]["revision"]) == ("goes with it", revision)


def started_and_stopped(stage: Stage) -> None:
    """And what one asks for by actor, time and attempt."""
    assert stage.operator.stop() == 0
    told = stage.trail.rows("--object", "operator")
    assert [row["action"] for row in told] == ["operator.start", "operator.lead", "operator.stop"]
    started = told[0]
    assert {"identity", "operator_namespace", "file_roots", "allow_addresses"} - set(started["keys"]) == {"operator_namespace"}
    assert (started["details"]["default"], started["details"]["default_open_to"]) == ("env", ELSEWHERE)
    created = stage.wait("app", "secret.create", outcome="success")
    attempt = stage.trail.lines("--attempt", created["attempt"])
    assert [line.split()[3] for line in attempt] == ["provider.read", "secret.create"]
    assert all(line.endswith(f"#{created['attempt']}") for line in attempt)
    assert "operator.start" in {line.split()[3] for line in stage.trail.lines("--actor", "operator/operator", "--since", started["at"])}
    assert stage.trail.lines("--actor", "operator/operator", "--until", started["at"]) == []
