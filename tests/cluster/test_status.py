"""What an object says of itself, and how kubectl and its kin understand it."""

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest

import kstatus
from cluster.api import ApiError
from cluster.shop import Shop, cluster_provider, condition, encoded, managed_secret
from cluster.waiting import always, eventually
from controlplane.plane import ControlPlane


def test_kubectl_wait_for_ready_works(shop: Shop, home: ControlPlane) -> None:
    shop.source(password=shop.value())
    shop.order("app")
    home.kubectl("wait", "--for=condition=Ready", "managedsecret/app", f"--namespace={shop.namespace}", "--timeout=30s")
    home.kubectl("wait", "--for=condition=Ready", f"clustersecretprovider/{shop.namespace}", "--timeout=30s")
    assert kstatus.compute(shop.api.get("ManagedSecret", shop.namespace, "app")) is kstatus.Verdict.CURRENT


def test_a_new_object_is_in_progress_before_anybody_looked_at_it(shop: Shop) -> None:
    made = shop.order("app")
    assert made["status"] == {"observedGeneration": -1}
    assert kstatus.compute(made) is kstatus.Verdict.IN_PROGRESS


def test_a_changed_spec_is_in_progress_until_it_is_done(shop: Shop) -> None:
    shop.source(password=shop.value())
    shop.synced("app")
    changed = shop.change("app", target={"template": {"metadata": {"labels": {"team": "shop"}}}})
    assert kstatus.compute(changed) is kstatus.Verdict.IN_PROGRESS
    shop.wait("app")
    assert kstatus.compute(shop.api.get("ManagedSecret", shop.namespace, "app")) is kstatus.Verdict.CURRENT


def test_get_shows_what_people_look_for(shop: Shop, home: ControlPlane) -> None:
    shop.source(password=shop.value())
    shop.synced("app", secretType="api_key")
    shop.order("bad", {"password": "nowhere"})
    shop.wait("bad", "SourceNotFound")
    shown = home.kubectl("get", "msec", f"--namespace={shop.namespace}").stdout.splitlines()
    assert shown[0].split() == ["NAME", "READY", "STATUS", "PROVIDER", "SECRET", "REVISION", "CHANGED", "NEXT-ROTATION", "AGE"]
    assert shown[1].split()[:6] == ["app", "True", "Synced", shop.namespace, "app", shop.status("app")["revision"]]
    assert shown[2].split()[:4] == ["bad", "False", "SourceNotFound", shop.namespace]
    wide = home.kubectl("get", "msec", "--output=wide", f"--namespace={shop.namespace}").stdout
    assert "Secret app is in sync" in wide
    assert "api_key" in wide
    everything = home.kubectl("get", "keyturn", f"--namespace={shop.namespace}").stdout
    assert "managedsecret.keyturn.dev/app" in everything


def test_describe_shows_conditions_and_events(shop: Shop, home: ControlPlane) -> None:
    shop.order("app", {"password": "nowhere"})
    shop.wait("app", "SourceNotFound")
    eventually(lambda: shop.reasons("app") == ["SourceNotFound"])
    shown = home.kubectl("describe", "msec", "app", f"--namespace={shop.namespace}").stdout
    assert "not at the provider: password (" in shown
    assert "Create the secret at the provider" in shown
    assert "Warning" in shown.rpartition("Events:")[2]


def test_a_provider_event_is_shown_where_describe_looks_for_it(shop: Shop, home: ControlPlane) -> None:
    name = f"{shop.namespace}-missing"
    shop.api.create(cluster_provider(name, {"file": {"path": "not/there", "format": "Directory"}}))
    try:
        home.kubectl("wait", "--for=condition=Ready=False", f"clustersecretprovider/{name}", "--timeout=30s")
        eventually(lambda: "Warning" in home.kubectl("describe", "csprov", name).stdout.rpartition("Events:")[2])
        assert home.kubectl("get", "csprov", name, "--no-headers").stdout.split()[3] == "file", "which provider it is, also while it fails"
    finally:
        shop.api.delete("ClusterSecretProvider", "", name)


