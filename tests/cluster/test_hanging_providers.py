"""A bulkhead for each provider object: those that hang cost the others nothing."""

import base64
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bao import Bao
from canary import Canary
from cluster.process import Operator
from cluster.shop import Shop, condition, secret_provider
from cluster.vaults import LOOPBACK_TOO, VaultShop
from cluster.waiting import eventually
from controlplane.plane import ControlPlane
from controlplane.servers import LOOPBACK
from effort import effort
from evidence import counted

PROVIDERS, HANGING = 200, 50
INTERVAL_S = 5
RATIO = 5.0


def test_providers_that_hang_do_not_slow_down_the_others(
    own_home: ControlPlane, own_shop: Shop, bao: Bao, tmp_path: Path, canary: Canary, request: pytest.FixtureRequest
) -> None:
    """How long a changed value takes to arrive at the well ones, before some providers hang and while they do."""
    providers = counted(request, effort(80, PROVIDERS), PROVIDERS, "providers")
    hanging = providers * HANGING // PROVIDERS
    vault, names = VaultShop(bao, own_shop), [f"app-{n:03}" for n in range(providers)]
    vault.put("app/db", password=own_shop.value("first"))
    auth, authority = vault.log_in_by_token(), base64.b64encode(bao.ca_pem).decode()
    with _tarpit() as tarpit, Operator(own_home, tmp_path, *LOOPBACK_TOO) as operator:
        canary.watch_operator(operator.log_file, operator.health_url)
        for name in names:
            spec = {"server": bao.url, "path": vault.mount, "caBundle": authority, "auth": auth}
            own_shop.api.create(secret_provider(own_shop.namespace, name, {"hashicorpVault": spec}))
            own_shop.provider = {"kind": "SecretProvider", "name": name}
            vault.order(name, refreshInterval=f"{INTERVAL_S}s")
        eventually(lambda: {r.get("reason") for r in vault.ready().values()} == {"Synced"}, 180, lambda: operator.story(20))
        well = names[hanging:]
        undisturbed = _p95(vault, well)
        for name in names[:hanging]:
            spec = {"provider": {"hashicorpVault": {"server": tarpit}}}
            own_shop.api.merge("SecretProvider", own_shop.namespace, name, {"spec": spec})
        eventually(lambda: _unready_providers(own_shop) == set(names[:hanging]), 180, lambda: f"{len(_unready_providers(own_shop))} hang")
        disturbed = _p95(vault, well)
        assert operator.readiness() == "ok"
    print(f"p95 {undisturbed:.2f} s undisturbed, {disturbed:.2f} s beside {hanging} that hang: ratio {disturbed / undisturbed:.2f}")
    assert disturbed <= RATIO * undisturbed


def _p95(vault: VaultShop, names: list[str]) -> float:
    """Seconds from a change at the server to the Secret, for each of the names."""
    value = vault.shop.value()
    began, took = time.monotonic(), dict[str, float]()
    vault.put("app/db", password=value)
    wanted = base64.b64encode(value.encode()).decode()

    def all_have_it() -> bool:
        for secret in vault.shop.api.items("Secret", vault.shop.namespace, labelSelector="keyturn.dev/managed=true"):
            if secret["data"].get("password") == wanted:
                took.setdefault(secret["metadata"]["name"], time.monotonic() - began)
        return set(names) <= set(took)

    eventually(all_have_it, 120, lambda: f"{len(set(names) - set(took))} without the new value")
    return statistics.quantiles([took[name] for name in names], n=20)[-1]


def _unready_providers(shop: Shop) -> set[str]:
    found = shop.api.items("SecretProvider", shop.namespace)
    return {p["metadata"]["name"] for p in found if condition(p.get("status", {}), "Ready").get("status") == "False"}


@contextmanager
def _tarpit() -> Iterator[str]:
    """An address that takes every connection and never says a word."""
    stop, taken = threading.Event(), list[socket.socket]()
    with socket.create_server((LOOPBACK, 0), backlog=512) as server:
        server.settimeout(0.2)

        def take() -> None:
            while not stop.is_set():
                try:
                    taken.append(server.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=take, name="tarpit")
        thread.start()
        try:
            yield f"https://{LOOPBACK}:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()
            for connection in taken:
                connection.close()
