"""What the AWS provider makes of every answer, what it costs, and where a tenant's endpoint may be."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from contract.answers import get, text_of
from contract.aws import PROSE, Account, account, fill, refusal
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.aws import AwsConfig, OwnLogin
from keyturn.model.errors import AccessDenied, AuthFailed, Conflict, Invalid, NotFound, ProviderError, Rejected, Throttled, Unavailable
from keyturn.model.ids import Kind
from keyturn.model.material import SourceRef, Value
from keyturn.model.order import ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.providers import aws as module
from keyturn.providers.dial import NO_ANSWER
from keyturn.providers.registry import Surroundings, build
from keyturn.providers.room import Room

REDIRECT = "gave no answer: its answer is a redirect or none at all (302)"
LOOPBACK_ALONE = AddressRules(allowed=("127.0.0.0/8",), allow_plain_http=True)


@pytest.fixture
async def here() -> AsyncIterator[Account]:
    async with account() as made:
        yield made


def aws(told: object) -> web.Response:
    """As a service of AWS's answers."""
    return web.json_response(told, headers={"x-amzn-RequestId": "0f-request"})


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (lambda: refusal("AccessDeniedException"), AccessDenied, "the secret db in eu-west-1; allow it secretsmanager:GetSecretValue"),
        (
            lambda: refusal("DecryptionFailure"),
            AccessDenied,
            "KMS refuses the key that encrypts the secret db in eu-west-1; allow",
        ),
        (lambda: refusal("OptInRequired", 403), AccessDenied, "not turned on for this account what the secret db in eu-west-1 takes"),
        (lambda: refusal("SomethingNewException", 403), AccessDenied, "the secret db in eu-west-1 (SomethingNewException)"),
        (lambda: refusal("kt-canary-code 1", 403), AccessDenied, "the secret db in eu-west-1 (request"),
        (lambda: refusal("ResourceNotFoundException"), NotFound, "the secret db"),
        (lambda: refusal("com.amazonaws.secretsmanager#ResourceNotFoundException"), NotFound, "the secret db"),
        (lambda: refusal("ThrottlingException", **{"Retry-After": "7"}), Throttled, "pause"),
        (lambda: refusal("ThrottlingException"), Throttled, "pause"),
        (lambda: refusal("Anything", 429, **{"Retry-After": "7"}), Throttled, "pause"),
        (lambda: refusal("InternalServiceError", 500), Unavailable, "HTTP 500"),
        (lambda: refusal("InternalServiceError", 400), Unavailable, "HTTP 400"),
        (lambda: web.Response(text=f"<html>{PROSE}</html>", status=503), Unavailable, "HTTP 503"),
        (lambda: refusal("InvalidParameterException"), Invalid, "HTTP 400"),
        (lambda: refusal("InvalidRequestException"), Invalid, "HTTP 400"),
        (lambda: refusal("ResourceExistsException"), Conflict, "the secret db"),
        (lambda: refusal("UnrecognizedClientException"), AuthFailed, "does not know the access key in Secret/shop/id-"),
        (lambda: refusal("ExpiredTokenException"), AuthFailed, "renew it"),
        (lambda: refusal("InvalidSignatureException"), AuthFailed, "renew it"),
        (lambda: web.Response(text=f"<html>{PROSE}", status=200), Unavailable, NO_ANSWER),
        (lambda: web.Response(text=PROSE, status=404), Unavailable, NO_ANSWER),
        (lambda: aws([PROSE]), Unavailable, NO_ANSWER),
        (lambda: web.json_response({"Name": "db", "SecretString": PROSE, "VersionId": "v" * 32}), Unavailable, NO_ANSWER),
        (lambda: aws({"Name": "db", "SecretBinary": f"{PROSE}", "VersionId": "v" * 32}), Unavailable, NO_ANSWER),
        (lambda: aws({}), Unavailable, "names no version"),
        (lambda: aws({"Name": "db", "VersionId": "v" * 32}), NotFound, "no value"),
        (lambda: web.Response(status=302, headers={"Location": "https://elsewhere.example"}), Unavailable, REDIRECT),
        (lambda: web.Response(text="x" * (1 << 20)), Invalid, "too large"),
    ],
)
async def test_an_answer_means_what_it_says_and_none_of_its_words_are_told(
    here: Account, reply: object, kind: type[ProviderError], says: str
) -> None:
    here.front.answering = lambda operation: reply() if operation == "GetSecretValue" else None  # type: ignore[operator]  # pytest does not know
    error = await get(here.open(), "db")
    assert type(error) is kind
    assert says in str(error)
    assert PROSE not in f"{error!r} {error.__cause__!r} {error.__context__!r}"
    if isinstance(error, Throttled) and error.retry_after is not None:
        assert error.retry_after == 7


async def test_nothing_is_asked_twice_by_itself(here: Account) -> None:
    here.front.answering = lambda _: refusal("InternalServiceError", 500)
    assert isinstance(await get(here.open(), "db"), Unavailable)
    here.front.answering = lambda _: refusal("ThrottlingException", 400)
    assert isinstance(await get(here.open(), "db"), Throttled)
    assert here.front.count("GetSecretValue") == 2


async def test_a_wall_is_met_once_and_not_once_for_each(here: Account) -> None:
    refs = await fill(here, 60)
    here.front.answering = lambda _: refusal("ThrottlingException", 429, **{"Retry-After": "7"})
    with pytest.raises(Throttled):
        await here.open().get_many(refs)
    assert here.front.count("BatchGetSecretValue") == 1


