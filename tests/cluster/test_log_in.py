"""The operator's log-in at the API server: it is replaced, or not known for a while."""

import time
from pathlib import Path

from canary import Canary
from cluster.audit import mark
from cluster.kubelet import Kubelet, refused, works
from cluster.process import Operator
from cluster.proxy import Asked, Proxy
from cluster.shop import Shop
from cluster.waiting import eventually
from controlplane.installation import NAMESPACE, SERVICE_ACCOUNT
from controlplane.plane import ControlPlane
from controlplane.servers import write_private
from effort import effort


def test_the_token_is_replaced_after_the_old_one_stopped_working(
    own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary
) -> None:
    token = tmp_path / "token"
    kubeconfig = own_home.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT, token)
    with Operator(own_home, tmp_path, kubeconfig=kubeconfig) as operator:
        canary.watch_operator(operator.log_file, operator.health_url)
        kubelet = Kubelet(operator)
        own_shop.source(password=own_shop.value())
        own_shop.synced("app", refreshInterval="1s")
        own_home.kubectl("delete", "serviceaccount", SERVICE_ACCOUNT, f"--namespace={NAMESPACE}")
        own_home.kubectl("create", "serviceaccount", SERVICE_ACCOUNT, f"--namespace={NAMESPACE}")
        since = mark(own_home)
        own_shop.source(password=own_shop.value())
        eventually(lambda: refused(own_home, since, 401, own_shop), what=lambda: f"the old token still works\n{operator.story()}")
        write_private(token, own_home.new_token(NAMESPACE, SERVICE_ACCOUNT))
        works(own_shop, kubelet)
        kubelet.tell("token replaced")


def test_watches_that_break_while_the_log_in_is_not_known_begin_anew(
    own_home: ControlPlane, own_shop: Shop, tmp_path: Path, canary: Canary
) -> None:
    away_s = effort(4, 30)
    with Proxy.run(own_home) as proxy, Operator(own_home, tmp_path, kubeconfig=proxy.kubeconfig(tmp_path)) as operator:
        canary.watch_operator(operator.log_file, operator.health_url)
        kubelet = Kubelet(operator)
        own_shop.source(password=own_shop.value())
        own_shop.synced("app", refreshInterval="1s")
        with proxy.refuse(_whatever, 401, "Unauthorized"):
            proxy.cut()
            began = time.monotonic()
            kubelet.until(lambda: time.monotonic() > began + away_s)
            assert operator.readiness() != "ok"
        works(own_shop, kubelet)
        # Each of five watches, and each write, once a second at most, on the way to fewer.
        assert len(proxy.refused) <= 10 * (away_s + 2), f"hot: {len(proxy.refused)} in {away_s} s"
        kubelet.tell(f"401 for {away_s} s, {len(proxy.refused)} refused")


def _whatever(_: Asked) -> bool:
    return True
