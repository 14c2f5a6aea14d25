"""The way to Google in a company: by a proxy and its own authority, for every log-in and for Secret Manager's gRPC, under real names."""

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from contract.answers import get, read
from contract.files import all_that_hangs_on
from contract.googles import ACCOUNT, AUDIENCE, HOSTS, ISSUER, READER, REGIONAL, SECRETS, Rig, rigged, signer
from contract.proxies import Proxy
from keyturn.app import assemble
from keyturn.decide.default_clouds import google_places
from keyturn.kube.config import ClusterConfig
from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.model.google import AmbientLogin, GoogleConfig
from keyturn.model.ids import Kind, ObjectRef
from keyturn.model.material import SourceRef, Value
from keyturn.model.order import ProviderOrder
from keyturn.model.tenant import ServiceAccount
from keyturn.providers.google_login import ANNOTATION
from keyturn.settings import Settings
from keyturn.testing.google_tokens import OWN_TOKEN, Pool

VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "grpc_proxy", "no_grpc_proxy", "ALL_PROXY")
OWN = "machine@shop.iam.gserviceaccount.com"

Opens = Callable[[Proxy], Coroutine[Any, Any, Proxy]]


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Google under its real names, which lead nowhere but by a proxy: what an operator comes to by its environment alone."""
    async with rigged() as made:
        made.seed("db", b"kt-canary-db")
        for name in (*VARIABLES, "SSL_CERT_FILE", "GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(made.folder / "ca.pem"))
        monkeypatch.setenv("GCE_METADATA_HOST", made.places.metadata.removeprefix("http://"))
        made.places = google_places(os.environ)
        yield made


@pytest.fixture
async def through(rig: Rig) -> AsyncIterator[Opens]:
    """Has a proxy listen, where the servers are."""
    stack = AsyncExitStack()

    async def opens(proxy: Proxy) -> Proxy:
        await rig.there(_entered(stack, proxy))
        return proxy

    yield opens
    await rig.there(stack.aclose())


async def _entered(stack: AsyncExitStack, proxy: Proxy) -> None:
    await stack.enter_async_context(proxy.open())


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
async def test_log_in_and_secrets_go_by_the_proxy_in_either_spelling(
    rig: Rig, through: Opens, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await through(Proxy(rig.ports))
    monkeypatch.setenv(variable, proxy.url)
    assert await read(rig.open(), "db") == b"kt-canary-db"
    assert proxy.asked == ["oauth2.googleapis.com:443", f"{SECRETS}:443"]


async def test_every_other_log_in_and_a_regions_endpoint_go_by_the_proxy_too(
    rig: Rig, through: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await through(Proxy(rig.ports))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    rig.services.pools[AUDIENCE] = Pool(ISSUER, signer("cluster").keys)
    rig.notes[ServiceAccount("shop", "app")] = {ANNOTATION: ACCOUNT}
    rig.services.stand_ins[ACCOUNT] = {f"principal:{AUDIENCE}/subject/system:serviceaccount:shop:app"}
    rig.regional.grant(ACCOUNT, "admin")
    rig.regional.held.create("db", {}, {})
    rig.regional.held.add("db", b"kt-canary-west")
    assert await read(rig.open(rig.federated(), location="europe-west3"), "db") == b"kt-canary-west"
    assert proxy.hosts == {"sts.googleapis.com", "iamcredentials.googleapis.com", REGIONAL}


async def test_a_proxy_that_wants_a_password_gets_it_and_nobody_else_does(
    rig: Rig, through: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await through(Proxy(rig.ports, "keyturn", "kt-canary-proxy"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    assert await read(rig.open(), "db") == b"kt-canary-db"
    assert proxy.refused == 0
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("kt-canary-proxy", "kt-canary-wrong"))
    found = await get(rig.open(), "db")
    assert isinstance(found, Unavailable)
    assert "the proxy that HTTPS_PROXY names wants a user and a password, or others" in str(found)
    assert "kt-canary" not in all_that_hangs_on(found)
    assert proxy.refused > 0


async def test_the_metadata_server_is_where_the_environment_says_and_no_proxy_is_asked_for_it(
    rig: Rig, through: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await through(Proxy(rig.ports))
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, proxy.url)
    rig.services.own = OWN
    rig.cloud.grant(OWN, "accessor")
    assert await read(rig.open(AmbientLogin()), "db") == b"kt-canary-db"
    assert proxy.hosts == {SECRETS}
    assert [path for path, _ in rig.services.asked] == [OWN_TOKEN]


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("word", ["*", "googleapis.com", ".googleapis.com"])
async def test_who_is_excepted_from_the_proxy_is_not_asked_by_it(
    rig: Rig, through: Opens, variable: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await through(Proxy(rig.ports))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv(variable, word)
    # Under their real names they are nowhere: that none is reached, and the proxy not asked, is the proof.
    assert isinstance(await get(rig.open(), "db"), Unavailable)
    assert proxy.asked == []


async def test_grpc_alone_is_excepted_where_its_host_alone_is(rig: Rig, through: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = await through(Proxy(rig.ports))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", f"localhost,{SECRETS}")
    assert isinstance(await get(rig.open(), "db"), Unavailable)
    assert proxy.hosts == {"oauth2.googleapis.com"}


@pytest.mark.parametrize("scheme", ["https", "socks5"])
async def test_a_proxy_that_grpc_cannot_speak_to_is_not_gone_past(rig: Rig, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.services.own = OWN
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://keyturn:kt-canary-proxy@127.0.0.1:1")
    found = await get(rig.open(AmbientLogin()), "db")
    assert isinstance(found, Unavailable)
    assert f"Secret Manager at {SECRETS} gave no answer: HTTPS_PROXY is no http://HOST:PORT" in str(found)
    assert "kt-canary" not in all_that_hangs_on(found)
    found = await get(rig.open(), "db")  # by a key, so that the token service comes first
    assert isinstance(found, Unavailable)
    assert "oauth2.googleapis.com gave no answer: HTTPS_PROXY is no http://HOST:PORT" in str(found)
    assert "kt-canary" not in all_that_hangs_on(found)


async def test_an_authority_of_ones_own_is_the_only_one_that_is_trusted(
    rig: Rig, through: Opens, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = await through(Proxy(rig.ports))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    for place in (tmp_path / "other.pem", None):
        if place is None:
            monkeypatch.delenv("SSL_CERT_FILE")
        else:
            monkeypatch.setenv("SSL_CERT_FILE", str(place))
        rig.places = google_places(os.environ)
        found = await get(rig.open(), "db")
        assert isinstance(found, Unavailable)
        told = "its certificate is of no authority that is trusted here; name that authority's file in SSL_CERT_FILE"
        assert str(found) == f"Google's token service oauth2.googleapis.com gave no answer: {told}"
        rig.services.own = OWN
        found = await get(rig.open(AmbientLogin()), "db")
        assert isinstance(found, Unavailable)
        assert str(found) == f"Secret Manager at {SECRETS} gave no answer: {told}"
    assert {path for path, _ in rig.services.asked} == {OWN_TOKEN}


@pytest.mark.parametrize(
    ("proxy", "says"),
    [
        ("http://127.0.0.1:1", "the proxy that HTTPS_PROXY names does not answer"),
        ("127.0.0.1:1", "the proxy that HTTPS_PROXY names does not answer"),
        ("http://nobody.invalid:3128", "the name of the proxy in HTTPS_PROXY is not known"),
        ("", "its name is not known"),
    ],
)
async def test_why_google_gives_no_answer_is_told_of_both_services(
    rig: Rig, proxy: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    else:
        rig.places = replace(rig.places, secrets="secretmanager.invalid", token="https://oauth2.invalid/token")
    rig.services.own = OWN
    for login, whose in ((None, "Google's token service oauth2."), (AmbientLogin(), "Secret Manager at secretmanager.")):
        found = await get(rig.open(login), "db")
        assert isinstance(found, Unavailable)
        assert str(found).startswith(whose)
        assert f"gave no answer: {says}" in str(found)
        assert str(await get(rig.open(login), "db")) == str(found)


async def test_an_authority_that_cannot_be_read_is_told_by_its_path(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    rig.places = google_places(os.environ)
    found = await get(rig.open(), "db")
    assert isinstance(found, AuthFailed)
    assert "/nowhere/ca.pem, which holds whom to trust at Google, cannot be read" in str(found)


async def test_the_command_line_comes_by_proxy_and_authority_of_its_environment(rig: Rig, through: Opens, tmp_path: Path) -> None:
    proxy = await through(Proxy(rig.ports))
    key = rig.services.key_of(READER, signer(READER), "https://oauth2.googleapis.com/token")
    (tmp_path / "key.json").write_text(key)
    environment = {name: word for name, word in os.environ.items() if name not in VARIABLES} | {
        "SECRETS_PROVIDER": "google_secret_manager",
        "GCP_PROJECT_ID": "shop",
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json"),
        "HTTPS_PROXY": proxy.url,
        "SSL_CERT_FILE": str(rig.folder / "ca.pem"),
    }
    command = (sys.executable, "-m", "keyturn", "get", "db")
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert (out.strip(), process.returncode) == (b"kt-canary-db", 0), err
    assert proxy.hosts == {"oauth2.googleapis.com", SECRETS}


async def test_the_operator_comes_by_proxy_authority_and_metadata_server_of_its_environment(
    rig: Rig, through: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await through(Proxy(rig.ports))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    rig.services.own = OWN
    rig.cloud.grant(OWN, "accessor")
    engine = assemble(Settings(), ClusterConfig("https://127.0.0.1:1", ssl.create_default_context()), frozenset())
    order, ref = ProviderOrder(GoogleConfig("shop", AmbientLogin())), ObjectRef(Kind.CLUSTER_SECRET_PROVIDER, "", "google")
    provider = engine.world.refresher._providers.open(order, ref)
    try:
        found = (await provider.get_many([SourceRef("db")]))[SourceRef("db")]
    finally:
        await provider.close()
        await engine.lease_client.close()
        await engine.client.close()
    assert isinstance(found, Value), found
    assert proxy.hosts == {SECRETS}


async def test_a_configuration_of_an_external_account_goes_by_the_proxy(
    rig: Rig, through: Opens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await through(Proxy(rig.ports))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    rig.services.pools[AUDIENCE] = Pool(ISSUER, signer("tokens").keys)
    rig.cloud.grant(f"principal:{AUDIENCE}/subject/me", "accessor")
    (tmp_path / "token").write_text(signer("tokens").sign({"iss": ISSUER, "sub": "me", "aud": AUDIENCE}))
    jwt = "urn:ietf:params:oauth:token-type:jwt"
    source = {"file": str(tmp_path / "token")}
    told = {"type": "external_account", "audience": AUDIENCE, "subject_token_type": jwt, "credential_source": source}
    (tmp_path / "config.json").write_text(json.dumps(told))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "config.json"))
    assert await read(rig.open(AmbientLogin()), "db") == b"kt-canary-db"
    assert proxy.hosts == {"sts.googleapis.com", SECRETS}
    assert proxy.hosts < set(HOSTS)
