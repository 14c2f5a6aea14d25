"""What the azureKeyVault provider asks a vault, what it makes of its answers, and how it keeps its token."""

import threading
from collections.abc import AsyncIterator, Mapping

import pytest
from aiohttp import web

from contract.answers import get, read
from contract.azures import Rig, rigged
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.azure import AzureConfig, ManagedLogin
from keyturn.model.errors import AccessDenied, Conflict, Disabled, Invalid, NotFound, ProviderError, Rejected, Throttled, Unavailable
from keyturn.model.ids import Kind
from keyturn.model.material import Cap, SourceRef, Value
from keyturn.model.order import ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.providers import azure as module
from keyturn.providers.registry import Surroundings, build
from keyturn.testing.azure_secrets import Rights

DB = SourceRef("db")
NO_ANSWER = "the server gave no answer"
VAULT_SILENT = "the server shop.vault.azure.net gave no answer"
PROSE = "kt-canary-prose"
VALUE = b"kt-canary-db"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    with rigged() as made:
        made.seed("db", VALUE.decode(), {"team": "shop"})
        yield made
        await made.close()


async def test_a_read_goes_to_the_vault_by_its_own_name_and_through_the_proxy_of_the_environment(rig: Rig) -> None:
    assert await read(rig.open()) == VALUE
    assert set(rig.cloud.asked_proxy) == {"shop.vault.azure.net", "login.microsoftonline.com"}


async def test_versions_are_read_by_their_names_and_a_value_says_its_own(rig: Rig) -> None:
    old = rig.vault.held["db"].versions[-1].id
    new = rig.seed("db", "kt-canary-new")
    provider = rig.open()
    assert await read(provider, version=old) == VALUE
    found = await get(provider)
    assert isinstance(found, Value)
    assert (found.version, found.data) == (new, Sensitive(b"kt-canary-new"))
    assert await read(provider, version="previous") == VALUE
    assert isinstance(await get(provider, version="f" * 32), NotFound)
    error = await get(provider, version="7")
    assert isinstance(error, Invalid)
    assert "32 hexadecimal digits" in str(error)


@pytest.mark.parametrize("key", ["", "a/b", "a.b", "a_b", "ä", "a" * 128, "db\n", "../secrets/db", "db?x=1", "db--keyturn-pending"])
async def test_a_name_that_no_vault_has_is_never_asked_for(rig: Rig, key: str) -> None:
    error = await get(rig.open(), key)
    assert isinstance(error, Invalid)
    assert rig.vault.asked == []


async def test_another_spelling_of_a_name_is_not_the_name(rig: Rig) -> None:
    """A vault would give it; whoever allows `db` and not `DB` shall not be passed by."""
    error = await get(rig.open(), "DB")
    assert isinstance(error, NotFound)
    assert "spelled db" in str(error)


async def test_a_disabled_version_is_told_from_a_denial(rig: Rig) -> None:
    rig.vault.held["db"].versions[-1].is_enabled = False
    assert isinstance(await get(rig.open()), Disabled)
    rig.vault.denied.add("db")
    error = await get(rig.open())
    assert isinstance(error, AccessDenied)
    assert "role or access policy" in str(error)


