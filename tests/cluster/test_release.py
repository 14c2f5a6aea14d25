"""`keyturn release` beside an operator that no Deployment shows: it must not say that all is well."""

import secrets
from pathlib import Path

from cluster.shop import Shop
from controlplane.plane import ControlPlane
from pages import Shell


def test_a_release_beside_a_running_operator_fails_and_says_why(shop: Shop, home: ControlPlane, tmp_path: Path) -> None:
    shop.source(password=shop.value())
    shop.synced("app")
    own = {"DATABASE_URL": f"sqlite:///{tmp_path}/own.db", "SECRET_KEY": secrets.token_urlsafe(48)}
    shell = Shell(tmp_path, settings={"KUBECONFIG": str(home.kubeconfig), **own})
    assert shell.run("printf x | SECRETS_PROVIDER=database keyturn set any").returncode == 0
    ended = shell.run(f"keyturn release -n {shop.namespace}")
    assert ended.returncode == 1
    assert "was taken back at once: an operator runs that is no Deployment of this cluster" in ended.stderr
    assert "can be deleted now" not in ended.stdout
    assert shop.secret("app")["metadata"]["ownerReferences"][0]["name"] == "app"
    told = shell.run("keyturn audit query --action secret.release --json").stdout.splitlines()
    assert [('"released":"1"' in row, '"outcome":"success"' in row) for row in told] == [(False, False), (True, True)]
