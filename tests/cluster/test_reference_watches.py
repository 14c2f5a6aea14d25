"""The watches of what provider objects refer to: shared, few, and not deaf to what happens while they are cut or refused."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from canary import Canary
from cluster.audit import REFERRED, mark
from cluster.place import LIMIT_S, Ear, Place, closed, following, seen, until
from cluster.proxy import Asked, Proxy
from controlplane.plane import ControlPlane
from keyturn.kube.client import POOL, Client
from keyturn.kube.config import load
from keyturn.kube.references import ReferenceWatches

POLL_S = 0.2


@following
async def test_two_followers_share_one_watch_and_are_both_told(place: Place, watches: ReferenceWatches, ear: Ear, canary: Canary) -> None:
    since = mark(place.plane)
    place.make(canary("token"))
    both = {place.who("one"), place.who("two")}
    for who in both:
        # Two keys of one object are one object.
        watches.follow(who, [place.ref(), place.ref(key="other")])
        await watches.read(place.ref())
    place.change(canary("token"))
    assert {await ear.hears(), await ear.hears()} == both
    # The list that comes before a watch may have told of it.
    await until(lambda: place.watches("login", since)[0], "it is watched")
    assert ear.is_quiet
    assert place.watches("login", since) == (1, 0)


@following
async def test_who_joins_late_takes_no_news_from_others(place: Place, watches: ReferenceWatches, ear: Ear, canary: Canary) -> None:
    """The late one reads the new value at once; the first one has still to hear of it."""
    place.make(canary("token"))
    watches.follow(place.who("first"), [place.ref()])
    await watches.read(place.ref())
    place.change(canary("token"))  # before the loop can hear of it
    watches.follow(place.who("late"), [place.ref()])
    await watches.read(place.ref())
    assert place.who("first") in {await ear.hears(), await ear.hears()}


@following
async def test_the_watch_ends_with_its_last_follower(place: Place, watches: ReferenceWatches, ear: Ear, canary: Canary) -> None:
    since = mark(place.plane)
    place.make(canary("token"))
    for who in ("one", "two"):
        watches.follow(place.who(who), [place.ref()])
        await watches.read(place.ref())
    watches.follow(place.who("one"), [])
    place.change(canary("token"))
    assert await ear.hears() == place.who("two")
    watches.follow(place.who("two"), [place.ref("elsewhere")])
    await until(lambda: place.watches("login", since) == (1, 1), "the watch ended")
    place.change(canary("token"))
    place.make(canary("token"), "elsewhere")
    await seen(watches, place.ref("elsewhere"), place.api.get("Secret", place.name, "elsewhere"))
    assert ear.is_quiet
    await watches.close()
    await until(lambda: place.watches("elsewhere", since) == (1, 1), "the other watch ended")


@following
async def test_beyond_the_limit_changes_are_polled_for(place: Place, watches: ReferenceWatches, ear: Ear, canary: Canary) -> None:
    since = mark(place.plane)
    watches.poll_s, watches.watch_limit = POLL_S, 1
    for name in ("watched", "polled"):
        place.make(canary("token"), name)
        watches.follow(place.who(name), [place.ref(name)])
        await watches.read(place.ref(name))
    for act in (
        lambda: place.change(canary("token"), "polled"),
        lambda: place.remove("polled"),
        lambda: place.make(canary("token"), "polled"),
    ):
        act()
        assert await ear.hears() == place.who("polled")
    place.change(canary("token"), "watched")
    assert await ear.hears() == place.who("watched")
    await until(lambda: place.watches("watched", since)[0] == 1, "one is watched")
    assert place.watches("polled", since) == (0, 0)
    # The place of one that leaves is taken.
    watches.follow(place.who("watched"), [])
    watches.follow(place.who("polled"), [place.ref("polled")])
    await until(lambda: place.watches("polled", since) == (1, 0), "the other one is watched now")
    place.change(canary("token"), "polled")
    assert await ear.hears() == place.who("polled")
    assert ear.is_quiet


@following
async def test_a_crowd_in_one_namespace_leaves_a_watch_to_another(
    place: Place, watches: ReferenceWatches, ear: Ear, canary: Canary, request: pytest.FixtureRequest
) -> None:
    since = mark(place.plane)
    other = Place(place.api, place.plane)
    place.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other.name}})
    request.addfinalizer(lambda: place.api.delete("Namespace", "", other.name))
    watches.poll_s, watches.watch_limit = POLL_S, 2
    for where, name in ((place, "first"), (place, "second"), (place, "third"), (other, "login")):
        where.make(canary("token"), name)
        watches.follow(where.who(name), [where.ref(name)])
        await watches.read(where.ref(name))
    await until(lambda: other.watches("login", since) == (1, 0), "the other namespace has a watch")
    await until(lambda: place.watches("first", since) == (1, 0), "the crowd has one still")
    # What gave its watch up is polled for from where the watch was.
    for where, name in ((place, "second"), (place, "third"), (place, "first"), (other, "login")):
        where.change(canary("token"), name)
        assert await ear.hears() == where.who(name)
    assert ear.is_quiet
    # A namespace that has its share takes none from the others.
    other.make(canary("token"), "more")
    watches.follow(other.who("more"), [other.ref("more")])
    place.change(canary("token"), "first")
    assert await ear.hears() == place.who("first")
    assert other.watches("more", since) == (0, 0)
    assert place.watches("first", since) == (1, 0)


@following
async def test_many_watches_leave_room_for_requests(place: Place, watches: ReferenceWatches, canary: Canary) -> None:
    since = mark(place.plane)
    names = [f"login-{n}" for n in range(POOL + 8)]
    watches.follow(place.who(), [place.ref(name) for name in names])
    await until(lambda: all(place.watches(name, since)[0] for name in names), "all are watched")
    place.make(value := canary("token"), names[0])
    async with asyncio.timeout(LIMIT_S):
        assert (await watches.read(place.ref(names[0]))).reveal() == value.encode()


@pytest.fixture
def proxy(own_home: ControlPlane) -> Iterator[Proxy]:
    with Proxy.run(own_home) as running:
        yield running


@pytest.fixture
async def through(proxy: Proxy, ear: Ear, tmp_path: Path) -> AsyncIterator[ReferenceWatches]:
    """References whose requests are written down, and can be refused."""
    client = Client(load(str(proxy.kubeconfig(tmp_path))))
    yield ReferenceWatches(client, ear.told.put_nowait, poll_s=POLL_S)
    await closed(client)


def is_list(asked: Asked) -> bool:
    return asked.field_selector != "" and not asked.is_watch


@pytest.mark.parametrize("change", ["is changed", "goes"])
@following
async def test_a_change_between_the_read_and_the_watch_is_not_lost(
    place: Place, proxy: Proxy, through: ReferenceWatches, ear: Ear, canary: Canary, change: str
) -> None:
    place.make(canary("token"))
    with proxy.refuse(is_list, 503, "ServiceUnavailable"):
        through.follow(place.who(), [place.ref()])
        await through.read(place.ref())
        await until(lambda: proxy.refused, "the list was refused")
        if change == "goes":
            place.remove()
        else:
            place.change(canary("token"))
        assert ear.is_quiet
    assert await ear.hears() == place.who()


@following
async def test_a_change_while_the_watch_is_cut_is_not_lost(
    place: Place, proxy: Proxy, through: ReferenceWatches, ear: Ear, canary: Canary
) -> None:
    place.make(canary("token"))
    through.follow(place.who(), [place.ref()])
    await through.read(place.ref())
    await until(lambda: any(asked.is_watch for asked in proxy.asked), "it is watched")
    with proxy.refuse(lambda asked: asked.is_watch, 503, "ServiceUnavailable"):
        proxy.cut()
        await until(lambda: proxy.refused, "the watch came again")
        place.change(canary("token"))
    assert await ear.hears() == place.who()


@following
async def test_a_watch_that_is_refused_waits_says_so_once_and_goes_on(
    place: Place, proxy: Proxy, through: ReferenceWatches, ear: Ear, canary: Canary, caplog: pytest.LogCaptureFixture
) -> None:
    place.make(canary("token"))
    with proxy.refuse(is_list, 403, "Forbidden"):
        through.follow(place.who(), [place.ref()])
        await through.read(place.ref())
        await until(lambda: len(proxy.refused) >= 3, "it tried again")
    place.change(canary("token"))
    assert await ear.hears() == place.who()
    told = [r for r in caplog.records if r.levelname == "WARNING" and "metadata.name=login" in r.getMessage()]
    assert [r.name for r in told] == ["keyturn.watch"]


@following
async def test_polling_goes_on_where_it_was_refused(
    place: Place, proxy: Proxy, through: ReferenceWatches, ear: Ear, canary: Canary, caplog: pytest.LogCaptureFixture
) -> None:
    through.watch_limit = 0
    place.make(canary("token"))
    through.follow(place.who(), [place.ref()])
    await through.read(place.ref())
    for status, reason in ((403, "Forbidden"), (503, "ServiceUnavailable")):
        with proxy.refuse(lambda _: True, status, reason):
            refused = len(proxy.refused)
            await until(lambda refused=refused: len(proxy.refused) >= refused + 3, "it tried again")  # type: ignore[misc]  # a default binds it
    place.change(canary("token"))
    assert await ear.hears() == place.who()
    assert len([r for r in caplog.records if r.name == "keyturn.references" and r.levelname == "WARNING"]) == 2


@following
async def test_data_are_asked_for_by_name_alone(place: Place, proxy: Proxy, through: ReferenceWatches, ear: Ear, canary: Canary) -> None:
    through.watch_limit = 1
    for name in ("login", "polled"):
        place.make(canary("token"), name)
        through.follow(place.who(name), [place.ref(name)])
        await through.read(place.ref(name))
    place.change(canary("token"), "polled")
    assert await ear.hears() == place.who("polled")
    await until(lambda: any(asked.is_watch for asked in proxy.asked), "one is watched")
    assert {a.secret for a in proxy.asked if not a.wants_metadata} == {(place.name, "login"), (place.name, "polled")}
    collections = [a for a in proxy.asked if a.secret == (place.name, "")]
    assert collections
    assert not any(a.is_narrow for a in collections), "no provider object refers to it yet"
    token = {"hashicorpVault": {"server": "https://vault.example", "auth": {"tokenSecretRef": {"name": "login", "key": "token"}}}}
    metadata = {"name": "vault", "namespace": place.name}
    place.api.create({"apiVersion": "keyturn.dev/v1alpha1", "kind": "SecretProvider", "metadata": metadata, "spec": {"provider": token}})
    assert ("secrets", place.name, "login") in REFERRED
    assert all(a.is_narrow for a in collections)
