"""A tenant's Vault that is none: whatever listens there, its answers are the silence of an address where nothing does."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from canary import Canary
from contract.answers import get
from contract.conftest import LOOPBACK_ALONE
from contract.vaults import Rig, front, password
from keyturn.model.errors import AuthFailed, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.vault import TokenLogin
from keyturn.providers.dial import CONNECT_S, LIMIT, NO_ANSWER
from keyturn.providers.vault import VALUE_LIMIT, VaultProvider

PROSE = "kt-canary-prose"
ALIKE = 2  # times: as far as failures may lie apart on a busy machine


def long(begin: str, size: int) -> web.Response:
    return web.Response(text=begin + PROSE * (size // len(PROSE) + 1), content_type="application/json")


NO_VAULTS: dict[str, Callable[[], web.Response]] = {
    "a welcome page": lambda: web.Response(text=f"<p>{PROSE}</p>"),
    "an empty page": web.Response,
    "nothing": lambda: web.Response(status=204),
    "a part": lambda: web.json_response({"data": PROSE}, status=206),
    "bad request": lambda: web.Response(status=400, text=PROSE),
    "a page that asks for a log-in": lambda: web.Response(status=401, text=PROSE),
    "another API's refusal": lambda: web.json_response({"kind": "Status", "message": PROSE}, status=403),
    "a missing page": lambda: web.Response(status=404, text=PROSE),
    "a method that is not allowed": lambda: web.Response(status=405, text=PROSE),
    "a pause": lambda: web.Response(status=429, text=PROSE, headers={"Retry-After": "7"}),
    "a failure": lambda: web.Response(status=500, text=PROSE),
    "a gateway's page": lambda: web.Response(status=502, text=PROSE),
    "a page of a server that is not ready": lambda: web.Response(status=503, text=PROSE),
    "a registry's errors": lambda: web.json_response({"errors": [{"code": "UNAUTHORIZED", "message": PROSE}]}, status=401),
    "a number": lambda: web.json_response(7),
    "the beginning of an envelope": lambda: web.Response(text='{"request_id":"a"', content_type="application/json"),
    "a depth": lambda: web.Response(text='{"request_id":"a","data":' + "[" * 30_000, content_type="application/json"),
    "no text": lambda: web.Response(body=b'{"request_id":"\xff' + PROSE.encode() + b'"}'),
    "a long page": lambda: long("<p>", 2 * LIMIT),
    "a page that is too long": lambda: long("<p>", VALUE_LIMIT + 1),
    "a redirect": lambda: web.Response(status=307, headers={"Location": f"https://127.0.0.1/{PROSE}"}),
}


def tenants(rig: Rig, login: TokenLogin | None = None, **config: object) -> VaultProvider:
    return rig.open(login, rules=LOOPBACK_ALONE, **config)


async def failed(call: Awaitable[object]) -> float:
    """How long it took to fail as if nobody were there."""
    begun = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable) as failure:
        await call
    error = failure.value
    assert (str(error), error.__cause__, error.__context__, error.retry_after) == (NO_ANSWER, None, None, None)
    return asyncio.get_running_loop().time() - begun


async def raised(provider: VaultProvider, key: str = "db") -> None:
    answer = await get(provider, key)
    assert isinstance(answer, ProviderError)
    raise answer.with_traceback(None)


async def test_what_is_no_vault_fails_as_nobody_does_and_at_the_same_moment(rig: Rig):
    # As the path of the server, so that one front plays them all: it passes nothing on.
    cases = {f"/{number}": made for number, made in enumerate(NO_VAULTS.values())}

    def answer(request: web.Request) -> web.Response | None:
        return cases[f"/{request.path.split('/')[1]}"]()

    token = TokenLogin(rig.keep("token", "kt-canary-token"))
    async with front(rig.bao, answer) as served:
        calls = [failed(tenants(rig, server="https://127.0.0.1:1").validate())]
        for path in cases:
            server = f"{served.url}{path}"
            calls += [
                failed(tenants(rig, server=server).validate()),
                failed(tenants(rig, token, server=server).validate()),
                failed(raised(tenants(rig, token, server=server))),
            ]
        took = await asyncio.gather(*calls)
        await rig.close()
    assert len(served.asked) == 3 * len(cases)
    assert min(took) >= CONNECT_S
    assert max(took) < ALIKE * min(took)


async def test_an_admin_is_told_at_once(rig: Rig):
    async with front(rig.bao, lambda _: web.Response(text=PROSE)) as served:
        assert await failed(rig.open(server=served.url).validate()) < CONNECT_S
        await rig.close()


async def test_the_answers_of_a_vault_are_not_kept_back(rig: Rig, canary: Canary):
    rig.put("db", value := canary("db"))
    wrong = TokenLogin(rig.keep("token", "kt-canary-token"))
    provider, stranger = tenants(rig), tenants(rig, wrong)
    begun = asyncio.get_running_loop().time()
    await provider.validate()
    assert password(await get(provider, "db")) == value
    assert isinstance(await get(provider, "missing"), NotFound)
    assert isinstance(await get(stranger, "db"), AuthFailed)
    rig.bao.seal()
    try:
        sealed = await get(provider, "db")
    finally:
        rig.bao.unseal()
    assert str(sealed) == "Vault is sealed or not ready (HTTP 503)"
    await rig.close()  # with the token's return, which a Vault answers with nothing
    assert asyncio.get_running_loop().time() - begun < CONNECT_S


async def test_a_vaults_answer_that_is_too_long_is_told_as_what_it_is(rig: Rig):
    token = TokenLogin(rig.keep("token", "kt-canary-token"))
    async with front(rig.bao, lambda _: long('{"request_id":"a","data":{"data":{"password":"', VALUE_LIMIT + 1)) as served:
        error = await get(tenants(rig, token, server=served.url), "db")
        await rig.close()
    assert isinstance(error, Invalid)
    assert "is too large" in str(error)
