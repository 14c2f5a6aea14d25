"""What provider objects refer to, on a real API server: read by name, and each change told of."""

import time
from contextlib import suppress
from dataclasses import replace

import pytest

from canary import Canary
from cluster.audit import mark, requests
from cluster.place import Ear, Place, following, seen, until
from cluster.shop import encoded
from cluster.waiting import Stopwatch
from controlplane.installation import NAMESPACE, SERVICE_ACCOUNT
from controlplane.plane import ControlPlane
from controlplane.servers import LOOPBACK, free_ports
from keyturn.kube.client import Client
from keyturn.kube.config import load
from keyturn.kube.references import ReferenceWatches
from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.model.ids import Carrier

PEM = "-----BEGIN CERTIFICATE-----\n"


async def test_a_key_of_a_secret_is_read(place: Place, watches: ReferenceWatches, canary: Canary) -> None:
    value = canary("token")
    place.make(value)
    assert (await watches.read(place.ref())).reveal() == value.encode()


async def test_a_key_of_a_config_map_is_read_as_text_and_as_bytes(place: Place, watches: ReferenceWatches) -> None:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca", "namespace": place.name}}
    place.api.create(made | {"data": {"ca.crt": PEM}, "binaryData": encoded(raw=PEM)})
    for key in ("ca.crt", "raw"):
        assert (await watches.read(place.ref("ca", key, Carrier.CONFIG_MAP))).reveal() == PEM.encode()


async def test_an_empty_value_is_a_value(place: Place, watches: ReferenceWatches) -> None:
    metadata = {"name": "login", "namespace": place.name}
    place.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"token": None}})
    place.make("", "ca", "ConfigMap")
    assert (await watches.read(place.ref())).reveal() == b""
    assert (await watches.read(place.ref("ca", carrier=Carrier.CONFIG_MAP))).reveal() == b""


@pytest.mark.parametrize("carrier", [Carrier.SECRET, Carrier.CONFIG_MAP])
async def test_what_is_missing_is_named_with_its_remedy(place: Place, watches: ReferenceWatches, carrier: Carrier, canary: Canary) -> None:
    with pytest.raises(AuthFailed, match=f"{carrier}/{place.name}/login is not there.*'token'; create it"):
        await watches.read(place.ref(carrier=carrier))
    place.make(canary("token") if carrier is Carrier.SECRET else PEM, kind=carrier)
    with pytest.raises(AuthFailed, match=f"{carrier}/{place.name}/login has no key 'other'.*add it"):
        await watches.read(place.ref(key="other", carrier=carrier))


@pytest.mark.parametrize("carrier", [Carrier.SECRET, Carrier.CONFIG_MAP])
async def test_a_right_that_is_missing_is_named(place: Place, own_home: ControlPlane, carrier: Carrier) -> None:
    await until(lambda: not own_home.kubectl("get", "serviceaccount", "default", f"--namespace={place.name}", check=False).returncode, "SA")
    stranger = Client(load(str(own_home.kubeconfig_for(place.name, "default"))))
    with pytest.raises(AuthFailed, match=f"the right to get {carrier.plural} in the namespace {place.name}"):
        await ReferenceWatches(stranger).read(place.ref(carrier=carrier))
    await stranger.close()


async def test_no_answer_is_no_failed_log_in(place: Place, own_home: ControlPlane) -> None:
    config = load(str(own_home.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT)))
    nobody = Client(replace(config, server=f"https://{LOOPBACK}:{free_ports(1)[0]}"))
    with pytest.raises(Unavailable, match="no answer from the API server"):
        await ReferenceWatches(nobody).read(place.ref())
    await nobody.close()


@pytest.mark.parametrize("carrier", [Carrier.SECRET, Carrier.CONFIG_MAP])
@following
async def test_each_change_is_told_within_five_seconds(place: Place, watches: ReferenceWatches, ear: Ear, carrier: Carrier) -> None:
    ref, kind = place.ref(carrier=carrier), carrier.value
    watch = Stopwatch("a change of what a provider refers to is told", 5)
    place.make(PEM, kind=kind)
    watches.follow(place.who(), [ref])
    await watches.read(ref)
    for act in (
        lambda: place.change(f"{PEM}1", kind=kind),
        lambda: place.change(f"{PEM}2", kind=kind),
        lambda: place.remove(kind=kind),
        lambda: place.make(f"{PEM}3", kind=kind),
        lambda: place.change(f"{PEM}4", kind=kind),
    ):
        began = time.monotonic()
        act()
        assert await ear.hears() == place.who()
        watch.seen.append(time.monotonic() - began)
        with suppress(AuthFailed):  # of the one that was removed
            await watches.read(ref)
    assert max(watch.seen) < watch.limit_s
    watch.tell()
    assert (await watches.read(ref)).reveal() == f"{PEM}4".encode()
    assert ear.is_quiet


@following
async def test_what_was_missing_when_it_was_read_is_told_when_it_comes(
    place: Place, watches: ReferenceWatches, ear: Ear, canary: Canary
) -> None:
    watches.follow(place.who(), [place.ref()])
    with pytest.raises(AuthFailed):
        await watches.read(place.ref())
    await seen(watches, place.ref(), None)
    assert ear.is_quiet
    place.make(canary("token"))
    assert await ear.hears() == place.who()


@following
async def test_what_nobody_read_yet_is_no_news(place: Place, watches: ReferenceWatches, ear: Ear, canary: Canary) -> None:
    place.make(canary("token"))
    watches.follow(place.who(), [place.ref()])
    await seen(watches, place.ref(), place.change(canary("token")))
    assert ear.is_quiet
    assert (await watches.read(place.ref())).reveal()
    assert ear.is_quiet
    place.change(canary("token"))
    assert await ear.hears() == place.who()


@following
async def test_a_label_is_told_once_and_no_loop_comes_of_it(place: Place, watches: ReferenceWatches, ear: Ear, canary: Canary) -> None:
    place.make(canary("token"))
    watches.follow(place.who(), [place.ref()])
    await watches.read(place.ref())
    for n in range(5):
        place.label(str(n))
        assert await ear.hears() == place.who()
        watches.follow(place.who(), [place.ref()])  # as the provider does that is opened anew
        await watches.read(place.ref())
    since = mark(place.plane)
    await seen(watches, place.ref(), place.api.get("Secret", place.name, "login"))
    assert ear.is_quiet
    assert requests(place.plane, since=since) == []
