"""What somebody with rights in one namespace tried against the rest, and what bad values tried against good ones."""

from pathlib import Path

from cluster.process import Operator
from cluster.shop import Shop
from cluster.waiting import always, eventually
from controlplane.plane import ControlPlane

FORGED = 12


def test_forged_marks_do_not_stop_the_operator(own_home: ControlPlane, own_shop: Shop, tmp_path: Path) -> None:
    operator = Operator(own_home, tmp_path)
    own_shop.source(password=own_shop.value())
    with operator:
        own_shop.synced("app")
    marks = {"labels": {"keyturn.dev/managed": "true"}, "annotations": {"keyturn.dev/revision": "deadbeef-00"}}
    for n in range(FORGED):
        forged = {"name": f"forged-{n}", "namespace": own_shop.namespace, **marks}
        own_shop.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": forged})
    with operator:
        own_shop.synced("new")


def test_a_new_type_that_the_value_does_not_fit_leaves_the_old_secret_in_place(shop: Shop) -> None:
    value = shop.value()
    shop.source(config=value)
    before = shop.synced("app", {".dockerconfigjson": "config"})
    shop.change("app", target={"template": {"type": "kubernetes.io/dockerconfigjson"}})
    shop.wait("app", "SourceInvalid")
    always(lambda: shop.secret("app")["metadata"]["uid"] == before["metadata"]["uid"], 2)
    assert shop.data("app") == {".dockerconfigjson": value}
    shop.source(config='{"auths": {}}')
    shop.request_sync("app")
    eventually(lambda: (shop.find("app") or {}).get("type") == "kubernetes.io/dockerconfigjson", 60)