def refusal(status: int, code: str = "X", inner: str = "", headers: Mapping[str, str] | None = None) -> web.Response:
    error = {"code": code, "message": PROSE} | ({"innererror": {"code": inner}} if inner else {})
    return web.json_response({"error": error}, status=status, headers=headers)


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (lambda: refusal(403, "Forbidden", "ForbiddenByRbac"), AccessDenied, "this identity the key db in "),
        (lambda: refusal(403, "Forbidden", "ForbiddenByFirewall"), AccessDenied, "network rules"),
        (lambda: refusal(403, "Forbidden", "SecretDisabled"), Disabled, "the key db"),
        (lambda: refusal(404, "SecretNotFound"), NotFound, "Key Vault does not have the key db in "),
        (lambda: refusal(429, "Throttled", headers={"Retry-After": "7"}), Throttled, "pause"),
        (lambda: refusal(429, "Throttled"), Throttled, "pause"),
        (lambda: refusal(409, "Conflict"), Conflict, "came between"),
        (lambda: refusal(400, "BadParameter"), Invalid, "HTTP 400"),
        (lambda: refusal(413), Invalid, "HTTP 413"),
        (lambda: refusal(500), Unavailable, "HTTP 500"),
        (lambda: refusal(503), Unavailable, "HTTP 503"),
        (lambda: web.Response(status=502, text=f"<html>{PROSE}", content_type="text/html"), Unavailable, ""),
        (lambda: web.Response(status=200, text=f"<html>{PROSE}", content_type="text/html"), Unavailable, VAULT_SILENT),
        (lambda: web.Response(status=200, text=f"[{PROSE}", content_type="application/json"), Unavailable, VAULT_SILENT),
        (lambda: web.json_response({"value": None, "id": "https://shop.vault.azure.net/secrets/db/" + "a" * 32}), Invalid, "no value"),
        (lambda: web.Response(status=302, headers={"Location": "https://elsewhere.example"}), ProviderError, ""),
    ],
)
async def test_an_answer_means_what_it_says_and_none_of_its_words_are_told(
    rig: Rig, reply: object, kind: type[ProviderError], says: str
) -> None:
    provider = rig.open()
    await read(provider)
    rig.vault.trouble = lambda _: reply()  # type: ignore[operator]  # pytest does not know
    error = await get(provider)
    assert isinstance(error, kind)
    assert says in str(error)
    assert PROSE not in f"{error!r} {error.__cause__!r} {error.__context__!r}"
    if isinstance(error, Throttled) and "7" in str(error.retry_after):
        assert error.retry_after == 7


async def test_no_call_is_made_twice_by_the_sdk(rig: Rig) -> None:
    provider = rig.open()
    await read(provider)
    for status in (429, 500, 503, 408):
        rig.vault.asked.clear()
        rig.vault.trouble = lambda _, status=status: refusal(status, headers={"Retry-After": "0"})  # type: ignore[misc]  # as above
        assert isinstance(await get(provider), ProviderError)
        assert len(rig.vault.asked) == 1


async def test_a_list_goes_over_all_pages_of_25_also_over_short_and_empty_ones(rig: Rig) -> None:
    for number in range(120):
        rig.seed(f"page{number:03}", "kt-canary-x", {"n": str(number)})
    for number in range(10, 70):
        rig.vault.delete(f"page{number:03}")
    rig.seed("page000--keyturn-pending", "kt-canary-x")
    provider = rig.open()
    found = {meta.key: meta async for meta in provider.list("page")}
    assert {key: meta.tags["n"] for key, meta in found.items()} == {f"page{n:03}": str(n) for n in (*range(10), *range(70, 120))}
    rig.vault.asked.clear()
    survey = await provider.survey([DB, SourceRef("page001"), SourceRef("none"), SourceRef("page002", "previous"), SourceRef("page020")])
    assert survey.fingerprints.keys() == {DB, SourceRef("page001")}
    assert (survey.calls, len(rig.vault.asked)) == (5, 5)
    assert all("maxresults=25" in path for _, path, _ in rig.vault.asked)


@pytest.mark.parametrize(
    "told",
    [
        {},
        [],
        {"value": None},
        {"value": [{"id": "https://shop.vault.azure.net/secrets/db"}]},
        {"value": [{"id": PROSE, "attributes": {}}]},
        {"value": [{"id": "https://shop.vault.azure.net/secrets/db", "attributes": {"updated": "kt-canary"}}]},
        {"value": [{"id": "https://shop.vault.azure.net/secrets/db", "attributes": {"updated": 1e300}}]},
        {"value": [], "nextLink": 7},
    ],
)
async def test_what_is_no_page_is_no_list(rig: Rig, told: object) -> None:
    provider = rig.open()
    await read(provider)
    rig.vault.trouble = lambda _: web.json_response(told)
    with pytest.raises(Unavailable, match=NO_ANSWER):
        [meta async for meta in provider.list()]


async def test_the_link_to_the_next_page_leads_no_token_elsewhere(rig: Rig) -> None:
    elsewhere = rig.cloud.vault("elsewhere")
    provider = rig.open()
    await read(provider)
    link = f"https://{elsewhere.host}/secrets?api-version=1&$skiptoken=MA=="
    pages = [{"value": [], "nextLink": link}]
    rig.vault.trouble = lambda _: web.json_response(pages.pop()) if pages else None
    assert [meta.key async for meta in provider.list()] == ["db"]
    assert elsewhere.asked == []


