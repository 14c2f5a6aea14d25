"""Why a server gave no answer is told where a tenant learns nothing by it, in the same words each time, and without a library's."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable

import pytest
from azure.keyvault.secrets._shared import HttpChallengeCache
from azure.keyvault.secrets.aio import SecretClient

from contract.answers import get
from contract.azures import Rig, rigged
from contract.files import all_that_hangs_on
from contract.kept import Kept
from contract.servers import Http, Rough, deaf
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.aws import AwsConfig, KeysLogin
from keyturn.model.errors import Unavailable
from keyturn.model.ids import Kind
from keyturn.model.order import ProviderOrder
from keyturn.providers.dial import NO_ANSWER, Line
from keyturn.providers.registry import Surroundings, build
from keyturn.providers.silence import cause_of, host_of, silent

TRUST = "its certificate is of no authority that is trusted here; name that authority's file in SSL_CERT_FILE"
PROXY = "the proxy that HTTPS_PROXY names"
PASSWORD = "kt-canary-proxy"  # none
VAULT = "shop.vault.azure.net"
PROXIES = {
    "http://127.0.0.1:1": f"{PROXY} does not answer; correct it",
    f"http://keyturn:{PASSWORD}@127.0.0.1:1": f"{PROXY} does not answer; correct it",
    "http://nobody.invalid:3128": "the name of the proxy in HTTPS_PROXY is not known; correct it",
    "127.0.0.1:1": "HTTPS_PROXY is no http://HOST:PORT, and no other kind of proxy is used; correct it",
    f"socks5://keyturn:{PASSWORD}@127.0.0.1:1": "HTTPS_PROXY is no http://HOST:PORT, and no other kind of proxy is used; correct it",
    "https://127.0.0.1:1": "HTTPS_PROXY is no http://HOST:PORT, and no other kind of proxy is used; correct it",
}
VARIABLES = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "SSL_CERT_FILE")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


async def told(line: Line) -> str:
    """The message of a failure, which is the same the second time."""
    found: set[str] = set()
    for _ in range(2):
        with pytest.raises(Unavailable) as failure:
            await line.send("GET", "/", headers={})
        assert PASSWORD not in all_that_hangs_on(failure.value)
        found.add(str(failure.value))
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_proxy_that_cannot_be_used_is_told_by_its_variable(
    proxy: str, opened: Callable[..., Line], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HTTPS_PROXY", proxy)
    line = opened("https://secretsmanager.eu-west-9.amazonaws.invalid", None)
    assert await told(line) == f"the server secretsmanager.eu-west-9.amazonaws.invalid gave no answer: {PROXIES[proxy]}"


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("407 No", f"{PROXY} wants a user and a password, or others; correct them"),
        ("403 No", f"{PROXY} does not let us there; have it do so"),
        ("502 No", f"{PROXY} does not get there"),
    ],
)
async def test_a_proxy_that_refuses_is_told_by_what_it_wants(
    status: str, says: str, loop: asyncio.AbstractEventLoop, opened: Callable[..., Line], environment: pytest.MonkeyPatch
) -> None:
    with Rough(loop, f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as proxy:
        environment.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert await told(opened("https://vault.invalid:8200", None)) == f"the server vault.invalid:8200 gave no answer: {says}"


async def test_a_name_a_port_and_a_protocol_that_are_not_there_are_told_apart(
    loop: asyncio.AbstractEventLoop, http: Http, opened: Callable[..., Line], environment: pytest.MonkeyPatch
) -> None:
    assert await told(opened("https://nobody.invalid", None)) == (
        "the server nobody.invalid gave no answer: its name is not known; is it spelled right?"
    )
    assert (await told(opened("https://127.0.0.1:1", None))).endswith(": nobody listens there")
    assert (await told(opened(f"https://127.0.0.1:{http.port}", None))).endswith(": what listens there speaks no TLS that is taken here")
    with Rough(loop, b"") as cut:
        assert (await told(opened(f"http://127.0.0.1:{cut.port}", None))).endswith(": the connection was cut")
    with deaf() as filtered:
        says = "nothing came back in time; let it through the firewall, or name the proxy in HTTP_PROXY"
        assert (await told(opened(filtered, None))).endswith(says)


async def test_of_a_tenants_server_nothing_is_told_whatever_the_proxy_is(
    opened: Callable[..., Line], environment: pytest.MonkeyPatch
) -> None:
    lines = []
    for proxy in PROXIES:
        environment.setenv("HTTPS_PROXY", proxy)
        lines.append(opened("https://nobody.invalid").send("GET", "/", headers={}))
    assert {str(failure) for failure in await asyncio.gather(*lines, return_exceptions=True)} == {NO_ANSWER}


async def test_an_authoritys_file_that_cannot_be_read_is_told(
    loop: asyncio.AbstractEventLoop, serving: ssl.SSLContext, opened: Callable[..., Line], environment: pytest.MonkeyPatch
) -> None:
    with Http(loop, tls=serving) as server:
        line = opened(server.url, None, ssl.create_default_context())
        assert (await told(line)).endswith(f": {TRUST}")
        environment.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
        assert (await told(line)).endswith("trusted here; the file that SSL_CERT_FILE names cannot be read")


async def test_aws_under_its_own_name_is_told_of_to_a_tenant_too(environment: pytest.MonkeyPatch) -> None:
    """No tenant chooses where a region's address leads."""
    environment.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    kept = Kept()
    login = KeysLogin(kept.keep("id", "AKIAKTCANARY"), kept.keep("key", "kt-canary-key"))
    around = Surroundings(Reach(), AddressRules(), kept)
    provider = build(ProviderOrder(AwsConfig("eu-west-1", login)), kind=Kind.SECRET_PROVIDER, around=around, namespace="shop")
    try:
        error = await get(provider, "db")
        assert str(error) == f"the server secretsmanager.eu-west-1.amazonaws.com gave no answer: {PROXY} does not answer; correct it"
    finally:
        await provider.close()


