"""One tenant's log-ins at Google, however slow, leave threads to all others'; and the machine is asked once for all."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from contract.answers import get, read
from contract.googles import AUDIENCE, ISSUER, LOOPBACK, Rig, rigged, signer
from contract.sources import until
from keyturn.model.errors import AuthFailed
from keyturn.model.google import ClusterLogin, GoogleLogin
from keyturn.model.tenant import ServiceAccount
from keyturn.providers.google_machine import FAILED_S, KEPT_S
from keyturn.testing.google_tokens import Pool

EVIL = ServiceAccount("evil", "app")
PROJECT, LOCATION, CLUSTER = "kt-project", "kt-location", "kt-cluster"
ABOUT = {"project/project-id": PROJECT, "instance/attributes/cluster-location": LOCATION, "instance/attributes/cluster-name": CLUSTER}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rigged() as made:
        made.seed("db", b"kt-canary-db")
        made.services.pools[AUDIENCE] = Pool(ISSUER, signer("cluster").keys)
        yield made


class Silent:
    """A server that takes connections and answers none."""

    def __init__(self, listening: socket.socket) -> None:
        self.url = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
        self.held: list[socket.socket] = []
        self._listening = listening
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        try:
            while True:
                self.held.append(self._listening.accept()[0])
        except OSError:
            return


@contextmanager
def silent() -> Iterator[Silent]:
    with socket.create_server((LOOPBACK, 0), backlog=100) as listening:
        made = Silent(listening)
        try:
            yield made
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for each in made.held:
                each.close()


@asynccontextmanager
async def asking(rig: Rig, login: GoogleLogin, **places: str) -> AsyncIterator[None]:
    """Many of another tenant's providers ask meanwhile, for which Google is elsewhere."""
    true, rig.places = rig.places, replace(rig.places, **places)
    providers = [rig.open(login, namespace="evil") for _ in range(12)]
    rig.places = true
    tasks = [asyncio.create_task(get(each)) for each in providers]
    yield
    await asyncio.gather(*(each.close() for each in providers))
    await asyncio.gather(*tasks)


async def test_a_tenant_whose_log_ins_get_no_answer_takes_nobody_elses_threads(rig: Rig) -> None:
    with silent() as sts:
        async with asking(rig, rig.federated("app", "evil"), exchange=f"{sts.url}/v1/token"):
            await until(lambda: bool(sts.held))
            async with asyncio.timeout(5):  # one such log-in takes 10 s
                assert await read(rig.open()) == b"kt-canary-db"
            assert len(sts.held) <= 3


async def test_a_machine_that_gets_no_word_out_is_asked_by_one_and_keeps_nobody_elses_threads(rig: Rig) -> None:
    with silent() as machine:
        async with asking(rig, ClusterLogin(EVIL), metadata=machine.url):
            await until(lambda: bool(machine.held))
            async with asyncio.timeout(5):
                assert await read(rig.open()) == b"kt-canary-db"
            assert len(machine.held) == 1


def asked(rig: Rig) -> int:
    return sum(path.startswith("/computeMetadata") for path, _ in rig.services.asked)


async def test_what_the_machine_says_is_asked_once_in_a_minute_for_all(rig: Rig) -> None:
    rig.services.about = ABOUT
    for _ in range(2):
        await asyncio.gather(*(get(rig.open(ClusterLogin(ServiceAccount(name, "app")), namespace=name)) for name in ("a", "b", "c")))
    assert asked(rig) == len(ABOUT)
    rig.now_s += KEPT_S
    await get(rig.open(ClusterLogin(EVIL), namespace="evil"))
    assert asked(rig) == 2 * len(ABOUT)


async def test_a_machine_that_knows_nothing_is_not_asked_at_once_again_and_each_is_told(rig: Rig) -> None:
    found = [await get(rig.open(ClusterLogin(EVIL), namespace="evil")) for _ in range(3)]
    assert asked(rig) == 1
    assert len({id(each) for each in found}) == len(found)
    assert {(type(each), str(each)) for each in found} == {(AuthFailed, str(found[0]))}
    rig.services.about = ABOUT
    rig.now_s += FAILED_S
    await get(rig.open(ClusterLogin(EVIL), namespace="evil"))
    assert asked(rig) == 1 + len(ABOUT)


async def test_a_tenant_is_not_told_what_the_machine_says_of_the_operators_cluster(rig: Rig) -> None:
    rig.services.about = ABOUT
    for login in (ClusterLogin(EVIL), ClusterLogin(EVIL, "mine"), ClusterLogin(EVIL, cluster="mine")):
        found = await get(rig.open(login, namespace="evil"))
        assert isinstance(found, AuthFailed)
        assert "the token of ServiceAccount/evil/app in the cluster that the operator runs in" in str(found)
        assert not any(word in str(found) for word in ABOUT.values())


@pytest.mark.parametrize("life", ["1e20", "1e400", "-1e20", "NaN"])
async def test_a_token_of_a_life_that_is_none_is_none(rig: Rig, life: str) -> None:
    text = json.dumps({"access_token": "kt-canary-token", "token_type": "Bearer"})[:-1] + f', "expires_in": {life}}}'
    rig.services.trouble = lambda: web.Response(text=text, content_type="application/json")
    for login in (None, rig.federated()):
        found = await get(rig.open(login))
        assert isinstance(found, AuthFailed), found
        assert "came to nothing" in str(found)
