"""Real power cuts: the operator is killed at random moments while it writes, again and again."""

import base64
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from canary import Canary
from cluster.api import Api
from cluster.audit import mark, requests, writes
from cluster.process import Operator
from cluster.shop import Shop
from cluster.waiting import eventually
from controlplane.plane import ControlPlane
from effort import SEED, effort
from evidence import counted

KILLS, SYNCS = 100, 500
EACH = SYNCS // KILLS
LONGEST_LIFE_S = 0.6
HALVES = {"user": "pair-user", "password": "pair-password"}


@pytest.mark.timeout(1200)
def test_kills_at_random_moments_leave_no_secret_unsynced_half_written_or_written_twice(
    own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary, request: pytest.FixtureRequest
) -> None:
    """In each life some objects are new, and some that stand change their spec."""
    kills, chance = counted(request, effort(10, KILLS), KILLS, "kills"), random.Random(f"{SEED} kills")
    own_shop.source(**{source: own_shop.value(source) for source in HALVES.values()})
    since, changed = mark(own_home), Counter[str]()
    with Operator(own_home, tmp_path) as operator, _watched(own_home, own_shop) as seen:
        canary.watch_operator(operator.log_file, operator.health_url)
        for life in range(kills):
            for n in range(EACH):
                own_shop.order(f"app-{life:03}-{n}", HALVES)
            if life:
                name = f"app-{chance.randrange(life):03}-0"
                changed[name] += 1
                own_shop.change(name, target={"template": {"metadata": {"labels": {"life": str(life)}}}})
            time.sleep(chance.uniform(0, LONGEST_LIFE_S))  # the moment of the cut, and no wait for anything
            operator.kill()
            operator.start(wait=bool(life % 2))
        operator.wait_until_ready()
        eventually(lambda: _unsynced(own_shop) == [], 120, lambda: f"{_unsynced(own_shop)[:5]}\n{operator.story(20)}")
    assert len(own_shop.api.items("Secret", own_shop.namespace)) == kills * EACH
    assert seen.halves == []
    done = [r for r in writes(requests(own_home, since=since), "secrets") if r.code < 400]
    made = Counter(r.name for r in done if r.verb == "create")
    assert set(made.values()) == {1}
    applied = Counter(r.name for r in done if r.verb == "patch")
    assert {name: n for name, n in applied.items() if n > changed[name]} == {}
    assert [str(r) for r in done if r.verb == "delete"] == []


def _unsynced(shop: Shop) -> list[str]:
    def is_synced(managed: dict[str, Any]) -> bool:
        status = managed["status"]
        ready = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})
        return bool(ready.get("reason") == "Synced" and status["observedGeneration"] == managed["metadata"]["generation"])

    return [m["metadata"]["name"] for m in shop.api.items("ManagedSecret", shop.namespace) if not is_synced(m)]


class _Seen:
    """Every state of every Secret, as a pod could have met it."""

    def __init__(self, shop: Shop) -> None:
        self.halves: list[str] = []
        self.stop = threading.Event()
        self._shop = shop

    def look(self, api: Api) -> None:
        while not self.stop.is_set():
            for secret in api.items("Secret", self._shop.namespace):
                found = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
                if set(found) != set(HALVES) or not all(found.values()):
                    self.halves.append(f"{secret['metadata']['name']}: {sorted(found)}")
            self.stop.wait(0.05)


@contextmanager
def _watched(plane: ControlPlane, shop: Shop) -> Iterator[_Seen]:
    seen = _Seen(shop)
    api = Api(plane)
    thread = threading.Thread(target=seen.look, args=(api,), name="reader")
    thread.start()
    try:
        yield seen
    finally:
        seen.stop.set()
        thread.join()
        api.close()