# -- Azure, where a tenant chooses a name under the cloud's -------------------------------------------------------------------------


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    with rigged() as made:
        made.seed("db", "kt-canary-db")
        yield made
        await made.close()


async def asked(rig: Rig, rules: AddressRules | None, vault: str = "") -> str:
    """What a vault's silence is told as, to a tenant where there are rules."""

    async def call(client: SecretClient) -> object:
        return await client.get_secret("db")

    HttpChallengeCache.clear()  # of the whole process: whoever is in it is logged in for before it is asked
    session = rig.session(vault=vault, rules=rules)
    try:
        with pytest.raises(Unavailable) as failure:
            await session.ask(call, "the key db")
        assert "kt-canary" not in all_that_hangs_on(failure.value)
        return str(failure.value)
    finally:
        await session.close()


@pytest.mark.parametrize("rules", [None, AddressRules()], ids=["admin", "tenant"])
async def test_what_everybody_may_know_of_a_vault_is_told_to_tenants_too(
    rig: Rig, rules: AddressRules | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy, says in PROXIES.items():
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        assert await asked(rig, rules) == f"the server {VAULT} gave no answer: {says}"
    monkeypatch.setenv("NO_PROXY", "*")
    unknown = f"nobody-{'x' * 20}.vault.azure.net"
    monkeypatch.setattr(socket, "getaddrinfo", _nobody)
    assert await asked(rig, rules, unknown) == f"the server {unknown} gave no answer: its name is not known; is it spelled right?"


async def test_what_would_tell_of_a_private_network_is_told_to_admins_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = "nobody.vault.azure.net"
    told = f"the server {nobody} gave no answer: {PROXY} does not get there"
    assert await asked(rig, None, nobody) == told
    assert await asked(rig, AddressRules(), nobody) == NO_ANSWER
    monkeypatch.setenv("NO_PROXY", "*")
    for address in ("127.0.0.1", "127.0.0.2"):
        monkeypatch.setattr(socket, "getaddrinfo", _at(address))
        assert await asked(rig, None) == f"the server {VAULT} gave no answer: nobody listens there"
        assert await asked(rig, AddressRules()) == NO_ANSWER
        assert await asked(rig, AddressRules(("127.0.0.0/8",))) == NO_ANSWER


@pytest.mark.parametrize("rules", [None, AddressRules()], ids=["admin", "tenant"])
async def test_a_token_service_that_is_silent_is_named(rig: Rig, rules: AddressRules | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vault is asked first, for what it wants: so the log-in is asked for by itself."""
    session = rig.session(rules=rules)
    try:
        await session._connected()
        rig.cloud.leave()
        with pytest.raises(Unavailable) as failure:
            await session._log_in()
        assert str(failure.value) == f"the server login.microsoftonline.com gave no answer: {PROXY} does not answer; correct it"
    finally:
        await session.close()


def _nobody(*_: object, **__: object) -> object:
    raise socket.gaierror(socket.EAI_NONAME, "kt-canary")


def _at(address: str) -> Callable[..., object]:
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]


# -- words ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "host"),
    [
        ("https://vault.test:8200/v1", "vault.test:8200"),
        ("https://vault.test:443", "vault.test"),
        ("http://user:kt-canary@vault.test:80/", "vault.test"),
        ("vault.test", "vault.test"),
        ("vault.test:8443", "vault.test:8443"),
        ("https://[::1]:8200", "[::1]:8200"),
        ("https://vault.test:x", ""),
        ("https://[", ""),
        ("", ""),
    ],
)
def test_a_server_is_named_by_host_and_port_alone(server: str, host: str) -> None:
    assert host_of(server) == host
    assert silent(server, RuntimeError("kt-canary")) == (f"the server {host} gave no answer" if host else NO_ANSWER)


def test_errors_that_hang_on_each_other_in_a_circle_end() -> None:
    one, other = RuntimeError("a"), RuntimeError("b")
    one.__cause__, other.__cause__ = other, one
    assert cause_of(one, "https://vault.test") is None