def test_a_first_sync_and_an_unchanged_one_say_nothing(shop: Shop) -> None:
    shop.source(password=shop.value())
    shop.synced("app", refreshInterval="1s")
    shop.resync("app")
    always(lambda: shop.events("app") == [], 2, lambda: str(shop.reasons("app")))


def updated(shop: Shop) -> None:
    shop.source(password=(value := shop.value()))
    eventually(lambda: shop.data("app") == {"password": value})


def repaired(shop: Shop) -> None:
    shop.edit("app", data=encoded(password="edited"))
    eventually(lambda: shop.data("app")["password"] != "edited")


def recreated(shop: Shop) -> None:
    shop.api.delete("Secret", shop.namespace, "app")
    eventually(lambda: shop.find("app"))


def type_changed(shop: Shop) -> None:
    before = shop.data("app")
    shop.change("app", target={"template": {"type": "kubernetes.io/basic-auth"}})
    eventually(lambda: (shop.find("app") or {}).get("type") == "kubernetes.io/basic-auth")
    assert shop.data("app") == before


@pytest.mark.parametrize(
    ("happen", "reason"),
    [(updated, "Updated"), (repaired, "Repaired"), (recreated, "Recreated"), (type_changed, "TypeChanged")],
)
def test_what_happened_to_the_secret_is_one_event(shop: Shop, happen: object, reason: str) -> None:
    shop.source(password=shop.value())
    shop.synced("app", refreshInterval="1s")
    assert callable(happen)
    happen(shop)
    [event] = eventually(lambda: shop.events("app"))
    assert (event["type"], event["reason"]) == ("Normal", reason)
    assert "app" in event["note"]
    always(lambda: shop.reasons("app") == [reason], 1.5, lambda: str(shop.reasons("app")))


def test_a_type_is_not_changed_over_the_keys_of_others(shop: Shop) -> None:
    shop.source(password=shop.value())
    uid = shop.synced("app")["metadata"]["uid"]
    shop.edit("app", data=encoded(theirs="theirs"))
    shop.change("app", target={"template": {"type": "kubernetes.io/basic-auth"}})
    assert "theirs" in shop.wait("app", "TargetNotOwned")["message"]
    assert shop.secret("app")["metadata"]["uid"] == uid


def test_who_took_a_key_is_named_and_never_its_value(shop: Shop) -> None:
    shop.source(password=shop.value())
    shop.synced("app")
    shop.edit("app", manager="meddler", data=encoded(password=shop.value("edited")))
    [event] = eventually(lambda: shop.events("app"))
    assert "password by meddler" in event["note"]


def test_each_change_of_reason_is_one_warning(shop: Shop) -> None:
    shop.source(password=shop.value())
    shop.synced("app", refreshInterval="1s")
    shop.drop_source("password")
    shop.wait("app", "SourceDeleted")
    always(lambda: len(shop.events("app")) <= 1, 3, lambda: str(shop.reasons("app")))
    shop.source(password=shop.value())
    shop.wait("app")
    shop.drop_source("password")
    shop.wait("app", "SourceDeleted")
    eventually(lambda: shop.reasons("app").count("SourceDeleted") + _series(shop) >= 2)
    assert {(e["type"], e["reason"]) for e in shop.events("app")} <= {("Warning", "SourceDeleted"), ("Normal", "Updated")}


def test_when_all_sources_are_gone_the_policy_decides(shop: Shop) -> None:
    shop.source(password=(value := shop.value()))
    shop.synced("kept", refreshInterval="1s")
    shop.synced("deleted", refreshInterval="1s", target={"deletionPolicy": "Delete"})
    shop.drop_source("password")
    shop.wait("kept", "SourceDeleted")
    shop.wait("deleted", "SourceDeleted")
    assert shop.data("kept") == {"password": value}
    eventually(lambda: shop.find("deleted") is None)
    shop.source(password=(value := shop.value()))
    shop.wait("deleted", deadline_s=60)
    assert shop.data("deleted") == {"password": value}


