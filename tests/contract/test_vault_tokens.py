"""The life of a token: one log-in for all who wait, renewal, the end that renewal does not move, and sudden death."""

import asyncio
import time

import pytest

from canary import Canary
from contract.answers import get
from contract.sources import until
from contract.vaults import Front, Rig, asleep, front, password
from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.model.vault import TokenLogin
from keyturn.providers.vault import VaultProvider

DB = SourceRef("db")


@pytest.fixture
def value(rig: Rig, canary: Canary) -> str:
    rig.put("db", value := canary("db"))
    return value


def logins(rig: Rig, since: int) -> int:
    return sum(each.path.startswith("auth/") and each.path.endswith("/login") for each in rig.bao.asked(since))


def renewals(rig: Rig, since: int) -> int:
    return len(rig.bao.asked(since, path="auth/token/renew-self"))


async def test_many_that_wait_share_one_log_in(rig: Rig, value: str):
    provider = rig.open()
    mark = rig.bao.mark()
    answers = await asyncio.gather(*(provider.get_many([DB]) for _ in range(20)), *(provider.validate() for _ in range(5)))
    assert [password(answer[DB]) for answer in answers[:20] if answer] == [value] * 20
    assert logins(rig, mark) == 1


async def test_many_that_wait_share_one_failed_log_in(rig: Rig):
    login = rig.approle()
    rig.keep(login.secret_id.name, "kt-canary-wrong")
    rig.secrets[login.secret_id] = rig.secrets.pop(rig.keep("wrong", "kt-canary-wrong"))
    provider = rig.open(login)
    mark = rig.bao.mark()
    errors = await asyncio.gather(*(get(provider, "db") for _ in range(20)))
    assert {type(error) for error in errors} == {AuthFailed}
    assert len({id(error) for error in errors}) == 20
    assert logins(rig, mark) == 1


