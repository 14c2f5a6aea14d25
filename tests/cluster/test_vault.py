"""OpenBao as a source, through the operator: what its answers become, and who may be asked at all."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bao import Bao
from canary import Canary
from cluster.process import Operator
from cluster.shop import Shop, condition, secret_provider
from cluster.vaults import APPROLE, LOOPBACK_TOO, VaultShop
from cluster.waiting import always, eventually
from controlplane.plane import ControlPlane

GRACE_S = 4
FOLLOW_S = 5
PROSE = ("permission denied", "error occurred", "errors", "invalid", "namespace")


@pytest.fixture
def operator(own_home: ControlPlane, tmp_path: Path, canary: Canary) -> Iterator[Operator]:
    with Operator(own_home, tmp_path, *LOOPBACK_TOO, f"--denial-grace={GRACE_S}s") as running:
        canary.watch_operator(running.log_file, running.health_url)
        yield running


@pytest.fixture
def vault(bao: Bao, own_shop: Shop) -> VaultShop:
    made = VaultShop(bao, own_shop)
    made.put("app/db", password=own_shop.value("first"))
    return made


@pytest.mark.usefixtures("operator")
def test_a_denied_key_is_told_in_our_words_and_stalls_only_after_the_grace(vault: VaultShop) -> None:
    vault.put("private/db", password=vault.shop.value("private"))
    vault.provider(vault.log_in_by_approle())
    vault.order("app", key="private/db")
    ready = vault.shop.wait("app", "AccessDenied")
    began = time.monotonic()
    assert not any(word in ready["message"].lower() for word in PROSE), ready["message"]
    assert "private/db" in ready["message"]
    always(lambda: condition(vault.shop.status("app"), "Stalled") == {}, GRACE_S / 4, "stalled at once")
    assert condition(vault.shop.status("app"), "Reconciling")["reason"] == "AccessDenied"
    eventually(lambda: condition(vault.shop.status("app"), "Stalled").get("status") == "True")
    assert time.monotonic() - began >= GRACE_S / 2
    vault.bao.policy(vault.policy, {f"{vault.mount}/data/*": ["read"]})
    vault.shop.wait("app", deadline_s=120)


def test_a_revoked_token_costs_one_log_in_and_nobody_sees_it(vault: VaultShop, operator: Operator) -> None:
    vault.provider(vault.log_in_by_approle())
    vault.order("app", refreshInterval="1s")
    vault.shop.wait("app")
    before = vault.shop.api.get("ManagedSecret", vault.shop.namespace, "app")["metadata"]["resourceVersion"]
    since = vault.bao.mark()
    vault.bao.revoke_logins(vault.auth_mount)
    eventually(lambda: len(_reads(vault, since)) > 3)
    assert len(vault.bao.asked(since, path=f"auth/{vault.auth_mount}/login")) == 1
    assert vault.shop.api.get("ManagedSecret", vault.shop.namespace, "app")["metadata"]["resourceVersion"] == before
    vault.put("app/db", password=(value := vault.shop.value("second")))
    eventually(lambda: vault.shop.data("app") == {"password": value}, what=lambda: operator.story(20))


def test_status_names_the_version_that_came_and_a_new_one_of_the_same_data_costs_no_write(vault: VaultShop, operator: Operator) -> None:
    vault.provider(vault.log_in_by_approle())
    vault.order("app", refreshInterval="1s")
    vault.shop.wait("app")
    assert [source["version"] for source in vault.shop.status("app")["sources"]] == ["1"]
    before = vault.shop.api.get("ManagedSecret", vault.shop.namespace, "app")["metadata"]["resourceVersion"]
    vault.put("app/db", password=vault.shop.data("app")["password"])
    since = vault.bao.mark()
    eventually(lambda: len(_reads(vault, since)) > 3)
    assert vault.shop.api.get("ManagedSecret", vault.shop.namespace, "app")["metadata"]["resourceVersion"] == before
    vault.put("app/db", password=vault.shop.value("second"))
    eventually(lambda: [source["version"] for source in vault.shop.status("app")["sources"]] == ["3"], what=lambda: operator.story(20))


def test_a_token_that_expires_is_replaced_before_anybody_sees_it(vault: VaultShop, operator: Operator) -> None:
    vault.provider(vault.log_in_by_approle(token_ttl="3s", token_max_ttl="6s"))
    vault.order("app", refreshInterval="1s")
    vault.shop.wait("app")
    before = vault.shop.api.get("ManagedSecret", vault.shop.namespace, "app")["metadata"]["resourceVersion"]
    since = vault.bao.mark()
    eventually(lambda: len(vault.bao.asked(since, path=f"auth/{vault.auth_mount}/login")) >= 2)
    assert [asked for asked in _reads(vault, since) if asked.error] == [], operator.story(20)
    assert vault.shop.api.get("ManagedSecret", vault.shop.namespace, "app")["metadata"]["resourceVersion"] == before


def test_a_wrong_secret_id_is_an_auth_failure_until_the_secret_is_mended(vault: VaultShop, operator: Operator) -> None:
    auth = vault.log_in_by_approle()
    right = vault.shop.data(APPROLE)["id"]
    vault.credential(APPROLE, id=vault.shop.value("wrong"))
    vault.provider(auth)
    vault.order("app")
    vault.provider_ready(reason="AuthFailed")
    eventually(lambda: vault.shop.ready("app").get("reason") in {"AuthFailed", "ProviderNotReady"})
    assert vault.shop.find("app") is None
    vault.credential(APPROLE, id=right)
    began = time.monotonic()
    vault.shop.wait("app", deadline_s=FOLLOW_S * 5)
    vault.provider_ready()
    print(f"synced {time.monotonic() - began:.1f} s after the credential was mended")
    assert operator.readiness() == "ok"


@pytest.mark.usefixtures("operator")
def test_a_credential_that_is_replaced_is_followed_and_the_old_one_not_used_again(vault: VaultShop) -> None:
    vault.provider(vault.log_in_by_token())
    vault.order("app", refreshInterval="1s")
    vault.shop.wait("app")
    old = vault.shop.data("token")["token"]
    since = vault.bao.mark()
    vault.log_in_by_token()
    eventually(lambda: vault.bao.asked(since, path="auth/token/lookup-self"), FOLLOW_S * 5)
    vault.bao.revoke(old)
    since = vault.bao.mark()
    eventually(lambda: len(_reads(vault, since)) > 3)
    assert [asked for asked in vault.bao.asked(since) if asked.error] == []
    assert vault.shop.ready("app")["reason"] == "Synced"


@pytest.mark.usefixtures("operator")
def test_a_version_pins_a_change_arrives_and_a_deletion_is_told(vault: VaultShop) -> None:
    first = vault.shop.value("first-of-two")
    pinned = vault.put("app/two", password=first)
    vault.put("app/two", password=(second := vault.shop.value("second-of-two")))
    vault.provider(vault.log_in_by_approle())
    vault.order("newest", key="app/two", refreshInterval="1s")
    vault.order("pinned", key="app/two", version=str(pinned), refreshInterval="1s")
    vault.order("deletes", key="app/two", refreshInterval="1s", target={"deletionPolicy": "Delete"})
    for name in ("newest", "pinned", "deletes"):
        vault.shop.wait(name)
    assert (vault.shop.data("newest"), vault.shop.data("pinned")) == ({"password": second}, {"password": first})
    vault.put("app/two", password=(third := vault.shop.value("third-of-three")))
    eventually(lambda: vault.shop.data("newest") == {"password": third})
    assert vault.shop.data("pinned") == {"password": first}
    vault.bao.delete(vault.mount, "app/two")
    vault.shop.wait("newest", "SourceDeleted")
    vault.shop.wait("deletes", "SourceDeleted")
    assert vault.shop.data("newest") == {"password": third}
    eventually(lambda: vault.shop.find("deletes") is None)
    assert vault.shop.ready("pinned")["reason"] == "Synced"
    vault.bao.undelete(vault.mount, "app/two", [3])
    vault.shop.wait("newest")
    vault.shop.wait("deletes")
    assert vault.shop.data("deletes") == {"password": third}


def test_a_tenant_learns_nothing_from_where_its_server_is_refused(own_home: ControlPlane, own_shop: Shop, bao: Bao, tmp_path: Path) -> None:
    """Loopback, link-local, the API server, a port where nobody listens: one reason, one message."""
    vault = VaultShop(bao, own_shop)
    auth = vault.log_in_by_token()
    port = bao.url.rpartition(":")[2]
    servers = [
        bao.url,
        own_home.url,
        "https://127.0.0.1:9",
        f"https://localhost:{port}",
        "https://169.254.169.254",
        f"https://[::1]:{port}",
    ]
    since = bao.mark()
    with Operator(own_home, tmp_path) as operator:
        for n, server in enumerate(servers):
            made = secret_provider(own_shop.namespace, f"vault-{n}", {"hashicorpVault": {"server": server, "auth": auth}})
            own_shop.api.create(made)
        told = [vault.provider_ready(f"vault-{n}", "ProviderUnavailable") for n in range(len(servers))]
        assert {(ready["reason"], ready["message"]) for ready in told} == {(told[0]["reason"], told[0]["message"])}
        assert operator.readiness() == "ok"
    assert bao.asked(since) == []


def _reads(vault: VaultShop, since: int) -> list:  # type: ignore[type-arg]  # of bao.Asked
    return vault.bao.asked(since, path=f"{vault.mount}/data/")