def test_when_a_part_is_gone_the_last_good_secret_stays(shop: Shop) -> None:
    shop.source(one=shop.value(), two=shop.value())
    shop.synced("app", {"one": "one", "two": "two"}, refreshInterval="1s")
    before = shop.secret("app")["metadata"]["resourceVersion"]
    shop.drop_source("two")
    assert "two" in shop.wait("app", "SourcePartlyMissing")["message"]
    assert shop.secret("app")["metadata"]["resourceVersion"] == before


def test_nothing_is_written_while_a_part_was_never_there(shop: Shop) -> None:
    shop.source(one=shop.value())
    shop.order("app", {"one": "one", "two": "two"})
    shop.wait("app", "SourceNotFound")
    assert shop.find("app") is None
    shop.source(two=shop.value())
    shop.wait("app", deadline_s=60)


def test_suspended_says_so_keeps_ready_and_repairs_nothing(shop: Shop) -> None:
    shop.source(password=(value := shop.value()))
    shop.synced("app", refreshInterval="1s")
    shop.change("app", suspend=True)
    status = shop.wait_status("app", lambda status: condition(status, "Suspended"), "suspended")
    assert condition(status, "Ready")["reason"] == "Synced"
    assert status["observedGeneration"] == shop.api.get("ManagedSecret", shop.namespace, "app")["metadata"]["generation"]
    shop.edit("app", data=encoded(password="edited"))
    always(lambda: shop.data("app") == {"password": "edited"}, 2, "a suspended object was repaired")
    shop.change("app", suspend=None)
    eventually(lambda: shop.data("app") == {"password": value})
    shop.wait_status("app", lambda status: not condition(status, "Suspended"), "no longer suspended")


def test_a_request_is_answered_once(shop: Shop) -> None:
    shop.source(password=shop.value())
    shop.synced("app", refreshInterval="0")
    shop.source(password=(value := shop.value()))
    always(lambda: shop.data("app") != {"password": value}, 2, "interval 0 was refreshed by itself")
    shop.resync("app")
    assert shop.data("app") == {"password": value}


def test_created_once_is_never_read_again(shop: Shop) -> None:
    shop.source(password=shop.value())
    shop.synced("app", refreshPolicy="CreatedOnce")
    shop.edit("app", data=encoded(password="edited"))
    shop.source(password=(value := shop.value()))
    shop.resync("app")
    assert shop.data("app") == {"password": "edited"}
    shop.api.delete("Secret", shop.namespace, "app")
    eventually(lambda: shop.data("app") == {"password": value})


@pytest.fixture
def elsewhere(shop: Shop) -> Iterator[str]:
    """A second namespace, without a provider of its own."""
    name = f"{shop.namespace}-2"
    shop.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    with suppress(ApiError):
        shop.api.delete("Namespace", "", name)


def test_a_namespace_that_ends_is_no_failure(shop: Shop, home: ControlPlane, elsewhere: str) -> None:
    """Its objects go one by one, and what is then refused is neither an event nor a traceback."""
    free = f"{elsewhere}-free"
    shop.source(password=shop.value())
    shop.api.create(cluster_provider(free, {"file": {"path": shop.namespace, "format": "Directory"}}))
    try:
        for n in range(5):
            shop.api.create(
                managed_secret(elsewhere, f"app-{n}", {"kind": "ClusterSecretProvider", "name": free}, {"password": "password"})
            )
        home.kubectl("wait", "--for=condition=Ready", "managedsecret", "--all", f"--namespace={elsewhere}", "--timeout=30s")
        home.kubectl("delete", "namespace", elsewhere, "--timeout=60s")
    finally:
        shop.api.delete("ClusterSecretProvider", "", free)


def test_no_defect_was_logged(shop: Shop, home: ControlPlane) -> None:
    """Over all that the operator of this run went through so far."""
    lines = [json.loads(line) for line in (home.folder / "operator.log").read_text().splitlines()]
    assert [line for line in lines if line["level"] == "error" or "exception" in line] == []


def _series(shop: Shop) -> int:
    return sum(int(event.get("series", {}).get("count", 1)) - 1 for event in shop.events("app"))
