"""Log-ins to AWS by keys and by roles, at a fake STS and Secrets Manager that check signatures and trust policies."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from contract.answers import get, text_of
from contract.aws import KEY_ID, PROSE, REQUEST, ROLE, SECRET, USER, Account, account, refusal, refused
from contract.aws_rules import RefusedError
from contract.aws_sts import Identity, Role, spelled
from keyturn.decide.address import AddressRules
from keyturn.model.aws import AssumedRole, KeysLogin
from keyturn.model.errors import ProviderError, Throttled, Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount
from keyturn.providers.aws_login import called, session_name
from keyturn.providers.names import LookUps

OTHER = "arn:aws:iam::123456789012:role/other"


@pytest.fixture
async def here() -> AsyncIterator[Account]:
    async with account() as made:
        await made.put("db", "kt-canary-db")
        yield made


# -- keys --------------------------------------------------------------------------------------------------------------------------


async def test_keys_in_secrets_may_end_in_a_line_break(here: Account) -> None:
    login = here.keys(f"{KEY_ID}\n", f" {SECRET}\n")
    assert text_of(await get(here.open(login), "db")) == "kt-canary-db"


async def test_wrong_keys_are_named_and_not_told(here: Account) -> None:
    login = here.keys(KEY_ID, "kt-canary-wrong")
    await refused(here, f"the access key in {login.key_id}", login=login)
    login = here.keys("AKIANOBODYKNOWSTHIS1")
    await refused(here, f"the access key in {login.key_id}", login=login)


@pytest.mark.parametrize("word", [b"", b" \n", b"two words", b"\xff", b"a\r\nHost: b"])
async def test_what_no_header_takes_is_no_credential(here: Account, word: bytes) -> None:
    login = here.keys()
    here.secrets[login.secret] = Sensitive(word)
    await refused(here, "holds no credential", login=login)
    assert here.front.asked == []


async def test_a_secret_that_is_missing_is_named(here: Account) -> None:
    login = here.keys()
    del here.secrets[login.secret]
    await refused(here, f"there is no {login.secret}", login=login)


async def test_keys_that_are_replaced_are_taken_up_once_the_old_ones_are_refused(here: Account) -> None:
    login = here.keys()
    provider = here.open(login)
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    here.front.sts.identities["AKIANEW0000000000001"] = Identity("kt-canary-new-key", USER)
    del here.front.sts.identities[KEY_ID]
    here.secrets |= {login.key_id: Sensitive(b"AKIANEW0000000000001"), login.secret: Sensitive(b"kt-canary-new-key")}
    asked = here.front.count("GetSecretValue")
    answers = await asyncio.gather(*(get(provider, "db") for _ in range(20)))
    assert [text_of(answer) for answer in answers] == ["kt-canary-db"] * 20
    assert here.front.count("GetSecretValue") <= asked + 40


async def test_temporary_keys_come_with_their_token(here: Account) -> None:
    here.front.sts.identities["ASIATEMPORARY0000001"] = Identity("kt-canary-temporary", USER, "kt-canary-token")
    login = here.keys("ASIATEMPORARY0000001", "kt-canary-temporary")
    await refused(here, "renew it", login=login)
    whole = KeysLogin(login.key_id, login.secret, here.keep("token", "kt-canary-token\n"))
    assert text_of(await get(here.open(whole), "db")) == "kt-canary-db"
    here.front.sts.end_sessions()
    await refused(here, "renew it", login=whole)


# -- a role on top -----------------------------------------------------------------------------------------------------------------


async def test_a_role_is_assumed_once_for_many_with_its_external_id_and_tags(here: Account) -> None:
    here.front.sts.roles[OTHER] = Role({USER}, external_id="me/2")
    provider = here.open(role=AssumedRole(OTHER, "me/2", (("team", "shop"), ("tier", "one two"))))
    answers = await asyncio.gather(*(get(provider, "db") for _ in range(20)))
    assert [text_of(answer) for answer in answers] == ["kt-canary-db"] * 20
    [asked] = here.front.sts.sessions
    assert (asked["RoleSessionName"], asked["DurationSeconds"]) == ("keyturn-shop", "3600")
    [session] = [each for each in here.front.sts.identities.values() if each.token]
    assert session.tags == {"team": "shop", "tier": "one two"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (called(ServiceAccount("shop", "prod-x")), called(ServiceAccount("shop-prod", "x"))),
        (called(ServiceAccount("shop", "prod")), "shop-prod"),
        (called(ServiceAccount("n" * 63, "x")), called(ServiceAccount("n" * 63, "y"))),
        (called(ServiceAccount("n" * 63, "x")), "n" * 63),
        (called(ServiceAccount("n", "x" * 253)), called(ServiceAccount("n", "x" * 252 + "y"))),
    ],
)
def test_no_two_have_a_session_of_one_name(one: str, other: str) -> None:
    names = [session_name(one), session_name(other)]
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"[\w+=,.@-]{2,64}", name, re.ASCII) for name in names)


@pytest.mark.parametrize("is_tenants", [True, False])
async def test_a_tenants_region_is_looked_up_among_what_tenants_chose(
    here: Account, monkeypatch: pytest.MonkeyPatch, *, is_tenants: bool
) -> None:
    here.front.sts.roles[OTHER] = Role({USER})
    await here.put("db", "kt-canary-db")
    asked = list[tuple[str, str]]()

    class Told(LookUps):
        async def ask(self, asker: str, host: str, family: int) -> list[str]:
            asked.append((asker, host))
            return await super().ask(asker, host, family)

    lookups = {"FOR_TENANTS": Told(), "FOR_ADMINS": Told()}
    for name in ("SECRETS_MANAGER", "STS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", here.front.url.replace("127.0.0.1", "localhost"))
    for name, made in lookups.items():
        monkeypatch.setattr(f"keyturn.providers.dial.{name}", made)
    rules = AddressRules() if is_tenants else None
    assert text_of(await get(here.open(role=AssumedRole(OTHER), rules=rules), "db")) == "kt-canary-db"
    assert asked == [("shop" if is_tenants else "localhost", "localhost")] * 2


async def test_a_role_that_does_not_trust_us_is_named(here: Account) -> None:
    here.front.sts.roles[OTHER] = Role({USER}, external_id="me/2")
    for role in (AssumedRole(OTHER), AssumedRole(OTHER, "another"), AssumedRole(f"{OTHER}-none")):
        await refused(here, f"assume the role {role.arn}; check the role's trust policy", role=role)


async def test_wrong_keys_are_told_from_a_role_that_does_not_trust_them(here: Account) -> None:
    login = here.keys(KEY_ID, "kt-canary-wrong")
    await refused(here, f"AWS does not know the access key in {login.key_id}", login=login, role=AssumedRole(ROLE))


async def test_a_session_is_renewed_at_two_thirds_of_its_life(here: Account) -> None:
    provider = here.open(role=AssumedRole(ROLE))
    await get(provider, "db")
    here.now_s += 2399
    await get(provider, "db")
    assert len(here.front.sts.sessions) == 1
    here.now_s += 2
    await asyncio.gather(*(get(provider, "db") for _ in range(20)))
    assert len(here.front.sts.sessions) == 2


async def test_a_session_that_cannot_be_renewed_is_used_to_its_end_and_no_longer(here: Account) -> None:
    provider = here.open(role=AssumedRole(ROLE))
    await get(provider, "db")
    sts, here.front.sts.roles = here.front.sts.roles, {}
    here.front.answering = lambda operation: refusal("InternalFailure", 500) if operation == "AssumeRole" else None
    here.now_s += 2401
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    here.now_s += 1200
    assert isinstance(await get(provider, "db"), Unavailable)
    here.front.sts.roles = sts


async def test_a_session_that_has_ended_costs_one_new_one_and_nobody_sees_it(here: Account) -> None:
    provider = here.open(role=AssumedRole(ROLE))
    await get(provider, "db")
    here.front.sts.end_sessions()
    answers = await asyncio.gather(*(get(provider, "db") for _ in range(20)))
    assert [text_of(answer) for answer in answers] == ["kt-canary-db"] * 20
    assert len(here.front.sts.sessions) == 2


@pytest.mark.parametrize(("code", "status", "kind"), [("Throttling", 400, Throttled), ("InternalFailure", 500, Unavailable)])
async def test_a_log_in_that_meets_trouble_is_no_refusal(here: Account, code: str, status: int, kind: type[ProviderError]) -> None:
    text = spelled(RefusedError(code), PROSE)
    here.front.answering = lambda _: web.Response(text=text, status=status, content_type="text/xml", headers=REQUEST)
    assert type(await get(here.open(role=AssumedRole(ROLE)), "db")) is kind
