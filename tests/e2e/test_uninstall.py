"""docs/uninstall.md as it stands there, run on a control plane of its own: every Secret stays, and can be taken back."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from canary import Canary
from cluster.api import Api, ApiError, Json
from cluster.process import Operator
from cluster.shop import Shop, cluster_provider
from cluster.waiting import always, eventually
from controlplane.build import find_or_build
from controlplane.errors import ControlPlaneError
from controlplane.plane import ControlPlane
from controlplane.servers import LOOPBACK, free_ports, kubeconfig_text
from pages import ROOT, Shell, blocks, commands

STOP, RELEASE, LOOK, DELETE_KINDS, DELETE_OPERATOR, SAVE_KEY = blocks(ROOT / "docs" / "uninstall.md", "sh")
INSTALL = """
kubectl apply --server-side -k crds
kubectl wait --for=condition=Established crd/managedsecrets.keyturn.dev crd/clustersecretproviders.keyturn.dev --timeout=30s
kubectl apply -k deploy/base
"""
COLLECTED_S = 90
MANY = 12  # Secrets under another key: so many that the key must be the wrong one
KEY_FILE = "keyturn-fingerprint-key.yaml"


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    with ControlPlane.run() as plane:
        if not plane.has_controllers:
            pytest.skip("needs kube-controller-manager, which KUBEBUILDER_ASSETS has not")
        yield plane


@pytest.fixture(scope="module")
def shell(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A user's, in a checkout."""
    checkout = tmp_path_factory.mktemp("checkout")
    for folder in ("crds", "deploy"):
        shutil.copytree(ROOT / folder, checkout / folder)
    return Shell(checkout, find_or_build()["kubectl"], {"KUBECONFIG": str(cluster.kubeconfig)})


@pytest.fixture(scope="module")
def api(cluster: ControlPlane) -> Iterator[Api]:
    with closing(Api(cluster)) as made:
        yield made


@pytest.fixture
def start(cluster: ControlPlane, shell: Shell, tmp_path: Path, canary: Canary, api: Api) -> Iterator[Callable[[], Operator]]:
    """Installs Keyturn and starts its operator, with the rights that the manifests give."""

    def started() -> Operator:
        ok(shell, INSTALL)
        if api.find("Secret", "keyturn-system", "keyturn-audit-key") is None:  # a new namespace has a new volume
            for file in cluster.hold.folder.glob("keyturn.db*"):
                file.unlink()
        operator = Operator(cluster, tmp_path)
        operator.start()
        canary.watch_operator(operator.log_file, operator.health_url)
        return operator

    yield started
    with suppress(ControlPlaneError):  # most tests have ended it
        cluster.hold.end("operator")


@pytest.fixture
def open_shop(api: Api, tmp_path: Path, canary: Canary) -> Iterator[Callable[[], Shop]]:
    """Makes namespaces with a provider and one source."""
    with ExitStack() as ends:

        def opened() -> Shop:
            shop = Shop(api, tmp_path, canary).open()
            shop.source(password=shop.value())
            ends.callback(lambda: close(shop))
            return shop

        yield opened


def close(shop: Shop) -> None:
    with suppress(ApiError):
        shop.close()


def ok(shell: Shell, script: str) -> str:
    ended = shell.run(script)
    assert ended.returncode == 0, f"{script}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def stop(shell: Shell, operator: Operator) -> None:
    """What the page says, and what the kubelet makes of it."""
    ok(shell, STOP)
    assert operator.stop() == 0, operator.log(30)


def owners(shop: Shop, name: str) -> list[Json]:
    return list(shop.secret(name)["metadata"].get("ownerReferences", ()))


def own(shop: Shop, name: str, *references: Json) -> None:
    shop.edit(name, metadata={"ownerReferences": list(references)})


def lasting(secret: Json) -> Json:
    """All of a Secret that release and return leave alone."""
    metadata = {key: secret["metadata"][key] for key in ("uid", "labels", "annotations", "creationTimestamp")}
    return {"metadata": metadata, "data": secret["data"], "type": secret["type"]}