async def test_a_token_that_ends_in_the_middle_of_a_list_is_followed_by_another(rig: Rig) -> None:
    for number in range(60):
        rig.seed(f"page{number:02}", "kt-canary-x")
    found: list[str] = []
    async for meta in rig.open().list("page"):
        if not len(found) % 25:
            rig.entra.expire()
        found.append(meta.key)
    assert found == [f"page{number:02}" for number in range(60)]


async def test_a_change_of_the_last_two_seconds_is_looked_at_again(rig: Rig) -> None:
    """Times are whole seconds: two changes within one look alike, so that whoever saw the first must not trust what it saw."""
    provider = rig.open()
    seen = await get(provider)
    assert isinstance(seen, Value)
    rig.vault.put("db", "kt-canary-in-the-same-second")
    rig.time_s += 10
    survey = await provider.survey([DB])
    assert survey.fingerprints[DB] != seen.fingerprint
    again = await get(provider)
    assert isinstance(again, Value)
    assert again.fingerprint == survey.fingerprints[DB]
    rig.time_s += 10
    assert (await provider.survey([DB])).fingerprints[DB] == again.fingerprint


async def test_who_may_not_list_has_no_list_and_reads_all_the_same(rig: Rig) -> None:
    rig.vault.rights[rig.client_id] = Rights(frozenset({"get"}))
    provider = rig.open()
    await provider.validate()
    assert not (Cap.LIST | Cap.SURVEY) & provider.caps
    assert await read(provider) == VALUE
    with pytest.raises(AccessDenied, match="list"):
        [meta async for meta in provider.list()]
    rig.vault.rights[rig.client_id] = Rights()
    await provider.validate()
    assert Cap.LIST | Cap.SURVEY in provider.caps


async def test_a_vault_whose_network_is_closed_is_no_valid_one(rig: Rig) -> None:
    provider = rig.open()
    await provider.validate()
    rig.vault.trouble = lambda _: refusal(403, "Forbidden", "ForbiddenByFirewall")
    with pytest.raises(AccessDenied, match="network rules"):
        await provider.validate()


async def test_an_answer_that_is_too_long_is_not_read_to_its_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VALUE_LIMIT", 10_000)
    rig.seed("large", "kt-canary" + "x" * 20_000)
    provider = rig.open()
    error = await get(provider, "large")
    assert isinstance(error, Invalid)
    assert "too large" in str(error)
    assert await read(provider) == VALUE


async def test_a_vault_of_a_name_that_nobody_has_gives_no_answer(rig: Rig) -> None:
    error = await get(rig.open(vault="nobody.vault.azure.net"))
    assert isinstance(error, Unavailable)
    assert str(error) == "the server nobody.vault.azure.net gave no answer: the proxy that HTTPS_PROXY names does not get there"


async def test_many_at_once_take_few_connections_and_no_thread_more(rig: Rig) -> None:
    for number in range(64):
        rig.seed(f"k{number}", "kt-canary-x")
    provider = rig.open()
    await read(provider)
    before = threading.active_count()
    rig.cloud.asked_proxy.clear()
    answers = await provider.get_many([SourceRef(f"k{number}") for number in range(64)])
    assert all(isinstance(each, Value) for each in answers.values())
    assert len(rig.cloud.asked_proxy) <= 8
    # The loop's own pool looks for the proxy of each address; it has a bound.
    assert threading.active_count() - before <= 8


async def test_the_real_limit_of_a_vault_is_told_with_its_pause(rig: Rig) -> None:
    rig.vault.most_in_10_s = 5
    provider = rig.open()
    answers = [await get(provider) for _ in range(7)]
    told = [each for each in answers if isinstance(each, Throttled)]
    assert told
    assert 0 < (told[0].retry_after or 0) <= 10


async def test_a_build_gives_it_to_whoever_may_have_it(rig: Rig) -> None:
    around = Surroundings(Reach(), AddressRules(), rig)
    built = build(ProviderOrder(AzureConfig(rig.vault.host, rig.login())), kind=Kind.SECRET_PROVIDER, around=around, namespace="shop")
    assert await read(built) == VALUE
    await built.close()
    own = ProviderOrder(AzureConfig(rig.vault.host, ManagedLogin()))
    with pytest.raises(Rejected, match="for a ClusterSecretProvider only"):
        build(own, kind=Kind.SECRET_PROVIDER, around=around, namespace="shop")
    await build(own, kind=Kind.CLUSTER_SECRET_PROVIDER, around=around).close()
