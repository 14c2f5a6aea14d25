"""What the operator takes for its own addresses, and for the API server's."""

import socket

import pytest

from keyturn.kube.own_addresses import own_addresses


@pytest.fixture(autouse=True)
def _outside_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "POD_IP"):
        monkeypatch.delenv(name, raising=False)


async def test_the_api_server_is_known_by_each_of_its_names_and_the_pod_by_its_own(monkeypatch: pytest.MonkeyPatch):
    names = {"kubernetes.default.svc": "10.96.0.1", "api.test": "203.0.114.7", "the-pod": "10.1.0.9"}
    real = socket.getaddrinfo

    def ask(host: str, *more: int, **flags: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return real(names.get(host, host), *more, **flags)  # type: ignore[return-value]  # these addresses have two parts

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    monkeypatch.setattr(socket, "gethostname", lambda: "the-pod")
    assert await own_addresses("https://api.test:6443") == {"203.0.114.7", "10.1.0.9"}
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.2")
    monkeypatch.setenv("POD_IP", "fd00::9")
    assert await own_addresses("https://api.test:6443") == {"203.0.114.7", "10.1.0.9", "10.96.0.1", "10.96.0.2", "fd00::9"}


async def test_a_name_that_nobody_knows_does_not_stop_the_start(monkeypatch: pytest.MonkeyPatch):
    def ask(host: str, *_: int, **__: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        raise socket.gaierror(socket.EAI_NONAME, host)

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    assert await own_addresses("https://api.test") == frozenset()
