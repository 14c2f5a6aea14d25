"""What the Vault provider says and does when the server is away, sealed, busy, or no Vault at all."""

import asyncio
from collections import Counter

import pytest
from aiohttp import web

from canary import Canary
from contract.answers import get
from contract.vaults import Front, Rig, asleep, front, password
from controlplane.servers import LOOPBACK
from keyturn.model.errors import AccessDenied, AuthFailed, Invalid, NotFound, ProviderError, Throttled, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.providers.each import AT_ONCE
from keyturn.providers.vault import VALUE_LIMIT

PROSE = "kt-canary-prose"
MANY = [SourceRef(f"key{number}") for number in range(64)]
NO_ANSWER = "the server gave no answer"
REDIRECT = f"{NO_ANSWER}: its answer is a redirect or none at all (307)"


async def test_a_dead_server_costs_one_connection_for_64_references(rig: Rig):
    taken = 0

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        taken += 1
        writer.transport.abort()

    server = await asyncio.start_server(take, LOOPBACK, 0)
    async with server:
        provider = rig.open(server=f"https://{LOOPBACK}:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(Unavailable, match="gave no answer: the connection was cut"):
            await provider.get_many(MANY)
    assert taken == 1


async def test_a_server_that_was_killed_is_unavailable_and_comes_back_with_the_same_token(rig: Rig, canary: Canary):
    rig.put("db", value := canary("db"))
    provider = rig.open()
    assert password(await get(provider, "db")) == value
    rig.bao.kill()
    try:
        error = await get(provider, "db")
    finally:
        rig.bao.start()
    assert isinstance(error, Unavailable)
    assert str(error) == f"the server {rig.bao.url.removeprefix('https://')} gave no answer: nobody listens there"
    mark = rig.bao.mark()
    assert password(await get(provider, "db")) == value
    assert not any("login" in each.path for each in rig.bao.asked(mark))


async def test_a_sealed_server_is_unavailable(rig: Rig, canary: Canary):
    rig.put("db", value := canary("db"))
    known, new = rig.open(), rig.open()
    assert password(await get(known, "db")) == value
    rig.bao.seal()
    try:
        errors = [await get(known, "db"), await get(new, "db")]
    finally:
        rig.bao.unseal()
    for error in errors:
        assert isinstance(error, Unavailable)
        assert str(error) == "Vault is sealed or not ready (HTTP 503)"
    assert password(await get(known, "db")) == value
    assert password(await get(new, "db")) == value


async def test_a_server_that_hangs_is_given_up_and_asked_again(rig: Rig, canary: Canary):
    rig.put("db", value := canary("db"))
    provider = rig.open()
    assert password(await get(provider, "db")) == value
    async with asleep(rig.bao):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await provider.get_many(MANY)
    assert password(await get(provider, "db")) == value


async def test_a_server_that_asks_for_a_pause_is_throttled_with_its_seconds(rig: Rig, canary: Canary):
    rig.put("key0", canary("db"))
    provider = rig.open()
    await provider.validate()
    rig.bao.limit_rate(rig.name, rig.mount, 1, "10s")
    try:
        assert isinstance(await get(provider, "key0"), Value)
        mark = rig.bao.mark()
        with pytest.raises(Throttled) as raised:
            await provider.get_many(MANY)
    finally:
        rig.bao.unlimit_rate(rig.name)
    assert raised.value.retry_after
    assert 0 < raised.value.retry_after <= 10
    assert len(rig.bao.asked(mark)) <= 1  # what is over the limit is not in the server's log


async def test_a_server_that_dies_among_many_reads_is_not_asked_for_the_rest(rig: Rig, canary: Canary):
    rig.put("key0", canary("db"))

    def answer(request: web.Request) -> web.Response | None:
        return None if "/data/" not in request.path or request.path.endswith("/key0") else web.Response(status=502, text=PROSE)

    async with front(rig.bao, answer) as served:
        provider = rig.open(server=served.url)
        answers = await provider.get_many(MANY)
        await provider.close()
    assert set(answers) == set(MANY)
    assert Counter(type(answer) for answer in answers.values()) == {Value: 1, Unavailable: 63}
    assert sum("/data/" in path for _, path, _ in served.asked) <= 1 + AT_ONCE


def vaults(status: int, **more: object) -> web.Response:
    return web.json_response({"errors": [f"{PROSE}: permission denied"]} | more, status=status)


ANSWERS: dict[str, tuple[web.Response, type[ProviderError], str]] = {
    "bad request": (vaults(400), Invalid, "Vault cannot make sense of the key db (HTTP 400); check path, version and key"),
    "denied": (vaults(403, request_id="abc-1"), AccessDenied, "Vault refuses this identity the key db (request abc-1)"),
    "unauthorized": (vaults(401), AccessDenied, "Vault refuses this identity the key db"),
    "not allowed": (vaults(405), Invalid, "Vault cannot make sense of the key db (HTTP 405); check path, version and key"),
    "behind": (vaults(412), Unavailable, "this node of Vault is behind the others (HTTP 412)"),
    "standby": (vaults(473), Unavailable, "this node of Vault is behind the others (HTTP 473)"),
    "throttled without seconds": (vaults(429), Throttled, "Vault asks for a pause"),
    "failed": (vaults(500, request_id="abc-2"), Unavailable, "Vault failed (HTTP 500) (request abc-2)"),
    "sealed": (vaults(503), Unavailable, "Vault is sealed or not ready (HTTP 503)"),
    "another engine": (
        web.json_response({"request_id": "abc-3", "data": {"password": PROSE}}),
        Invalid,
        "the engine of db does not answer as version 2 does; set the provider's version (request abc-3)",
    ),
    "a list for data": (
        web.json_response({"request_id": "r", "data": {"data": [PROSE], "metadata": {"version": 1}}}),
        Invalid,
        "db holds no JSON object",
    ),
    "a proxy's page": (web.Response(status=502, text=f"<p>{PROSE}</p>"), Unavailable, NO_ANSWER),
    "a welcome page": (web.Response(text=f"<p>{PROSE}</p>"), Unavailable, NO_ANSWER),
    "another API": (web.json_response({"kind": "Status", "message": PROSE}, status=403), Unavailable, NO_ANSWER),
    "a number": (web.json_response(7), Unavailable, NO_ANSWER),
    "no text": (web.Response(body=b'{"request_id":"\xff' + PROSE.encode() + b'"}'), Unavailable, NO_ANSWER),
    "a missing page": (web.Response(status=404, text=PROSE), Unavailable, NO_ANSWER),
    "a redirect": (web.Response(status=307, headers={"Location": f"https://{LOOPBACK}/{PROSE}"}), Unavailable, REDIRECT),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_what_an_answer_means_is_said_in_words_of_ours(rig: Rig, case: str):
    made, kind, text = ANSWERS[case]

    def answer(request: web.Request) -> web.Response | None:
        return web.Response(status=made.status, headers=made.headers, body=made.body) if "/data/" in request.path else None

    async with front(rig.bao, answer) as served:
        provider = rig.open(server=served.url)
        error = await get(provider, "db")
        await provider.close()
    assert type(error) is kind
    assert str(error) == text.replace(
        "the server", f"the server {served.url.removeprefix('https://')}" if text == REDIRECT else "the server"
    )
    assert PROSE not in repr(error)
    assert error.__cause__ is None
    assert error.__context__ is None


async def test_a_value_that_is_too_large_is_invalid_and_its_neighbours_are_read(rig: Rig, canary: Canary):
    rig.put("db", value := canary("db"))

    def answer(request: web.Request) -> web.Response | None:
        return web.Response(body=b'{"request_id":"' + b"x" * VALUE_LIMIT) if request.path.endswith("/large") else None

    async with front(rig.bao, answer) as served:
        provider = rig.open(server=served.url)
        answers = await provider.get_many([SourceRef("large"), SourceRef("db")])
        await provider.close()
    assert isinstance(large := answers[SourceRef("large")], Invalid)
    assert str(large) == "large is too large: Vault's answer has more than 1536 KiB"
    assert password(answers[SourceRef("db")]) == value


ENTRIES: dict[str, tuple[web.Response, type[ProviderError], str]] = {
    "second factor": (web.json_response({"request_id": "r", "auth": {"client_token": ""}}), AuthFailed, "does it ask for a second factor?"),
    "no token": (web.json_response({"request_id": "r"}), AuthFailed, "gave no token"),
    "two lines": (web.json_response({"request_id": "r", "auth": {"client_token": f"a\n{PROSE}"}}), AuthFailed, "gave no token"),
    "a number": (web.json_response({"request_id": "r", "auth": {"client_token": 7}}), Unavailable, NO_ANSWER),
    "failed": (vaults(500), Unavailable, "Vault failed (HTTP 500)"),
    "throttled": (vaults(429), Throttled, "Vault asks for a pause"),
    "a page": (web.Response(status=403, text=PROSE), Unavailable, NO_ANSWER),
}


@pytest.mark.parametrize("case", ENTRIES)
async def test_what_the_answer_to_a_log_in_means_is_said_in_words_of_ours(rig: Rig, case: str):
    made, kind, text = ENTRIES[case]

    def answer(request: web.Request) -> web.Response | None:
        return web.Response(status=made.status, headers=made.headers, body=made.body) if request.path.endswith("/login") else None

    async with front(rig.bao, answer) as served:
        provider = rig.open(server=served.url)
        error = await get(provider, "db")
        await provider.close()
    assert type(error) is kind
    assert text in str(error)
    assert PROSE not in repr(error)


@pytest.mark.parametrize("path", ["lookup-self", "renew-self"])
async def test_a_server_that_fails_in_between_is_unavailable_and_costs_no_log_in(rig: Rig, canary: Canary, path: str):
    rig.put("db", value := canary("db"))
    is_sick = False

    def answer(request: web.Request) -> web.Response | None:
        return vaults(500) if is_sick and request.path.endswith(path) else None

    async with front(rig.bao, answer) as served:
        provider = rig.open(rig.approle(token_ttl="60s", token_max_ttl="10m"), server=served.url)
        assert password(await get(provider, "db")) == value
        is_sick = True
        rig.now_s += 41
        with pytest.raises(Unavailable, match=r"HTTP 500"):
            await provider.validate()
        is_sick = False
        await provider.validate()
        assert password(await get(provider, "db")) == value
        await provider.close()
    assert sum(each.endswith("/login") for _, each, _ in served.asked) == 1


async def test_many_reads_go_out_together_and_no_more_at_once_than_16(rig: Rig, canary: Canary):
    running = most = 0

    class Counting(Front):
        async def serve(self, request: web.Request) -> web.StreamResponse:
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                return await super().serve(request)
            finally:
                running -= 1

    for ref in MANY[:3]:
        rig.put(ref.key, canary(ref.key))
    async with front(rig.bao, lambda _: None, Counting) as served:
        provider = rig.open(server=served.url)
        answers = await provider.get_many(MANY)
        await provider.close()
    assert Counter(type(answer) for answer in answers.values()) == {Value: 3, NotFound: 61}
    assert 1 < most <= AT_ONCE


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_a_failed_look_up_of_the_token_says_nothing_of_the_key(rig: Rig, status: int):
    """Above all not that it is gone: a Secret may be deleted for that."""

    def answer(request: web.Request) -> web.Response | None:
        if request.path.endswith("lookup-self"):
            return vaults(status)
        return vaults(403) if "/data/" in request.path else None

    async with front(rig.bao, answer) as served:
        provider = rig.open(server=served.url)
        error = await get(provider, "db")
        await provider.close()
    assert type(error) is AuthFailed
    assert str(error) == "Vault refuses this identity the look-up of its token; check the log-in's namespace"
