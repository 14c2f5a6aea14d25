"""What the kubernetes provider asks a real API server, what it makes of its answers, and how it keeps its log-in."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme
from aiohttp import web

from contract.answers import get, read
from contract.kubes import PROSE, READER, Cluster, cluster, refusal, spelled
from controlplane.plane import ControlPlane
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.errors import AccessDenied, AuthFailed, Invalid, NotFound, ProviderError, Rejected, Throttled, Unavailable
from keyturn.model.ids import KeyPair, Kind
from keyturn.model.kubernetes import KubernetesConfig
from keyturn.model.material import Cap, Form, SourceRef, Value
from keyturn.model.order import ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.providers import kubernetes as module
from keyturn.providers.registry import Home, Surroundings, build

DB = SourceRef("db")
NO_ANSWER = "the server gave no answer"
REDIRECT = "gave no answer: its answer is a redirect or none at all (302)"


@pytest.fixture
async def here(plane: ControlPlane) -> AsyncIterator[Cluster]:
    async with cluster(plane) as made:
        await asyncio.to_thread(made.put, "db", {"password": b"kt-canary-db"}, {"team": "shop"})
        yield made


async def test_a_value_is_all_of_a_secrets_data_in_the_order_of_its_keys(here: Cluster) -> None:
    texts = {"z": "last", "a": "first\n", "m.n": "ä 🔑", "empty": ""}
    await asyncio.to_thread(here.put, "texts", {key: text.encode() for key, text in texts.items()})
    found = await get(here.open(), "texts")
    assert isinstance(found, Value)
    assert (found.data, found.form, found.version) == (Sensitive(spelled(texts)), Form.MAP, "")
    assert found.updated is not None
    await asyncio.to_thread(here.put, "none", {})
    assert await read(here.open(), "none") == b"{}"


async def test_bytes_that_are_no_text_come_in_base64_and_say_so(here: Cluster) -> None:
    raw = bytes(range(256))
    await asyncio.to_thread(here.put, "raw", {"raw": raw, "text": b"x"})
    found = await get(here.open(), "raw")
    assert isinstance(found, Value)
    assert found.form is Form.MAP_OF_BYTES
    assert base64.b64decode(json.loads(found.data.reveal())["raw"]) == raw


async def test_reads_ask_for_one_secret_each_and_lists_for_metadata_alone(here: Cluster) -> None:
    provider = here.open()
    await read(provider)
    assert [meta.key async for meta in provider.list("d")] == ["db"]
    [(verb, path, got), (_, listed, asked)] = here.front.asked
    assert (verb, path) == ("GET", f"/api/v1/namespaces/{here.namespace}/secrets/db")
    assert got["Accept"] == "application/json"
    assert listed.startswith(f"/api/v1/namespaces/{here.namespace}/secrets?limit=")
    assert "as=PartialObjectMetadataList" in asked["Accept"]
    assert "," not in asked["Accept"]


async def test_a_list_goes_over_all_pages_and_has_labels_and_fingerprints(here: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for number in range(5):
        await asyncio.to_thread(here.put, f"page{number}", {"a": b"x"}, {"n": str(number)})
    provider = here.open()
    found = {meta.key: meta async for meta in provider.list("page")}
    assert {key: meta.tags["n"] for key, meta in found.items()} == {f"page{number}": str(number) for number in range(5)}
    survey = await provider.survey([DB, SourceRef("page1"), SourceRef("none"), SourceRef("page2", "1")])
    assert (survey.size, survey.calls) == (6, 3)
    value = await get(provider, "page1")
    assert isinstance(value, Value)
    assert survey.fingerprints.keys() == {DB, SourceRef("page1")}
    assert survey.fingerprints[SourceRef("page1")] == value.fingerprint == found["page1"].fingerprint


async def test_a_page_that_is_too_long_is_asked_for_in_parts(here: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await asyncio.to_thread(here.put, f"page{number}", {"a": b"x"})
    monkeypatch.setattr(module, "PAGE_LIMIT", 1200)
    provider = here.open()
    assert len([meta async for meta in provider.list("page")]) == 5


async def test_a_new_secret_of_the_same_name_has_another_fingerprint(here: Cluster) -> None:
    provider = here.open()
    before = await get(provider)
    await asyncio.to_thread(here.remove, "db")
    assert isinstance(await get(provider), NotFound)
    await asyncio.to_thread(here.put, "db", {"password": b"kt-canary-db"})
    after = await get(provider)
    assert isinstance(before, Value)
    assert isinstance(after, Value)
    assert before.data == after.data
    assert before.fingerprint != after.fingerprint


async def test_who_may_not_list_has_no_list_and_reads_all_the_same(here: Cluster) -> None:
    await asyncio.to_thread(here.let, "db", may_list=False)
    provider = here.open()
    await provider.validate()
    assert not (Cap.LIST | Cap.SURVEY) & provider.caps
    assert await read(provider) == spelled({"password": "kt-canary-db"})
    with pytest.raises(AccessDenied, match=here.namespace):
        [meta async for meta in provider.list()]
    await asyncio.to_thread(here.let, "db")
    await provider.validate()
    assert Cap.LIST | Cap.SURVEY in provider.caps


async def test_who_may_read_nothing_is_denied_by_validate(here: Cluster) -> None:
    await asyncio.to_thread(here.account, "nobody")
    with pytest.raises(AccessDenied, match="bind a Role"):
        await here.open(here.tenant("nobody")).validate()


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (lambda: refusal(403), AccessDenied, "the Secret db in the namespace"),
        (lambda: refusal(404), NotFound, "the Secret db in the namespace"),
        (lambda: refusal(429, **{"Retry-After": "7"}), Throttled, "pause"),
        (lambda: web.Response(text="Too many requests, please try again later.\n", status=429), Throttled, "pause"),
        (lambda: refusal(500), Unavailable, "HTTP 500"),
        (lambda: refusal(503), Unavailable, "HTTP 503"),
        (lambda: refusal(400), Invalid, "HTTP 400"),
        (lambda: refusal(401), AuthFailed, "does not know"),
        (lambda: web.Response(text="404 page not found", status=404), Unavailable, NO_ANSWER),
        (lambda: web.Response(text=f"<html>{PROSE}", status=200), Unavailable, NO_ANSWER),
        (lambda: web.json_response({"kind": "Pod", "metadata": {"name": PROSE}}), Unavailable, NO_ANSWER),
        (lambda: web.json_response({"kind": "Secret", "metadata": {}, "data": {"a": f"%{PROSE}"}}), Unavailable, NO_ANSWER),
        (lambda: web.Response(status=302, headers={"Location": "https://elsewhere.example"}), Unavailable, REDIRECT),
    ],
)
async def test_an_answer_means_what_it_says_and_none_of_its_words_are_told(
    here: Cluster, reply: object, kind: type[ProviderError], says: str
) -> None:
    here.front.answering = lambda _: reply()  # type: ignore[operator]  # pytest does not know
    error = await get(here.open())
    assert type(error) is kind
    assert says in str(error)
    assert PROSE not in f"{error!r} {error.__cause__!r} {error.__context__!r}"
    if isinstance(error, Throttled) and "7" in str(error.retry_after):
        assert error.retry_after == 7


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../secrets/db", "a%2fb", "db?watch=1", "ä", "db\n", "x" * 254])
async def test_a_name_that_would_lead_elsewhere_is_never_asked_for(here: Cluster, name: str) -> None:
    assert isinstance(await get(here.open(), name), Invalid)
    assert here.front.asked == []


async def test_a_version_is_refused_since_there_is_none(here: Cluster) -> None:
    error = await get(here.open(), "db", "1")
    assert isinstance(error, Invalid)
    assert "leave version out" in str(error)


async def test_one_token_serves_many_and_is_renewed_at_two_thirds_of_its_life(here: Cluster) -> None:
    provider = here.open()
    await asyncio.gather(*(read(provider) for _ in range(20)))
    assert len(here.front.tokens) == 1
    here.now_s += 399
    await read(provider)
    assert len(here.front.tokens) == 1
    here.now_s += 2
    await asyncio.gather(*(read(provider) for _ in range(20)))
    assert len(here.front.tokens) == 2


async def test_a_token_that_cannot_be_renewed_is_used_to_its_end_and_no_longer(here: Cluster) -> None:
    provider = here.open()
    await read(provider)
    await here.mint.leave()
    here.now_s += 401
    await read(provider)
    here.now_s += 200
    assert isinstance(await get(provider), Unavailable)
    assert len(here.front.tokens) == 1


async def test_a_dead_token_costs_one_new_one_and_nobody_sees_it(here: Cluster) -> None:
    provider = here.open()
    await read(provider)
    here.front.dead |= here.front.tokens
    await asyncio.gather(*(read(provider) for _ in range(20)))
    assert len(here.front.tokens) == 2


async def test_a_service_account_that_is_not_there_is_named(here: Cluster) -> None:
    error = await get(here.open(here.tenant("gone")))
    assert isinstance(error, AuthFailed)
    assert f"ServiceAccount/{here.namespace}/gone" in str(error)
    assert here.front.asked == []


async def test_a_token_in_a_secret_goes_to_its_server_and_one_that_is_replaced_is_taken_up(here: Cluster) -> None:
    entrance = await asyncio.to_thread(here.stranger, "kt-canary-wrong")
    provider = here.open(entrance)
    error = await get(provider)
    assert isinstance(error, AuthFailed)
    assert "kt-canary-wrong" not in str(error)
    [login] = here.secrets
    assert str(login) in str(error)
    here.secrets[login] = Sensitive.of(f" {await asyncio.to_thread(here.plane.new_token, here.namespace, READER)}\n")
    assert await read(provider) == spelled({"password": "kt-canary-db"})


@pytest.mark.parametrize("word", [b"", b" \n", b"two words", b"\xff", b"a\r\nHost: b"])
async def test_what_no_header_takes_is_no_token(here: Cluster, word: bytes) -> None:
    entrance = await asyncio.to_thread(here.stranger, "x")
    here.secrets.update(dict.fromkeys(here.secrets, Sensitive(word)))
    error = await get(here.open(entrance))
    assert isinstance(error, AuthFailed)
    assert "holds no token" in str(error)
    assert here.front.asked == []


async def test_a_server_of_another_authority_is_no_answer_and_gets_no_token(here: Cluster) -> None:
    entrance = await asyncio.to_thread(here.stranger, "", trustme.CA().cert_pem.bytes())
    error = await get(here.open(entrance))
    assert type(error) is Unavailable
    assert "gave no answer: its certificate is of no authority that is trusted here" in str(error)
    assert here.front.asked == []
    nonsense = await asyncio.to_thread(here.stranger, "x", b"no certificate")
    told = await get(here.open(nonsense))
    assert isinstance(told, AuthFailed)
    assert "caBundle holds no PEM certificate" in str(told)


async def test_a_tenants_server_that_is_not_allowed_gets_no_token(here: Cluster) -> None:
    entrance = await asyncio.to_thread(here.stranger, "", b"", AddressRules())
    error = await get(here.open(entrance))
    assert (type(error), str(error)) == (Unavailable, NO_ANSWER)
    assert here.front.asked == []


async def test_a_client_certificate_logs_in_without_a_token(here: Cluster) -> None:
    here.front.clients = authority = trustme.CA()
    await here.front.leave()
    await here.front.listen()
    here.front.answering = lambda _: web.json_response({"kind": "Secret", "metadata": {"name": "db"}, "data": {"a": "eA=="}})
    issued = authority.issue_cert("reader")
    certificate = here.keep("certificate", issued.cert_chain_pems[0].bytes())
    login = KeyPair(certificate, here.keep("key", issued.private_key_pem.bytes()))
    assert await read(here.open(here.at_front(login))) == b'{"a":"x"}'
    assert here.front.tokens == set()
    other = KeyPair(certificate, here.keep("another", authority.issue_cert("other").private_key_pem.bytes()))
    error = await get(here.open(here.at_front(other)))
    assert isinstance(error, AuthFailed)
    assert "no pair" in str(error)


async def test_a_proxy_of_the_environment_is_not_for_the_operators_own_api_server(here: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert await read(here.open()) == spelled({"password": "kt-canary-db"})
    elsewhere = await asyncio.to_thread(here.stranger)
    assert isinstance(await get(here.open(elsewhere)), Unavailable)


def order(here: Cluster) -> ProviderOrder:
    return ProviderOrder(KubernetesConfig(here.namespace, here.reader))


async def test_the_registry_opens_it_with_what_it_was_wired_with(here: Cluster) -> None:
    tls = ssl.create_default_context(cafile=str(here.plane.ca_file))
    around = Surroundings(Reach(), AddressRules(), here, home=Home(here.plane.url, tls, here.tokens))
    provider = build(order(here), kind=Kind.SECRET_PROVIDER, around=around, namespace=here.namespace)
    assert await read(provider) == spelled({"password": "kt-canary-db"})
    await provider.close()


async def test_outside_of_a_cluster_there_is_no_log_in_as_a_service_account(here: Cluster) -> None:
    with pytest.raises(Rejected, match=r"auth\.serviceAccount"):
        build(order(here), kind=Kind.SECRET_PROVIDER, around=Surroundings(Reach(), AddressRules(), here), namespace=here.namespace)
