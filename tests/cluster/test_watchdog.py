"""A watch that has gone silent on a real API server: the operator says which, and goes on by itself when it speaks again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from canary import Canary
from cluster.process import Operator
from cluster.proxy import Asked, Proxy
from cluster.shop import Shop
from cluster.waiting import always, eventually
from controlplane.plane import ControlPlane

LIMIT_S = 5


@pytest.fixture
def proxy(own_home: ControlPlane) -> Iterator[Proxy]:
    with Proxy.run(own_home) as made:
        yield made


@pytest.fixture
def operator(own_home: ControlPlane, own_shop: Shop, proxy: Proxy, tmp_path: Path, canary: Canary) -> Iterator[Operator]:
    with Operator(own_home, tmp_path, f"--stall-limit={LIMIT_S}s", name="watched", kubeconfig=proxy.kubeconfig(tmp_path)) as made:
        canary.watch_operator(made.log_file, made.health_url)
        own_shop.source(password=own_shop.value())
        own_shop.synced("app", refreshInterval="1s")
        yield made


def watches(path: str) -> str:
    return f"the watch of {path} brings nothing for "


def test_a_watch_of_kopfs_that_is_silent_is_named_and_comes_back(operator: Operator, own_shop: Shop, proxy: Proxy) -> None:
    path = "/apis/keyturn.dev/v1alpha1/managedsecrets"
    with proxy.stall(lambda asked: asked.path == path and asked.is_watch):
        eventually(lambda: operator.readiness().startswith(watches(path)), what=operator.readiness)
        assert len(operator.readiness().splitlines()) == 1
        assert operator.ask("/healthz") == "ok"
        own_shop.order("late")
    operator.wait_until_ready()
    own_shop.wait("late")
    assert [record["message"] for record in operator.records() if record["logger"] == "keyturn.watchdog"][-1].startswith("stalled no more")


def test_a_watch_of_our_own_that_is_silent_is_named_and_comes_back(operator: Operator, own_shop: Shop, proxy: Proxy) -> None:
    with proxy.stall(lambda asked: asked.path == "/api/v1/secrets"):
        eventually(lambda: "/api/v1/secrets" in operator.readiness(), what=operator.readiness)
        assert operator.ask("/healthz") == "ok"
        own_shop.edit("app", data={"password": None})
    operator.wait_until_ready()
    eventually(lambda: own_shop.data("app"))


def test_an_idle_operator_is_not_taken_for_stalled(operator: Operator, proxy: Proxy) -> None:
    """The limit is far below the time between two bookmarks."""
    reopened = len(asked_for(proxy, "/api/v1/namespaces"))
    always(lambda: operator.readiness() == "ok", 3 * LIMIT_S, operator.readiness)
    assert len(asked_for(proxy, "/api/v1/namespaces")) > reopened


def asked_for(proxy: Proxy, path: str) -> list[Asked]:
    return [asked for asked in proxy.asked if asked.is_watch and asked.path == path]


def test_what_is_measured_on_the_way_is_shown(operator: Operator, own_shop: Shop) -> None:
    for phase in ("admit", "observe", "fetch", "gather", "compose", "diff", "perform", "status"):
        assert operator.metric("keyturn_sync_phase_seconds_count", phase=phase) >= 1, phase
    assert operator.metric("keyturn_queue_wait_seconds_count", lane="urgent") >= 1
    assert operator.metric("keyturn_provider_call_duration_seconds_count", result="OK") >= 1
    eventually(lambda: operator.metric("keyturn_oldest_unsynced_seconds") == 0)
    own_shop.order("unsynced", {"password": "missing"})
    own_shop.wait("unsynced", "SourceNotFound")
    eventually(lambda: operator.metric("keyturn_oldest_unsynced_seconds") >= 1)
    own_shop.remove("unsynced")
    eventually(lambda: operator.metric("keyturn_oldest_unsynced_seconds") == 0)