def test_the_page_keeps_every_secret_and_the_way_back_takes_them_without_a_change(
    cluster: ControlPlane, shell: Shell, api: Api, start: Callable[[], Operator], open_shop: Callable[[], Shop]
) -> None:
    operator, shops = start(), [open_shop(), open_shop()]
    cluster.stop("kube-controller-manager")  # the garbage collector looks for new kinds every 30 s only, but at its start
    cluster.start("kube-controller-manager")
    before = {shop: lasting(shop.synced("app")) for shop in shops}
    first = shops[0]
    orphan = lasting(first.synced("orphan", target={"creationPolicy": "Orphan"}))
    [reference] = first.synced("forgotten")["metadata"]["ownerReferences"]
    first.synced("probe")
    first.remove("probe", propagationPolicy="Background")
    eventually(lambda: first.find("probe") is None, COLLECTED_S, "the garbage collector knows our kind")
    ok(shell, SAVE_KEY)

    stop(shell, operator)
    assert ok(shell, RELEASE).count("released Secret/shop-") == 3
    assert "ManagedSecret" not in ok(shell, LOOK)
    own(first, "forgotten", reference)
    assert "ManagedSecret" in ok(shell, LOOK)
    ok(shell, DELETE_KINDS)
    ok(shell, DELETE_OPERATOR)
    eventually(lambda: first.find("forgotten") is None, COLLECTED_S, "what was not released goes with the CRDs")
    always(lambda: {shop: lasting(shop.secret("app")) for shop in shops} == before, 2, "a Secret went or changed")
    assert lasting(first.secret("orphan")) == orphan
    assert api.find("Namespace", "", "keyturn-system") is None

    ok(shell, f"kubectl create namespace keyturn-system; kubectl create -f {KEY_FILE}")
    operator = start()
    for shop in shops:
        api.create(cluster_provider(shop.namespace, {"file": {"path": shop.namespace, "format": "Directory"}}))
        shop.order("app")
        shop.wait("app")
        [owner] = owners(shop, "app")
        assert owner["uid"] == api.get("ManagedSecret", shop.namespace, "app")["metadata"]["uid"]
        assert lasting(shop.secret("app")) == before[shop]
    first.order("orphan", target={"creationPolicy": "Orphan"})
    first.wait("orphan")
    assert lasting(first.secret("orphan")) == orphan
    assert not owners(first, "orphan")
    stop(shell, operator)


def test_it_refuses_while_an_operator_runs_and_prints_the_command_that_stops_it(
    shell: Shell, start: Callable[[], Operator], open_shop: Callable[[], Shop]
) -> None:
    operator, shop = start(), open_shop()
    version = shop.synced("app")["metadata"]["resourceVersion"]
    refused = shell.run(RELEASE)
    assert (refused.returncode, refused.stdout) == (1, "")
    [line] = refused.stderr.splitlines()
    assert line.startswith("keyturn: an operator runs and would take the Secrets back at once; stop it first: ")
    printed = line.partition("stop it first: ")[2]
    assert printed == commands(ROOT / "docs" / "uninstall.md")[0]
    assert shop.secret("app")["metadata"]["resourceVersion"] == version
    ok(shell, printed)
    assert operator.stop() == 0
    eventually(lambda: shell.run(RELEASE).returncode == 0, what="it releases once the pods are gone")
    assert not owners(shop, "app")


def test_it_releases_the_namespaces_that_are_named_and_no_other(
    shell: Shell, start: Callable[[], Operator], open_shop: Callable[[], Shop]
) -> None:
    operator, one, two, three = start(), open_shop(), open_shop(), open_shop()
    for shop in (one, two, three):
        shop.synced("app")
    stop(shell, operator)
    assert ok(shell, f"keyturn release -n {one.namespace} --namespace {two.namespace}").splitlines() == [
        f"released Secret/{one.namespace}/app",
        f"released Secret/{two.namespace}/app",
        f"released 2 Secrets; ManagedSecrets of {one.namespace}, {two.namespace} can be deleted now, and the Secrets stay",
    ]
    assert [len(owners(shop, "app")) for shop in (one, two, three)] == [0, 0, 1]


