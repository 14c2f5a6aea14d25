"""How the Google provider logs in: by a key, as a ServiceAccount of a tenant, as the operator; and what goes where, and for how long."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from contract.answers import get, read
from contract.files import all_that_hangs_on
from contract.googles import AUDIENCE, ISSUER, PROSE, READER, Rig, rigged, signer
from keyturn.model.errors import AuthFailed, NotFound, Throttled, Unavailable
from keyturn.model.google import AmbientLogin
from keyturn.model.tenant import ServiceAccount
from keyturn.testing.google_tokens import OWN_TOKEN, Pool

OWN = "operator@shop.iam.gserviceaccount.com"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rigged() as made:
        made.seed("db", b"kt-canary-db")
        made.services.pools[AUDIENCE] = Pool(ISSUER, signer("cluster").keys)
        yield made


def principal(name: str, namespace: str = "shop") -> str:
    return f"principal:{AUDIENCE}/subject/system:serviceaccount:{namespace}:{name}"


def asked(rig: Rig, path: str = "/token") -> int:
    return sum(each == path for each, _ in rig.services.asked)


# -- a key ------------------------------------------------------------------------------------------------------------------------


async def test_one_log_in_serves_all_who_ask_until_two_thirds_of_its_life(rig: Rig) -> None:
    provider = rig.open()
    await asyncio.gather(*(read(provider, "db") for _ in range(20)))
    assert asked(rig) == 1
    rig.now_s += 2300
    await read(provider, "db")
    assert asked(rig) == 1
    rig.now_s += 200
    await read(provider, "db")
    assert asked(rig) == 2


async def test_a_token_service_that_is_away_is_lived_through_while_the_token_holds(rig: Rig) -> None:
    provider = rig.open()
    await read(provider, "db")
    rig.now_s += 2500
    with rig.services.troubled(503):
        await read(provider, "db")
        rig.now_s += 1200
        assert isinstance(await get(provider, "db"), Unavailable)
    await read(provider, "db")


async def test_a_token_that_was_ended_is_replaced_and_nobody_notices(rig: Rig) -> None:
    provider = rig.open()
    await read(provider, "db")
    rig.services.end_all()
    await asyncio.gather(*(read(provider, "db") for _ in range(20)))
    assert asked(rig) == 2


async def test_a_key_that_was_replaced_in_its_secret_is_read_again_once_the_old_one_fails(rig: Rig) -> None:
    login = rig.key_login()
    provider = rig.open(login)
    await read(provider, "db")
    other = rig.services.key_of(READER, signer("new key"), "https://oauth2.googleapis.com/token")
    rig.services.accounts[READER] = dict(signer("new key").keys)
    rig.services.end_all()
    assert isinstance(await get(provider, "db"), AuthFailed)
    rig.keep(login.key.name, other)
    await read(provider, "db")


def changed(**more: Any) -> Callable[[str], str]:
    return lambda known: json.dumps(json.loads(known) | more)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda _: "kt-canary-no-json", "is no key of a service account"),
        (lambda _: "[]", "is no key of a service account"),
        (lambda _: "[" * 60_000, "is no key of a service account"),
        (changed(type="authorized_user"), "is no key of a service account"),
        (changed(type="external_account", credential_source={"executable": {"command": "kt-canary"}}), "is no key of a service account"),
        (changed(token_uri="https://evil.test/token"), "token_uri or universe_domain that is not Google's"),
        (changed(token_uri="http://169.254.169.254/token"), "token_uri or universe_domain that is not Google's"),
        (changed(token_uri={"kt": "canary"}), "token_uri or universe_domain that is not Google's"),
        (changed(universe_domain="evil.test"), "token_uri or universe_domain that is not Google's"),
        (changed(private_key="kt-canary-no-pem"), "(key value) holds no RSA private key"),
        (changed(private_key="\ud800"), "(key value) holds no RSA private key"),
        (changed(private_key=7), "is no key of a service account"),
        (changed(client_email=["kt-canary"]), "is no key of a service account"),
        (changed(more="kt-canary" * 10_000), "(key value) has more than 64 KiB"),
        (changed(private_key=signer("other").pem), "Google refuses the log-in by the key in Secret/shop"),
        (changed(client_email="nobody@shop.iam.gserviceaccount.com"), "Google refuses the log-in by the key in Secret/shop"),
    ],
)
async def test_a_key_that_cannot_be_used_is_told_without_a_word_of_it(rig: Rig, change: Callable[[str], str], says: str) -> None:
    login = rig.key_login()
    rig.keep(login.key.name, change(rig.secrets[login.key].reveal().decode()))
    found = await get(rig.open(login), "db")
    assert isinstance(found, AuthFailed)
    assert says in str(found)
    hanging = all_that_hangs_on(found)
    assert not any(word in hanging for word in ("kt-canary", PROSE, "PRIVATE KEY", "evil.test"))
    assert rig.cloud.calls == []


async def test_no_assertion_is_signed_for_a_strange_address(rig: Rig) -> None:
    login = rig.key_login()
    rig.keep(login.key.name, changed(token_uri=rig.places.metadata)(rig.secrets[login.key].reveal().decode()))
    assert isinstance(await get(rig.open(login), "db"), AuthFailed)
    assert rig.services.asked == []


async def test_a_secret_that_is_missing_is_a_log_in_that_failed(rig: Rig) -> None:
    login = rig.key_login()
    rig.secrets.clear()
    assert isinstance(await get(rig.open(login), "db"), AuthFailed)


@pytest.mark.parametrize(
    ("status", "headers", "kind", "pause"),
    [
        (429, {"Retry-After": "17"}, Throttled, 17.0),
        (429, {}, Throttled, None),
        (500, {}, Unavailable, None),
        (503, {}, Unavailable, None),
        (302, {"Location": "http://127.0.0.1:1/"}, Unavailable, None),
        (403, {}, AuthFailed, None),
    ],
)
async def test_the_token_services_refusals_have_our_words_and_are_asked_once(
    rig: Rig, status: int, headers: dict[str, str], kind: type[AuthFailed | Throttled | Unavailable], pause: float | None
) -> None:
    with rig.services.troubled(status, **headers):
        found = await get(rig.open(), "db")
    assert isinstance(found, kind)
    assert found.retry_after == pause
    assert PROSE not in all_that_hangs_on(found)
    assert asked(rig) == 1


# -- a ServiceAccount of a tenant -------------------------------------------------------------------------------------------------


async def test_two_tenants_with_the_same_settings_read_each_its_own(rig: Rig) -> None:
    rig.seed("bank", b"kt-canary-bank")
    rig.cloud.grant(principal("app"), "accessor", "db")
    rig.cloud.grant(principal("app", "bank"), "accessor", "bank")
    shop, bank = rig.open(rig.federated("app", "shop")), rig.open(rig.federated("app", "bank"), namespace="bank")
    assert await read(shop, "db") == b"kt-canary-db"
    assert await read(bank, "bank") == b"kt-canary-bank"
    for provider, key in ((shop, "bank"), (bank, "db")):
        assert "PERMISSION" not in str(found := await get(provider, key))
        assert type(found).__name__ == "AccessDenied"
    assert rig.made == [(ServiceAccount("shop", "app"), AUDIENCE), (ServiceAccount("bank", "app"), AUDIENCE)]


async def test_two_providers_of_one_account_share_neither_token_nor_connection(rig: Rig) -> None:
    rig.cloud.grant(principal("app"), "accessor")
    one, two = rig.open(rig.federated()), rig.open(rig.federated())
    for provider in (one, two):
        await read(provider, "db")
    assert one._session._passes.kept.secret != two._session._passes.kept.secret
    assert one._session._wire is not two._session._wire
    assert len(rig.made) == 2


async def test_the_tokens_that_google_takes_are_of_one_issuer_and_audience(rig: Rig) -> None:
    rig.cloud.grant(principal("app"), "accessor")
    for pool in (Pool("https://other.test", signer("cluster").keys), Pool(ISSUER, signer("other").keys), Pool(ISSUER, {}, ("vault",))):
        rig.services.pools[AUDIENCE] = pool
        found = await get(rig.open(rig.federated()), "db")
        assert isinstance(found, AuthFailed)
        assert "the token of ServiceAccount/shop/app" in str(found)
        assert PROSE not in all_that_hangs_on(found)
    rig.services.pools.clear()
    assert isinstance(await get(rig.open(rig.federated()), "db"), AuthFailed)
    assert rig.cloud.calls == []


async def test_a_new_token_is_asked_for_where_google_does_not_know_the_old_one_any_more(rig: Rig) -> None:
    rig.cloud.grant(principal("app"), "accessor")
    provider = rig.open(rig.federated())
    await read(provider, "db")
    rig.services.end_all()
    await read(provider, "db")
    assert len(rig.made) == 2


# -- the operator's own -----------------------------------------------------------------------------------------------------------


async def test_the_operators_own_identity_is_asked_of_the_metadata_server(rig: Rig) -> None:
    rig.services.own = OWN
    rig.cloud.grant(OWN, "accessor", "db")
    provider = rig.open(AmbientLogin())
    assert await read(provider, "db") == b"kt-canary-db"
    assert isinstance(await get(provider, "missing"), Exception)
    assert asked(rig, OWN_TOKEN) == 1


async def test_no_proxy_is_asked_for_the_metadata_server(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    rig.services.own = OWN
    rig.cloud.grant(OWN, "accessor")
    assert await read(rig.open(AmbientLogin()), "db") == b"kt-canary-db"


async def test_a_machine_without_an_identity_and_one_that_is_none_of_googles_say_so(rig: Rig) -> None:
    found = await get(rig.open(AmbientLogin()), "db")
    assert isinstance(found, AuthFailed)
    assert "an identity of its own" in str(found)
    await rig.there(rig.runner.cleanup())
    found = await get(rig.open(AmbientLogin()), "db")
    assert isinstance(found, Unavailable)


async def test_threads_of_log_ins_are_few_however_many_log_in(rig: Rig) -> None:
    providers = [rig.open() for _ in range(30)]
    await asyncio.gather(*(read(provider, "db") for provider in providers))
    assert sum(thread.name.startswith("keyturn-google") for thread in threading.enumerate()) <= 4


async def test_a_log_in_that_is_under_way_is_ended_with_its_provider(rig: Rig) -> None:
    provider = rig.open()
    asking = asyncio.create_task(get(provider, "db"))
    await asyncio.sleep(0)
    await provider.close()
    assert isinstance(await asking, Unavailable)
    assert isinstance(await get(rig.open(), "missing"), NotFound)
