"""OpenBao goes away and comes back: Secrets stay, the truth is told by the rule, and a server that is down is left in peace."""

import time
from pathlib import Path

from bao import Bao
from canary import Canary
from cluster.process import Operator
from cluster.shop import Shop
from cluster.vaults import LOOPBACK_TOO, VaultShop
from cluster.waiting import always, eventually
from controlplane.plane import ControlPlane

OBJECTS = 200
INTERVAL_S = 5
FLOOR_S = 20
SOON_S = 5 * (INTERVAL_S + 3)  # far less than the five minutes between two checks


def test_an_outage_of_the_server_is_lived_through(own_home: ControlPlane, own_shop: Shop, bao: Bao, tmp_path: Path, canary: Canary) -> None:
    vault = VaultShop(bao, own_shop)
    vault.put("app/db", password=own_shop.value("before"))
    vault.provider(vault.log_in_by_approle())
    with Operator(own_home, tmp_path, *LOOPBACK_TOO, f"--stale-floor={FLOOR_S}s") as operator:
        canary.watch_operator(operator.log_file, operator.health_url)
        for n in range(OBJECTS):
            vault.order(f"app-{n:03}", refreshInterval=f"{INTERVAL_S}s")
        eventually(lambda: _reasons(vault) == {"Synced"}, 120, lambda: f"{_reasons(vault)}\n{operator.story(20)}")
        stood, calls = _versions(own_shop), _calls(operator)

        bao.stop()
        began = time.monotonic()
        always(lambda: _reasons(vault) == {"Synced"}, FLOOR_S / 2, lambda: f"told too early: {_reasons(vault)}")
        vault.provider_ready(reason="ProviderUnavailable", deadline_s=SOON_S)
        eventually(lambda: _reasons(vault) == {"Stale"}, FLOOR_S * 5, lambda: f"{_reasons(vault)}\n{operator.story(20)}")
        told_s = time.monotonic() - began
        always(lambda: _reasons(vault) == {"Stale"}, 5)
        away_s, made = time.monotonic() - began, _calls(operator) - calls
        assert _versions(own_shop) == stood
        assert all(ready["status"] == "False" for ready in vault.ready().values())
        # What is under way as it goes counts, and then one a second at most for all the objects together.
        assert made <= away_s + 10, f"{made} calls in {away_s:.0f} s"
        assert all(len(own_shop.reasons(f"app-{n:03}")) <= 3 for n in range(0, OBJECTS, 20))

        bao.start()
        vault.put("app/db", password=(after := own_shop.value("after")))
        began = time.monotonic()
        eventually(lambda: _reasons(vault) == {"Synced"}, INTERVAL_S * 5, lambda: f"{_reasons(vault)}\n{operator.story(20)}")
        recovered_s = time.monotonic() - began
        vault.provider_ready(deadline_s=SOON_S)
        eventually(lambda: all(own_shop.data(f"app-{n:03}") == {"password": after} for n in range(0, OBJECTS, 10)), INTERVAL_S * 5)
    print(f"Stale after {told_s:.1f} s, {made:.0f} calls in {away_s:.0f} s, all synced {recovered_s:.1f} s after its return")


def _reasons(vault: VaultShop) -> set[str]:
    return {str(ready.get("reason")) for ready in vault.ready().values()}


def _versions(shop: Shop) -> dict[str, str]:
    found = shop.api.items("Secret", shop.namespace, labelSelector="keyturn.dev/managed=true")
    return {s["metadata"]["name"]: s["metadata"]["resourceVersion"] for s in found}


def _calls(operator: Operator) -> float:
    return operator.metric("keyturn_provider_call_duration_seconds_count", provider="hashicorpVault")
