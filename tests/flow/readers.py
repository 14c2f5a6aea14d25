"""A ClusterSecretProvider that logs in for each namespace that reads, and what there is to read for whom."""

from dataclasses import replace

from builders import entry, managed, msec, order, sprov
from keyturn.handlers.news import News
from keyturn.model.ids import READER, Carrier, KeyRef, Kind, ObjectRef
from keyturn.model.objects import ProviderObject
from keyturn.model.order import Order, ProviderOrder, ProviderRef
from keyturn.model.status import ProviderStatus
from keyturn.model.vault import TokenLogin, VaultConfig
from keyturn.testing.sources import FakeSource
from keyturn.testing.world import Stage

VAULT = ObjectRef(Kind.CLUSTER_SECRET_PROVIDER, "", "vault")
SHOP, BANK = replace(VAULT, namespace="shop"), replace(VAULT, namespace="bank")
INTERVAL_S = 15.0


def token(namespace: str) -> KeyRef:
    return KeyRef(Carrier.SECRET, namespace, "vault-token", "token")


def per_reader(namespace: str = READER, **more: object) -> ProviderObject:
    """The provider, whose token is in each reader's own namespace."""
    made = ProviderOrder(VaultConfig("https://vault.test", TokenLogin(token(namespace))), **more)  # type: ignore[arg-type]  # as its fields
    return ProviderObject(VAULT, "uid-of-vault", 1, "1", False, made, ProviderStatus())


def wanting(*keys: str, target: str = "app-db", interval_s: float = INTERVAL_S) -> Order:
    named = ProviderRef(Kind.CLUSTER_SECRET_PROVIDER, "vault")
    return order(*(entry(key, provider=named) for key in keys or ("password",)), target=target, interval_s=interval_s)


def of(stage: Stage, namespace: str) -> FakeSource:
    """What can be read by the token in this namespace."""
    return stage.source(str(token(namespace)))


def given(stage: Stage, **more: object) -> None:
    """The provider, and no other."""
    stage.cluster.remove(sprov())
    stage.cluster.put(per_reader(**more))


async def working(stage: Stage, *namespaces: str, **more: object) -> None:
    """An object in each, of values that tell whose token read them."""
    given(stage, **more)
    for namespace in namespaces:
        of(stage, namespace).values |= {"password": f"kt-canary-{namespace}", "user": f"kt-canary-user-{namespace}"}
        stage.cluster.put(managed(what=wanting(), namespace=namespace))
    stage.start(workers=2)
    await stage.quiet()


def changed(stage: Stage, ref: KeyRef) -> None:
    """The news of a changed Secret, to each on whose behalf it is followed."""
    for who, refs in list(stage.providers.followed.items()):
        if ref in refs:
            News(stage.cluster, stage.world).reference_changed(who)  # type: ignore[arg-type]  # it asks the cache for nothing here


def reason(stage: Stage, namespace: str, name: str = "app-db") -> str:
    return stage.reason(msec(name, namespace))


def shelves(stage: Stage) -> set[ObjectRef]:
    return set(stage.world.refresher._shelves)


def open_for(stage: Stage) -> list[str]:
    return sorted(each.name for each in stage.providers.opened if not each.is_closed)