def test_a_secret_whose_label_was_taken_off_is_found_by_the_status_of_its_managed_secret(
    shell: Shell, start: Callable[[], Operator], open_shop: Callable[[], Shop]
) -> None:
    operator, shop = start(), open_shop()
    shop.synced("app", target={"name": "app-secret"})
    stop(shell, operator)
    shop.edit("app-secret", metadata={"labels": {"keyturn.dev/managed": None}})
    assert f"released Secret/{shop.namespace}/app-secret\n" in ok(shell, RELEASE)
    assert not owners(shop, "app-secret")


def test_other_owners_and_other_secrets_are_left_as_they_are(
    cluster: ControlPlane, shell: Shell, start: Callable[[], Operator], open_shop: Callable[[], Shop]
) -> None:
    operator, shop = start(), open_shop()
    [ours] = shop.synced("app")["metadata"]["ownerReferences"]
    stop(shell, operator)
    made = json.loads(cluster.kubectl("create", "configmap", "owner", f"--namespace={shop.namespace}", "--output=json").stdout)
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": made["metadata"]["uid"],
        "controller": True,
    }
    cluster.kubectl("create", "secret", "generic", "foreign", f"--namespace={shop.namespace}", "--from-literal=key=kt-canary-foreign")
    own(shop, "app", ours, theirs)
    own(shop, "foreign", theirs)
    foreign = shop.secret("foreign")
    ok(shell, RELEASE)
    assert owners(shop, "app") == [theirs]
    assert shop.secret("foreign") == foreign
    version = shop.secret("app")["metadata"]["resourceVersion"]
    assert ok(shell, RELEASE).startswith("released 0 Secrets")
    assert shop.secret("app")["metadata"]["resourceVersion"] == version


@pytest.mark.parametrize("wrong", ["", "-A -n shop", "-n ''", "-A shop", "--all"])
def test_a_call_that_does_not_say_where_is_refused(tmp_path: Path, wrong: str) -> None:
    ended = Shell(tmp_path).run(f"keyturn release {wrong}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("Usage: keyturn release")


def test_an_api_server_that_does_not_answer_is_one_clear_line(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(kubeconfig_text({"server": f"https://{LOOPBACK}:{free_ports(1)[0]}"}, {"token": "any"}))
    ended = Shell(tmp_path, settings={"KUBECONFIG": str(kubeconfig)}).run("keyturn release -A")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "keyturn: list deployments: no answer from the API server (ClientConnectorError)\n"


def test_without_the_saved_key_nothing_changes_until_the_new_one_is_confirmed(
    api: Api, shell: Shell, start: Callable[[], Operator], open_shop: Callable[[], Shop]
) -> None:
    """With a handful of Secrets it does not ask: equal data keep their revision either way."""
    operator, shop = start(), open_shop()
    names = [f"app-{n}" for n in range(MANY)]
    for name in names:
        shop.order(name)
    for name in names:
        shop.wait(name)
    before = [lasting(shop.secret(name)) for name in names]
    stop(shell, operator)
    ok(shell, RELEASE)
    api.delete("Secret", "keyturn-system", "keyturn-fingerprint-key")
    operator.start(wait=False)
    eventually(lambda: "FingerprintKeyChanged" in operator.readiness(), what=operator.readiness)
    assert "--accept-new-fingerprint-key" in operator.readiness()
    assert not any(owners(shop, name) for name in names)
    operator.restart("--accept-new-fingerprint-key")
    eventually(lambda: all(owners(shop, name) for name in names), what="all are taken back")
    assert [lasting(shop.secret(name)) for name in names] == before
    stop(shell, operator)