async def test_one_who_gives_up_does_not_take_the_log_in_from_the_others(rig: Rig, value: str):
    provider = rig.open()
    first, second = (asyncio.create_task(provider.get_many([DB])) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert password((await second)[DB]) == value
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_closing_ends_a_log_in_that_is_on_its_way(rig: Rig, value: str):
    provider = rig.open()
    async with asleep(rig.bao):
        waiting = asyncio.create_task(provider.get_many([DB]))
        await until(lambda: any("approle" in ref.name for ref in rig.reads))
        await provider.close()
        with pytest.raises(Unavailable, match="closed"):
            await waiting


async def test_a_token_is_renewed_at_two_thirds_and_not_before(rig: Rig, value: str):
    provider = rig.open(rig.approle(token_ttl="60s", token_max_ttl="10m"))
    mark = rig.bao.mark()
    assert password(await get(provider, "db")) == value
    rig.now_s += 39
    assert password(await get(provider, "db")) == value
    assert (logins(rig, mark), renewals(rig, mark)) == (1, 0)
    rig.now_s += 2
    answers = await asyncio.gather(*(get(provider, "db") for _ in range(10)))
    assert {password(answer) for answer in answers} == {value}
    assert (logins(rig, mark), renewals(rig, mark)) == (1, 1)
    rig.now_s += 39
    assert password(await get(provider, "db")) == value
    assert (logins(rig, mark), renewals(rig, mark)) == (1, 1)


async def test_a_token_in_use_lives_on_by_the_servers_own_clock(rig: Rig, value: str):
    """By no clock of the test: a lease of 3 s, read from for three times as long."""
    provider = rig.open(rig.approle(token_ttl="3s", token_max_ttl="10m"))
    mark, begun, at = rig.bao.mark(), time.monotonic(), rig.now_s
    while renewals(rig, mark) < 3:
        rig.now_s = at + time.monotonic() - begun
        assert password(await get(provider, "db")) == value
        assert time.monotonic() - begun < 60
    assert logins(rig, mark) == 1
    assert [each for each in rig.bao.asked(mark) if each.error] == []


async def test_a_token_at_the_end_that_no_renewal_moves_is_replaced(rig: Rig, value: str):
    """By no clock of the test: a renewal after four of eight seconds gives less than the six that were granted.

    Unless the log-in took two of them, after which the server counts from later than we do.
    """
    provider = rig.open(rig.approle(token_ttl="6s", token_max_ttl="8s"))
    mark, begun, at = rig.bao.mark(), time.monotonic(), rig.now_s
    while logins(rig, mark) < 3:
        rig.now_s = at + time.monotonic() - begun
        assert password(await get(provider, "db")) == value
        assert time.monotonic() - begun < 60
    assert renewals(rig, mark) == 2
    assert [each for each in rig.bao.asked(mark) if each.error] == []


async def test_a_token_that_cannot_be_renewed_is_replaced_near_its_end(rig: Rig, value: str):
    provider = rig.open(rig.approle(token_ttl="60s", token_type="batch"))
    mark = rig.bao.mark()
    assert password(await get(provider, "db")) == value
    rig.now_s += 53
    assert password(await get(provider, "db")) == value
    assert logins(rig, mark) == 1
    rig.now_s += 2
    assert password(await get(provider, "db")) == value
    assert (logins(rig, mark), renewals(rig, mark)) == (2, 0)


async def test_a_renewal_that_is_refused_is_followed_by_a_log_in(rig: Rig, value: str):
    login = rig.approle(token_ttl="60s", token_max_ttl="10m")
    provider = rig.open(login)
    assert password(await get(provider, "db")) == value
    rig.bao.revoke_logins(login.mount)
    mark = rig.bao.mark()
    rig.now_s += 41
    assert password(await get(provider, "db")) == value
    assert (logins(rig, mark), renewals(rig, mark)) == (1, 1)


async def test_a_revoked_token_costs_one_log_in_and_nobody_sees_it(rig: Rig, value: str):
    login = rig.approle()
    provider = rig.open(login)
    others = [SourceRef("db", "1"), *(SourceRef(f"missing{number}") for number in range(30))]
    assert password(await get(provider, "db")) == value
    rig.bao.revoke_logins(login.mount)
    mark = rig.bao.mark()

    answers = await asyncio.gather(*(provider.get_many([DB, *others]) for _ in range(10)))

    assert [password(answer[DB]) for answer in answers] == [value] * 10
    assert logins(rig, mark) == 1


async def test_an_expired_token_costs_one_log_in_and_nobody_sees_it(rig: Rig, value: str):
    provider = rig.open(rig.approle(token_ttl="1s"))
    assert password(await get(provider, "db")) == value
    deadline = time.monotonic() + 30
    mark = rig.bao.mark()
    while not logins(rig, mark):  # our clock stands still: only the server knows that it has expired
        assert time.monotonic() < deadline
        assert password(await get(provider, "db")) == value
    assert logins(rig, mark) == 1


async def test_a_token_that_ended_by_our_clock_is_not_sent_again(rig: Rig, value: str):
    provider = rig.open(rig.approle(token_ttl="60s"))
    assert password(await get(provider, "db")) == value
    mark = rig.bao.mark()
    rig.now_s += 61
    assert password(await get(provider, "db")) == value
    assert (logins(rig, mark), renewals(rig, mark)) == (1, 0)


async def test_validate_replaces_a_dead_token(rig: Rig, value: str):
    login = rig.approle()
    provider = rig.open(login)
    await provider.validate()
    rig.bao.revoke_logins(login.mount)
    mark = rig.bao.mark()
    await provider.validate()
    assert logins(rig, mark) == 1


async def test_a_dead_static_token_is_read_again_and_is_an_auth_failure_while_it_is_the_same(rig: Rig, value: str):
    ref = rig.keep("token", token := rig.bao.token([rig.policy]))
    provider = rig.open(TokenLogin(ref))
    assert password(await get(provider, "db")) == value
    rig.bao.revoke(token)
    for _ in range(2):
        error = await get(provider, "db")
        assert isinstance(error, AuthFailed)
        assert "Vault refuses the token in Secret/shop/token" in str(error)
    rig.keep("token", rig.bao.token([rig.policy]))
    assert password(await get(provider, "db")) == value


async def test_a_new_authority_and_new_credentials_are_read_by_a_provider_that_is_opened_anew(rig: Rig, value: str):
    login = rig.approle()
    good = rig.secrets[login.secret_id]
    rig.secrets[login.secret_id] = rig.secrets[rig.keep("wrong", "kt-canary-wrong")]
    assert isinstance(await get(rig.open(login), "db"), AuthFailed)
    rig.secrets[login.secret_id] = good
    assert password(await get(rig.open(login), "db")) == value


async def test_closing_waits_a_second_at_most_for_a_server_that_does_not_answer(rig: Rig, value: str):
    provider = rig.open()
    assert isinstance(await get(provider, "db"), Value)
    async with asleep(rig.bao):
        begun = time.monotonic()
        await provider.close()
        assert time.monotonic() - begun < 5


async def test_secrets_go_in_headers_and_bodies_alone(rig: Rig, value: str):
    async with front(rig.bao, lambda _: None) as served:
        provider: VaultProvider = rig.open(server=served.url)
        await provider.validate()
        assert password(await get(provider, "db")) == value
        await provider.close()
    assert_clean(served, rig)


def assert_clean(served: Front, rig: Rig) -> None:
    paths = " ".join(path for _, path, _ in served.asked)
    assert "revoke-self" in paths
    for secret in rig.secrets.values():
        assert secret.reveal().decode() not in paths
    for verb, path, headers in served.asked:
        assert headers["X-Vault-Request"] == "true", (verb, path)
        assert ("X-Vault-Token" in headers) == (not path.endswith("/login"))
        token = headers.get("X-Vault-Token", "none")
        assert token not in paths
