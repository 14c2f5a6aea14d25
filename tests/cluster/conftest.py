"""One control plane and one operator for all tests of a process; a namespace for each test."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from canary import Canary, issue
from cluster.api import Api, ApiError
from cluster.clouds import Clouds, CloudShop
from cluster.place import Ear, Place, closed
from cluster.process import Operator
from cluster.shop import Shop
from cluster.tenants import Tenants
from controlplane.installation import NAMESPACE, SERVICE_ACCOUNT, Installation
from controlplane.plane import ControlPlane
from keyturn.kube.client import Client
from keyturn.kube.config import load
from keyturn.kube.references import ReferenceWatches
from kstatus.plugin import Statuses

ENVIRONMENT = {"KEYTURN_SECRET_STRIPE": issue("env")}


@contextmanager
def installed() -> Iterator[ControlPlane]:
    """A control plane with Keyturn's kinds and rights."""
    with ControlPlane.run() as plane:
        Installation(plane).install()
        if plane.has_controllers:
            # The garbage collector looks for new kinds every 30 s only, but at its start.
            plane.stop("kube-controller-manager")
            plane.start("kube-controller-manager")
        yield plane


@pytest.fixture(scope="session")
def home() -> Iterator[ControlPlane]:
    """For one operator: not the one that all workers share, since two in one cluster would serve the same objects."""
    with installed() as plane:
        yield plane


@pytest.fixture(scope="module")
def own_home() -> Iterator[ControlPlane]:
    """For one file of tests, which may stop, kill and compact it, and starts its operators by itself."""
    with installed() as plane:
        yield plane


@pytest.fixture
def own_shop(own_home: ControlPlane, tmp_path: Path, canary: Canary, statuses: Statuses) -> Iterator[Shop]:
    """A namespace in it; its sources are beneath ``tmp_path``, and no operator runs yet."""
    with closing(Api(own_home)) as api:
        api.forget_audit_head()
        opened = Shop(api, tmp_path, canary).open()
        canary.watch_cluster(own_home, opened.namespace)
        statuses.watch(own_home, opened.namespace)
        yield opened
        with suppress(ApiError):
            opened.close()


@pytest.fixture
def collector(home: ControlPlane) -> None:
    """For tests in which garbage is collected."""
    if not home.has_controllers:
        pytest.skip("needs kube-controller-manager, which KUBEBUILDER_ASSETS has not")


@pytest.fixture(scope="session")
def api(home: ControlPlane) -> Iterator[Api]:
    with closing(Api(home)) as made:
        yield made


@pytest.fixture(scope="session")
def _operator(home: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    operator = Operator(home, tmp_path_factory.mktemp("sources"), settings=ENVIRONMENT)
    operator.start()
    yield operator
    if operator.is_running:
        assert operator.stop() == 0, operator.log(30)


@pytest.fixture
def operator(_operator: Operator) -> Operator:
    """The operator, running; a test may stop it."""
    if not _operator.is_running:
        _operator.start()
    return _operator


@pytest.fixture
def shop(home: ControlPlane, api: Api, operator: Operator, canary: Canary, statuses: Statuses) -> Iterator[Shop]:
    """A namespace with a file provider. All that the operator says is looked through for values, and each status is checked."""
    opened = Shop(api, operator.sources, canary).open()
    canary.watch_operator(operator.log_file, operator.health_url, environ=False)
    canary.watch_cluster(home, opened.namespace)
    statuses.watch(home, opened.namespace)
    yield opened
    with suppress(ApiError):
        opened.close()


@pytest.fixture
def place(own_home: ControlPlane) -> Iterator[Place]:
    with closing(Api(own_home)) as api:
        made = Place(api, own_home)
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.name}})
        yield made
        api.delete("Namespace", "", made.name)


@pytest.fixture
async def client(own_home: ControlPlane) -> AsyncIterator[Client]:
    """As the operator's ServiceAccount, with the rights of deploy/ and no others."""
    made = Client(load(str(own_home.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT))))
    yield made
    await closed(made)


@pytest.fixture
def tenants(own_home: ControlPlane, own_shop: Shop) -> Iterator[Tenants]:
    made = Tenants(own_shop.api, own_home, own_shop).open()
    yield made
    with suppress(ApiError):
        made.close()


@pytest.fixture
def granted(tenants: Tenants) -> Tenants:
    """With deploy/tenant-identity in force for the shop."""
    tenants.grant(tenants.shop.namespace)
    return tenants


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def watches(client: Client, ear: Ear) -> ReferenceWatches:
    return ReferenceWatches(client, ear.told.put_nowait)


@pytest.fixture
def clouds() -> Iterator[Clouds]:
    with Clouds() as made:
        yield made


@pytest.fixture
def cloud_operator(own_home: ControlPlane, clouds: Clouds, tmp_path: Path, canary: Canary) -> Iterator[Operator]:
    """One that is led to the clouds."""
    with Operator(own_home, tmp_path, settings=clouds.settings(tmp_path)) as running:
        canary.watch_operator(running.log_file, running.health_url, environ=False)
        yield running


@pytest.fixture
def cloud_shop(clouds: Clouds, own_shop: Shop) -> CloudShop:
    return CloudShop(clouds, own_shop)
