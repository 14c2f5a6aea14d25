"""An operator is killed at random moments under load, and its database too: nothing was done that does not stand in the trail before."""

import asyncio
import random
import time
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from canary import Canary
from canary.files import dumped
from cluster.audit import Request, mark, requests, writes
from cluster.process import Operator
from cluster.shop import Shop
from cluster.trails import Trail
from cluster.waiting import eventually
from controlplane.plane import ControlPlane
from effort import SEED, effort
from evidence import counted
from store.places import Place, postgres_place, sqlite_place

KILLS = 100
EACH = 4
LONGEST_LIFE_S = 0.6


@dataclass(frozen=True, slots=True)
class Home:
    """Where an operator's trail is."""

    place: Place
    runner: asyncio.Runner

    @property
    def settings(self) -> dict[str, str]:
        return {"DATABASE_URL": self.place.url, "SECRET_KEY": self.place.master}

    def rows(self, query: str) -> Sequence[Any]:
        """By SQL, as its owner."""
        return self.runner.run(self.place.execute(query))

    def hit(self) -> None:
        """Kills the server, where there is one, and brings it back."""
        if self.place.server is not None:
            self.place.server.kill()
            self.place.server.start()


@pytest.fixture(params=["sqlite", "postgresql"])
def home_of_trail(request: pytest.FixtureRequest, tmp_path: Path, canary: Canary) -> Iterator[Home]:
    folder = tmp_path / "database"
    folder.mkdir()
    made = sqlite_place(folder) if request.param == "sqlite" else postgres_place(request.getfixturevalue("postgres"))
    with asyncio.Runner() as runner:
        place = runner.run(made.__aenter__())
        runner.run(place.migrate())
        canary.watch_folder(folder)
        if place.server is not None:
            canary.watch(lambda: dumped(place.bytes()))
        yield Home(place, runner)
        runner.run(made.__aexit__(None, None, None))


@pytest.mark.timeout(1800)
def test_no_effect_is_without_its_intent_wherever_the_operator_or_its_database_is_killed(
    own_home: ControlPlane, own_shop: Shop, tmp_path: Path, home_of_trail: Home, canary: Canary, request: pytest.FixtureRequest
) -> None:
    """In each life some objects are new, and one that stands changes its spec."""
    kills, lot = counted(request, effort(10, KILLS), KILLS, "kills"), random.Random(f"{SEED} audit kills")
    own_shop.source(password=own_shop.value())
    since, hits = mark(own_home), Counter[str]()
    with Operator(own_home, tmp_path, settings=home_of_trail.settings) as operator:
        canary.watch_operator(operator.log_file, operator.health_url, environ=False)
        for life in range(kills):
            for number in range(EACH):
                own_shop.order(f"app-{life:03}-{number}", {"password": "password"})
            if life:
                name = f"app-{lot.randrange(life):03}-0"
                own_shop.change(name, target={"template": {"metadata": {"labels": {"life": str(life)}}}})
            time.sleep(lot.uniform(0, LONGEST_LIFE_S))  # the moment of the cut, and no wait for anything
            if home_of_trail.place.server is not None and lot.random() < 0.25:
                hits["database"] += 1
                home_of_trail.hit()
            else:
                hits["operator"] += 1
                operator.kill()
                operator.start(wait=bool(life % 2))
        operator.wait_until_ready()
        names = {f"app-{life:03}-{number}" for life in range(kills) for number in range(EACH)}
        eventually(lambda: names <= {found["metadata"]["name"] for found in own_shop.api.items("Secret", own_shop.namespace)}, 120)
        eventually(lambda: _unsynced(own_shop) == [], 120, operator.story)
        assert operator.stop() == 0
    written = writes(requests(own_home, since=since), "secrets")
    done = [each for each in written if each.code < 400 and each.namespace == own_shop.namespace]  # its own keys are elsewhere
    assert _without_intent(done, home_of_trail) == []
    assert set(Counter(each.name for each in done if each.verb == "create").values()) == {1}
    told = Trail(home_of_trail.settings).call("verify")
    assert "hang together as they were written" in told
    assert "not settled" not in told, told
    [(count, last, events)] = home_of_trail.rows("SELECT count(*), max(seq), count(DISTINCT event) FROM secret_access_log")
    assert count == last == events
    assert home_of_trail.rows("SELECT settles FROM secret_access_log WHERE settles <> '' GROUP BY settles HAVING count(*) > 1") == []
    ended = home_of_trail.rows("SELECT outcome, reason, count(*) FROM secret_access_log WHERE settles <> '' GROUP BY outcome, reason")
    print(f"kills {dict(hits)}, {count} rows, {len(done)} writes of Secrets, settled {[tuple(each) for each in ended]}")


def _without_intent(done: Sequence[Request], home: Home) -> list[str]:
    """Writes that the API server took, and before which fewer intents stand in the trail than there were writes."""
    intents: Mapping[str, list[datetime]] = defaultdict(list)
    for target, at in home.rows(
        "SELECT target, at FROM secret_access_log WHERE action LIKE 'secret.%' AND outcome = '' AND settles = '' ORDER BY at"
    ):
        intents[target].append(datetime.fromisoformat(at))
    found, seen = [], Counter[str]()
    for each in sorted(done, key=lambda request: request.at):
        target = f"Secret/{each.namespace}/{each.name}"
        seen[target] += 1
        if bisect(intents[target], datetime.fromisoformat(each.at)) < seen[target]:
            found.append(f"{each.at} {each}")
    return found


def _unsynced(shop: Shop) -> list[str]:
    def is_synced(managed: dict[str, Any]) -> bool:
        ready = next((c for c in managed.get("status", {}).get("conditions", ()) if c["type"] == "Ready"), {})
        is_new = managed.get("status", {}).get("observedGeneration") == managed["metadata"]["generation"]
        return bool(ready.get("reason") == "Synced" and is_new)

    return [m["metadata"]["name"] for m in shop.api.items("ManagedSecret", shop.namespace) if not is_synced(m)]
