"""Fixtures of the provider tests."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest
import trustme

from bao import Bao
from contract.files import OUTSIDE
from contract.servers import Http, elsewhere
from contract.table import WRITES, Scribe
from contract.tenants import kept, migrated, opening  # noqa: F401  # fixtures
from contract.vault_writers import WRITES as VAULT_WRITES
from contract.vault_writers import opened as opened_to_write
from contract.vaults import Rig
from keyturn.decide.address import AddressRules
from keyturn.providers import beneath, file_sources
from keyturn.providers.dial import Dialer, Line
from keyturn.providers.vault_writer import VaultWriter

LOOPBACK_ALONE = AddressRules(allowed=("127.0.0.0/8",))

Found = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]]


def pytest_configure(config: pytest.Config) -> None:
    if WRITES and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Scribe(), "contract-scribe")


@pytest.fixture(params=[beneath.open_by_kernel, beneath.open_by_walk], ids=["kernel", "walk"])
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> beneath.Opener:
    """Both ways of opening files, one after the other."""
    monkeypatch.setattr(file_sources, "opener", lambda: request.param)
    return request.param  # type: ignore[no-any-return]  # pytest does not know


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The provider's folder ``root/shop``, with a secret beside it, above it, and in a neighbour's folder."""
    shop = tmp_path / "root" / "shop"
    shop.mkdir(parents=True)
    (tmp_path / "root" / "neighbour").mkdir()
    for place in (tmp_path, tmp_path / "root", tmp_path / "root" / "neighbour"):
        (place / "secret").write_bytes(OUTSIDE)
    (shop / "inside").write_bytes(b"kt-canary-inside")
    return shop


@pytest.fixture
async def rig(bao: Bao) -> AsyncIterator[Rig]:
    """An engine of version 2 in the real server, and a policy that reads it; providers that are opened by it are closed."""
    made = Rig(bao)
    yield made
    await made.close()


@pytest.fixture
async def writing(rig: Rig) -> VaultWriter:
    """A writer to that engine."""
    rig.bao.policy(rig.policy, {f"{rig.mount}/*": VAULT_WRITES})
    return opened_to_write(rig)


@pytest.fixture
async def old_rig(bao: Bao) -> AsyncIterator[Rig]:
    """The same with an engine of version 1."""
    made = Rig(bao, engine=1)
    yield made
    await made.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def serving(authority: trustme.CA) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "vault.test").configure_cert(tls)
    return tls


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    return tls


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Where the servers live."""
    with elsewhere() as found:
        yield found


@pytest.fixture
def http(loop: asyncio.AbstractEventLoop) -> Iterator[Http]:
    with Http(loop) as server:
        yield server


@pytest.fixture
async def opened(trusting: ssl.SSLContext) -> AsyncIterator[Callable[..., Line]]:
    """Opens lines, which are closed in the end."""
    lines: list[Line] = []

    def line(server: str, rules: AddressRules | None = LOOPBACK_ALONE, tls: ssl.SSLContext = trusting, tenant: str = "shop") -> Line:
        lines.append(Dialer(rules, tenant).open(server, tls))
        return lines[-1]

    yield line
    for made in lines:
        await made.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[Sequence[str]]]]:
    """What each name stands for, look-up after look-up; the last holds on. None at all: the name server is silent.

    The one place where no wire can be used: the system's resolver asks whom /etc/resolv.conf names, for all of the machine.
    """
    answers: dict[str, list[Sequence[str]]] = {}
    silence, real = threading.Event(), socket.getaddrinfo

    def ask(host: str, port: int | None, *more: int, **flags: int) -> Found:
        if host not in answers:
            return real(host, port, *more, **flags)  # type: ignore[return-value]  # loopback has addresses of two parts here
        if not answers[host]:
            silence.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "kt-canary-library-text")
        told = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in told]

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    yield answers
    silence.set()
