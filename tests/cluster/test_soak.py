"""A while of ordinary life with trouble in it: nothing grows, and at the end everything is right."""

import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from bao import Bao
from canary import Canary
from cluster.process import Operator
from cluster.shop import Shop, encoded
from cluster.vaults import LOOPBACK_TOO, VaultShop
from cluster.waiting import eventually
from controlplane.plane import ControlPlane
from effort import SEED, effort
from evidence import counted

MINUTES, OBJECTS = 10, 1000
INTERVAL_S = 15
SOURCES = 50
GROWTH = 1.15
"""How much larger the second half's median may be than the first's: a leak of one kilobyte a refresh would show."""


@pytest.mark.timeout(60 * MINUTES + 900)
def test_a_soak_leaves_memory_flat_no_task_behind_and_every_object_right(
    own_home: ControlPlane, own_shop: Shop, bao: Bao, tmp_path: Path, canary: Canary, request: pytest.FixtureRequest
) -> None:
    minutes, objects = counted(request, effort(2, MINUTES), MINUTES, "minutes"), effort(300, OBJECTS)
    life = _Life(VaultShop(bao, own_shop), objects)
    with Operator(own_home, tmp_path, *LOOPBACK_TOO, "--stale-floor=30s") as operator:
        canary.watch_operator(operator.log_file, operator.health_url)
        life.begin()
        eventually(lambda: len(life.wrong()) == 0, 180, lambda: operator.story(20))
        began, sizes, tasks = time.monotonic(), list[int](), list[float]()
        while time.monotonic() - began < minutes * 60:
            due = time.monotonic() + 1
            life.trouble()
            sizes.append(operator.resident_kib())
            tasks.append(operator.metric("keyturn_tasks"))
            eventually(lambda due=due: time.monotonic() > due)  # type: ignore[misc]  # a default binds the loop variable
        bao.resume()
        eventually(lambda: life.wrong() == [], 5 * INTERVAL_S, lambda: f"{life.wrong()[:5]}\n{operator.story(20)}")
        eventually(lambda: life.unready() == [], 5 * INTERVAL_S, lambda: f"{life.unready()[:5]}\n{operator.story(20)}")
        assert operator.metric("keyturn_sync_duration_seconds_count", outcome="Defect") == 0
    first, second = (statistics.median(half) for half in _halves(sizes))
    print(f"resident: {first / 1024:.1f} MiB in the first half, {second / 1024:.1f} MiB in the second; {len(sizes)} looks")
    assert second <= first * GROWTH
    early, late = (statistics.median(half) for half in _halves(tasks))
    print(f"tasks: {early:g} in the first half, {late:g} in the second")
    assert 0 < late <= early * GROWTH


class _Life:
    """What users and the provider do, a little each second."""

    def __init__(self, vault: VaultShop, objects: int) -> None:
        self._vault, self._shop, self._objects = vault, vault.shop, objects
        self._chance = random.Random(f"{SEED} soak")
        self._values: dict[str, str] = {}
        self._paused_until = 0.0

    def begin(self) -> None:
        for n in range(SOURCES):
            self._change(n)
        self._vault.provider(self._vault.log_in_by_approle(token_ttl="60s"))
        for n in range(self._objects):
            self._vault.order(_name(n), key=_source(n), refreshInterval=f"{INTERVAL_S}s")

    def trouble(self) -> None:
        """A value changes, a Secret is edited, one is deleted; now and then the provider hangs for some seconds."""
        now = time.monotonic()
        if self._paused_until and now > self._paused_until:
            self._paused_until = 0.0
            self._vault.bao.resume()
        if not self._paused_until:
            self._change(self._chance.randrange(SOURCES))
            if self._chance.random() < 0.05:
                self._paused_until = now + self._chance.uniform(2, 15)
                self._vault.bao.pause()
        if self._shop.find(name := _name(self._chance.randrange(self._objects))) is not None:
            self._shop.edit(name, data=encoded(password="edited"))
        if self._shop.find(name := _name(self._chance.randrange(self._objects))) is not None:
            self._shop.api.delete("Secret", self._shop.namespace, name)

    def wrong(self) -> list[str]:
        """The objects whose Secret is not as the provider has it."""
        found = self._shop.api.items("Secret", self._shop.namespace, labelSelector="keyturn.dev/managed=true")
        stand = {s["metadata"]["name"]: s.get("data") for s in found}
        return [_name(n) for n in range(self._objects) if stand.get(_name(n)) != encoded(password=self._values[_source(n)])]

    def unready(self) -> list[str]:
        return [name for name, ready in self._vault.ready().items() if ready.get("status") != "True"]

    def _change(self, n: int) -> None:
        value = self._shop.value(f"source-{n}")
        self._vault.put(_source(n), password=value)
        self._values[_source(n)] = value


def _source(n: int) -> str:
    return f"app/source-{n % SOURCES}"


def _name(n: int) -> str:
    return f"app-{n:04}"


def _halves(sizes: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    # The first tenth fills caches and pools.
    settled = sizes[len(sizes) // 10 :]
    return settled[: len(settled) // 2], settled[len(settled) // 2 :]
