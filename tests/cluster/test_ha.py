"""Two replicas: one works at a time, the other takes over, and nothing late is written."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from canary import Canary
from cluster.audit import Request, mark, requests, writes
from cluster.process import Operator
from cluster.proxy import Proxy
from cluster.shop import Shop
from cluster.waiting import always, eventually
from controlplane.installation import NAMESPACE
from controlplane.plane import ControlPlane
from effort import effort
from evidence import counted

TAKEN_OVER_S = 15.0
AT_ONCE_S = 5.0
LEADER = re.compile(r"^keyturn_is_leader (\S+)$", re.MULTILINE)


@dataclass
class Replica:
    """An operator behind a proxy of its own, by whose tag the audit log tells the two apart."""

    operator: Operator
    proxy: Proxy

    @property
    def leads(self) -> bool:
        found = LEADER.search(self.operator.ask("/metrics"))
        return found is not None and float(found[1]) == 1

    def asked(self, plane: ControlPlane, since: int = 0) -> list[Request]:
        """What it asked the API server after the mark."""
        return requests(plane, f"keyturn/{self.proxy.tag}-", since)


@dataclass
class Pair:
    """The two, by what they do now."""

    leader: Replica
    follower: Replica


@pytest.fixture
def pair(own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary) -> Iterator[Pair]:
    """Both are ready, the first one leads, and it has synced `app`."""
    with ExitStack() as stack:
        replicas = []
        for name in ("first", "second"):
            proxy = stack.enter_context(Proxy.run(own_home, name))
            (tmp_path / name).mkdir()
            # What is shown here is the lease's doing; SQLite is for one, and whoever freezes in a commit keeps it from the other.
            operator = Operator(
                own_home, tmp_path, name=name, kubeconfig=proxy.kubeconfig(tmp_path / name), settings={"KEYTURN_AUDIT": "log"}
            )
            stack.callback(_end, operator)
            operator.start()
            canary.watch_file(operator.log_file)
            replicas.append(Replica(operator, proxy))
            eventually(lambda: replicas[0].leads, 30, operator.story)
        own_shop.source(password=own_shop.value())
        own_shop.synced("app", refreshInterval="1s")
        yield Pair(*replicas)


def _end(operator: Operator) -> None:
    if operator.is_running:
        operator.thaw()
        operator.stop()


def test_one_works_and_the_other_watches(own_home: ControlPlane, own_shop: Shop, pair: Pair) -> None:
    told = [record["message"] for record in pair.follower.operator.records() if record.get("logger") == "keyturn.lease"]
    assert told == ["standing by; first leads"]
    since = mark(own_home)
    own_shop.synced("more", refreshInterval="1s")
    always(lambda: pair.leader.leads and not pair.follower.leads, 3)
    assert pair.follower.operator.readiness() == "ok"
    known = pair.follower.asked(own_home)
    watched = {r.resource for r in known if r.verb == "watch"}
    assert watched >= {"managedsecrets", "secretproviders", "clustersecretproviders", "secrets", "namespaces"}
    assert [str(r) for r in writes(known)] == []
    assert {r.resource for r in pair.follower.asked(own_home, since) if r.verb == "get"} <= {"leases", "customresourcedefinitions"}
    assert "provider.read" not in pair.follower.operator.log()
    assert (
        own_shop.api.call("GET", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/keyturn")["spec"]["holderIdentity"] == "first"
    )


def test_a_killed_leader_is_followed_within_fifteen_seconds(
    own_home: ControlPlane, own_shop: Shop, pair: Pair, request: pytest.FixtureRequest
) -> None:
    rounds, took = counted(request, effort(2, 10), 10, "take-overs"), []
    for n in range(rounds):
        own_shop.source(password=(value := own_shop.value()))
        pair.leader.operator.kill()
        began = time.monotonic()
        own_shop.order(f"new-{n}")
        eventually(lambda n=n, value=value: own_shop.data(f"new-{n}") == {"password": value}, TAKEN_OVER_S, pair.follower.operator.story)  # type: ignore[misc]  # defaults bind the loop's
        took.append(time.monotonic() - began)
        own_shop.wait("app")
        eventually(lambda value=value: own_shop.data("app") == {"password": value})  # type: ignore[misc]  # the same
        assert pair.follower.leads
        pair.leader.operator.start()
        assert not pair.leader.leads
        pair = Pair(pair.follower, pair.leader)
    print(f"taken over from a killed leader: {', '.join(f'{s:.1f}' for s in took)} s")


def test_a_leader_that_stops_is_followed_at_once(own_shop: Shop, pair: Pair) -> None:
    assert pair.leader.operator.stop() == 0
    began = time.monotonic()
    own_shop.order("new")
    eventually(lambda: own_shop.data("new"), AT_ONCE_S, pair.follower.operator.story)
    print(f"taken over from a stopped leader: {time.monotonic() - began:.1f} s")
    own_shop.wait("new")


def test_a_leader_that_is_frozen_in_mid_sync_writes_nothing_late(own_home: ControlPlane, own_shop: Shop, pair: Pair) -> None:
    names = [f"new-{n:03}" for n in range(100)]
    for name in names:
        own_shop.order(name, refreshInterval="1s")
    eventually(lambda: len(own_shop.api.items("Secret", own_shop.namespace)) > len(names) // 10)
    pair.leader.operator.freeze()
    began = time.monotonic()
    own_shop.source(password=(value := own_shop.value()))

    def is_new() -> bool:
        return [own_shop.data(name) for name in ("app", *names)] == [{"password": value}] * (len(names) + 1)

    eventually(is_new, 60, pair.follower.operator.story)
    eventually(lambda: time.monotonic() > began + effort(0, 30), 31)
    assert pair.follower.leads
    since = mark(own_home)
    pair.leader.operator.thaw()
    always(lambda: not pair.leader.leads, 5)
    late = [str(r) for r in writes(pair.leader.asked(own_home, since)) if r.code != 409 and r.resource != "leases"]
    assert late == []
    assert is_new()
    for name in names:
        own_shop.wait(name)
    assert pair.leader.operator.is_running
    assert pair.leader.operator.readiness() == "ok"
    tried = len(writes(pair.leader.asked(own_home, since)))
    print(f"frozen for {time.monotonic() - began:.0f} s; of its writes after that {tried} were tried")


def test_a_write_that_was_under_way_when_the_lease_ended_meets_a_conflict(own_home: ControlPlane, own_shop: Shop, pair: Pair) -> None:
    """Stopped between check and send, as far as the API server can tell: the fence let it pass, and it arrives late."""
    with pair.leader.proxy.hold(lambda asked: asked.verb == "PATCH" and asked.secret == (own_shop.namespace, "app")) as held:
        own_shop.source(password=own_shop.value())
        eventually(lambda: held.asked)
        pair.leader.operator.freeze()
        own_shop.source(password=(value := own_shop.value()))
        eventually(lambda: own_shop.data("app") == {"password": value}, TAKEN_OVER_S * 2, pair.follower.operator.story)
        own_shop.wait("app")
        since = mark(own_home)
        held.let_go()
        late = eventually(lambda: writes(pair.leader.asked(own_home, since), "secrets"))
        assert [r.code for r in late] == [409]
        pair.leader.operator.thaw()
    always(lambda: own_shop.data("app") == {"password": value} and not pair.leader.leads, 5)
    assert {r.code for r in writes(pair.leader.asked(own_home, since)) if r.resource != "leases"} == {409}
    assert own_shop.ready("app")["reason"] == "Synced"


def test_an_api_server_that_is_away_for_longer_than_the_lease_ends_no_replica(own_home: ControlPlane, own_shop: Shop, pair: Pair) -> None:
    replicas = (pair.leader, pair.follower)
    own_home.kill("kube-apiserver")
    eventually(lambda: not any(r.leads for r in replicas), 30)
    began = time.monotonic()
    eventually(lambda: time.monotonic() > began + 5, 6)
    own_home.start("kube-apiserver")
    eventually(lambda: [r.leads for r in replicas].count(True) == 1, 30, pair.leader.operator.story)
    own_shop.source(password=(value := own_shop.value()))
    own_shop.order("new")
    eventually(lambda: own_shop.data("app") == {"password": value} == own_shop.data("new"))
    for replica in replicas:
        assert replica.operator.is_running
        replica.operator.wait_until_ready()
    always(lambda: [r.leads for r in replicas].count(True) == 1, 3)
