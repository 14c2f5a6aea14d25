"""A tenant's configuration of an external account: where its token may come from, and where it goes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from contract.answers import get, read
from contract.google_configs import AWS, JWT, WHO, Json, by_json, config, issuing, refused, token, trusting
from contract.googles import ACCOUNT, AUDIENCE, ISSUER, LOOPBACK, Rig, signer
from contract.servers import Http
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.errors import AccessDenied, Rejected, Unavailable
from keyturn.model.google import ConfigLogin, GoogleConfig
from keyturn.model.ids import Carrier, KeyRef, Kind
from keyturn.model.order import ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.providers.dial import CONNECT_S
from keyturn.providers.registry import Surroundings, build
from keyturn.testing.google_tokens import Pool


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    async with trusting(monkeypatch) as made:
        yield made


@pytest.fixture
def issuer(rig: Rig) -> Iterator[Http]:
    with issuing(rig) as made:
        yield made


def kept(rig: Rig, told: object, endpoint: str = "", *, name: str = "config", namespace: str = "shop") -> ConfigLogin:
    ref = KeyRef(Carrier.CONFIG_MAP, namespace, name, "config.json")
    rig.secrets[ref] = Sensitive.of(json.dumps(told))
    return ConfigLogin(ref, endpoint)


async def test_a_token_comes_from_the_named_server_with_its_headers_and_goes_to_google_alone(rig: Rig, issuer: Http) -> None:
    provider = rig.open(kept(rig, by_json(issuer), f"{issuer.url}/token?aud=google"))
    assert await read(provider, "db") == b"kt-canary-db"
    [asked] = issuer.asked
    assert (asked.method, asked.target) == ("GET", "/token?aud=google")
    assert asked.headers["Authorization"] == "bearer kt-canary-word"
    [(path, form)] = rig.services.asked
    assert (path, form["audience"]) == ("/v1/token", AUDIENCE)


async def test_an_answer_may_be_the_token_itself_and_the_audience_the_provider_objects(rig: Rig, issuer: Http) -> None:
    other = AUDIENCE.replace("/this", "/that")
    login = kept(rig, config({"url": f"{issuer.url}/text"}, audience=other), f"{issuer.url}/text")
    refused(await get(rig.open(login), "db"), "Google refuses the log-in by key config.json of ConfigMap/shop/config")
    assert await read(rig.open(ConfigLogin(login.config, login.endpoint, AUDIENCE)), "db") == b"kt-canary-db"


async def test_a_google_service_account_is_stood_in_for_as_long_as_the_configuration_says(rig: Rig, issuer: Http) -> None:
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
    lifetime = {"token_lifetime_seconds": 900}
    told = by_json(issuer, service_account_impersonation_url=url, service_account_impersonation=lifetime)
    login = kept(rig, told, f"{issuer.url}/token?aud=google")
    rig.cloud.grant(ACCOUNT, "accessor", "db")
    refused(await get(rig.open(login), "db"), f"to stand in for {ACCOUNT}; grant it Workload Identity User")
    rig.services.stand_ins[ACCOUNT] = {WHO}
    assert await read(rig.open(login), "db") == b"kt-canary-db"
    assert rig.services.asked[-1][1]["lifetime"] == "900s"


@pytest.mark.parametrize(
    "claims", [{"iss": "https://other.test"}, {"aud": "vault"}, {"iat": 1_699_999_000, "exp": 1_700_000_000}, {"sub": "repo:evil/x"}]
)
async def test_a_token_of_another_issuer_audience_time_or_subject_lets_nobody_in(rig: Rig, issuer: Http, claims: Json) -> None:
    issuer.answers["/text"] = lambda: web.Response(text=token(**claims))
    found = await get(rig.open(kept(rig, config({"url": f"{issuer.url}/text"}), f"{issuer.url}/text")), "db")
    if "sub" in claims:
        assert isinstance(found, AccessDenied)
    else:
        refused(found, "Google refuses the log-in by key config.json of ConfigMap/shop/config; check the pool's provider")
        assert rig.cloud.calls == []


async def test_a_token_of_another_signature_lets_nobody_in(rig: Rig, issuer: Http) -> None:
    rig.services.pools[AUDIENCE] = Pool(ISSUER, signer("other").keys)
    refused(
        await get(rig.open(kept(rig, by_json(issuer), f"{issuer.url}/token?aud=google")), "db"),
        "Google refuses the log-in by key config.json of ConfigMap",
    )


@pytest.mark.parametrize(
    ("source", "endpoint", "says"),
    [
        ({"url": "https://evil.test/token"}, "", "is asked only where externalTokenEndpoint names it too"),
        ({"url": "https://evil.test/token"}, "https://evil.test/other", "is not what externalTokenEndpoint says"),
        ({"file": "/var/run/secrets/kubernetes.io/serviceaccount/token"}, "", "credential_source.file would read what is the operator's"),
        ({"environment_id": "aws1", "url": "http://169.254.169.254/"}, "", "credential_source.environment_id would read"),
        ({"executable": {"command": "kt-canary"}}, "", "credential_source.executable is never used"),
        ({"executable": {"command": "kt-canary"}, "url": "https://evil.test/"}, "https://evil.test/", "executable is never used"),
        ({"certificate": {"use_default_certificate_config": True}}, "", "credential_source.certificate is never used"),
        ({"file": "/etc/passwd", "url": "https://evil.test/"}, "https://evil.test/", "exactly one source"),
    ],
)
async def test_what_a_tenant_may_not_read_is_read_by_nobody(rig: Rig, source: Json, endpoint: str, says: str) -> None:
    kind = AWS if "environment_id" in source else JWT
    refused(await get(rig.open(kept(rig, config(source, subject_token_type=kind), endpoint)), "db"), says)
    assert rig.services.asked == []


async def test_of_a_server_that_gives_no_token_nothing_else_is_told(rig: Rig, issuer: Http) -> None:
    issuer.answers |= {
        "/none": lambda: web.Response(status=404, text="kt-canary"),
        "/page": lambda: web.Response(text="kt-canary password"),
        "/html": lambda: web.Response(text="<html>kt.canary.x</html>"),
        "/count.json": lambda: web.json_response({"value": 1}),
        "/moved": lambda: web.Response(status=302, headers={"Location": "/text"}),
        "/long": lambda: web.Response(text=f"{token()}{'x' * (65 << 10)}"),
        "/long.json": lambda: web.json_response({"value": token(), "more": "x" * (65 << 10)}),
    }
    targets = [target for target in issuer.answers if "text" not in target and "token" not in target]

    async def found(target: str) -> tuple[object, float]:
        form = {"type": "json", "subject_token_field_name": "value"} if ".json" in target else {"type": "text"}
        url, begun = f"{issuer.url}{target}", time.monotonic()
        login = kept(rig, config({"url": url, "format": form}), url, name=f"config{target.replace('/', '-')}")
        return await get(rig.open(login), "db"), time.monotonic() - begun

    # All at once: each fails at the moment at which a port that nobody listens at fails too.
    for each, took_s in await asyncio.gather(*map(found, targets)):
        refused(each, "the server that externalTokenEndpoint names gave no token", Unavailable)
        assert took_s >= CONNECT_S
    assert rig.services.asked == []
    assert sorted(asked.target for asked in issuer.asked) == sorted(targets)


async def test_a_tenants_server_is_dialed_by_the_rules_for_addresses(rig: Rig, issuer: Http) -> None:
    rig.rules = AddressRules()

    async def found(host: str) -> object:
        url = f"https://{host}:{issuer.port}/text"
        return await get(rig.open(kept(rig, config({"url": url}), url, name=host)), "db")

    for each in await asyncio.gather(*map(found, (LOOPBACK, "127.1", "169.254.169.254", "metadata.google.internal", "[::1]"))):
        refused(each, "the server that externalTokenEndpoint names gave no token", Unavailable)
    assert issuer.accepted == 0


def test_a_tenants_server_is_asked_by_tls_alone_unless_a_flag_frees_it(rig: Rig) -> None:
    login = ConfigLogin(KeyRef(Carrier.CONFIG_MAP, "shop", "c", "k"), "http://tokens.test/x?aud=y")
    order = ProviderOrder(GoogleConfig("shop", login))
    for kind, namespace in ((Kind.SECRET_PROVIDER, "shop"), (Kind.CLUSTER_SECRET_PROVIDER, "")):
        with pytest.raises(Rejected, match=r"externalTokenEndpoint: http would send the log-in in clear"):
            build(order, kind=kind, around=Surroundings(Reach(), AddressRules(), rig), namespace=namespace)
    build(order, kind=Kind.SECRET_PROVIDER, around=Surroundings(Reach(), AddressRules(allow_plain_http=True), rig), namespace="shop")


async def test_a_configuration_that_changed_is_used_by_the_next_log_in(rig: Rig, issuer: Http) -> None:
    url = f"{issuer.url}/token?aud=google"
    login = kept(rig, by_json(issuer), url)
    provider = rig.open(login)
    await read(provider, "db")
    kept(rig, by_json(issuer) | {"audience": AUDIENCE.replace("/this", "/that")}, url)
    rig.services.end_all()
    refused(await get(provider, "db"), "Google refuses the log-in by key config.json of ConfigMap/shop/config")
    kept(rig, by_json(issuer), url)
    assert await read(provider, "db") == b"kt-canary-db"


async def test_two_tenants_with_one_configuration_share_neither_token_nor_connection(rig: Rig, issuer: Http) -> None:
    url = f"{issuer.url}/token?aud=google"
    shop = rig.open(kept(rig, by_json(issuer), url))
    bank = rig.open(kept(rig, by_json(issuer), url, namespace="bank"), namespace="bank")
    for provider in (shop, bank):
        await read(provider, "db")
    assert len(issuer.asked) == len(rig.services.asked) == 2
    assert shop._session._passes.kept.secret != bank._session._passes.kept.secret