async def test_the_sdk_writes_no_value_to_any_log(here: Account, caplog: pytest.LogCaptureFixture) -> None:
    await here.put("db", "kt-canary-db")
    with caplog.at_level(logging.DEBUG):
        provider = here.open(may_write=True)
        await get(provider, "db")
        await provider.put("new", Sensitive(b"kt-canary-new"), token="t" * 32)  # type: ignore[attr-defined]  # it is a writer
    assert "kt-canary" not in caplog.text


async def test_what_has_no_room_is_left_out_and_asked_for_again(here: Account) -> None:
    refs = []
    for number in range(40):
        await here.put(f"large/{number:03d}", "x" * 60_000)
        refs.append(SourceRef(f"large/{number:03d}"))
    provider = here.open(room=Room(3 << 20))
    found: dict[SourceRef, Value | ProviderError] = {}
    rounds = 0
    while left := [ref for ref in refs if ref not in found]:
        answers = await provider.get_many(left)
        assert answers
        found |= answers
        rounds += 1
    assert all(isinstance(value, Value) for value in found.values())
    assert rounds > 1


async def test_threads_are_few_and_a_silent_server_holds_none(here: Account) -> None:
    await here.put("db", "kt-canary-db")
    providers = [here.open() for _ in range(10)]
    await asyncio.gather(*(get(provider, "db") for provider in providers))
    here.front.hush()
    asks = [asyncio.create_task(get(provider, "db")) for provider in providers for _ in range(4)]
    while here.front.count("GetSecretValue") < 50:  # noqa: ASYNC110  # it counts in another loop
        await asyncio.sleep(0.01)
    busy = [thread.name for thread in threading.enumerate() if thread.name.startswith("keyturn-aws")]
    assert len(busy) <= 6
    here.front.speak()
    assert all(isinstance(answer, Unavailable) for answer in await asyncio.gather(*asks))


def test_a_batch_is_no_larger_than_aws_takes() -> None:
    assert module.BATCH == 20
    assert module.PAGE == 100


# -- as the registry opens it, with an endpoint of a tenant's ----------------------------------------------------------------------


async def test_a_tenants_endpoint_is_dialed_by_the_rules(here: Account) -> None:
    await here.put("db", "kt-canary-db")
    provider = here.open(rules=LOOPBACK_ALONE, endpoint=here.front.url)
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    asked = len(here.front.asked)
    error = await get(here.open(rules=AddressRules(), endpoint=here.front.url), "db")
    assert (type(error), str(error)) == (Unavailable, NO_ANSWER)
    assert len(here.front.asked) == asked


async def test_a_proxy_of_the_environment_is_for_the_clouds_own_name_and_for_no_endpoint_of_a_tenants(
    here: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    await here.put("db", "kt-canary-db")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert isinstance(await get(here.open(rules=LOOPBACK_ALONE), "db"), Unavailable)
    assert text_of(await get(here.open(rules=LOOPBACK_ALONE, endpoint=here.front.url), "db")) == "kt-canary-db"


@pytest.mark.parametrize(
    "reply",
    [
        lambda: web.json_response({"Name": "db", "SecretString": PROSE}),
        lambda: web.json_response({"kind": "Status"}, status=403),
        lambda: web.Response(text="404 page not found", status=404),
        lambda: web.Response(status=302, headers={"Location": "http://169.254.169.254/"}),
        lambda: aws([1]),
    ],
)
async def test_what_is_no_answer_of_aws_tells_a_tenant_nothing(here: Account, reply: object) -> None:
    here.front.answering = lambda _: reply()  # type: ignore[operator]  # pytest does not know
    error = await get(here.open(rules=LOOPBACK_ALONE, endpoint=here.front.url), "db")
    assert (type(error), str(error)) == (Unavailable, NO_ANSWER)


async def test_the_registry_opens_it_and_keeps_the_operators_own_identity_from_tenants(here: Account) -> None:
    await here.put("db", "kt-canary-db")
    around = Surroundings(Reach(), LOOPBACK_ALONE, here)
    order = ProviderOrder(AwsConfig("eu-west-1", here.keys(), endpoint=here.front.url))
    provider = build(order, kind=Kind.SECRET_PROVIDER, around=around, namespace="shop")
    assert text_of((await provider.get_many([SourceRef("db")]))[SourceRef("db")]) == "kt-canary-db"
    await provider.close()
    for kind, own in (
        (Kind.SECRET_PROVIDER, AwsConfig("eu-west-1", OwnLogin())),
        (Kind.CLUSTER_SECRET_PROVIDER, AwsConfig("eu-west-1", OwnLogin(), endpoint=here.front.url)),
    ):
        with pytest.raises(Rejected, match="operator's own identity"):
            build(ProviderOrder(own), kind=kind, around=around, namespace="shop")


async def test_an_endpoint_without_tls_is_refused_unless_a_flag_allows_it(here: Account) -> None:
    order = ProviderOrder(AwsConfig("eu-west-1", here.keys(), endpoint=here.front.url))
    with pytest.raises(Rejected, match=r"awsSecretsManager\.endpoint: http would send"):
        build(order, kind=Kind.SECRET_PROVIDER, around=Surroundings(Reach(), AddressRules(), here), namespace="shop")
