"""The operator's own identity on EKS, by IRSA and by Pod Identity: what is in the pod's token files counts, and they change."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from contract.answers import get, text_of
from contract.aws import Account, account, refused
from contract.aws_agent import FIRST, Agent, agency
from contract.aws_sts import AUDIENCE, Role
from contract.vaults import Signer
from keyturn.model.aws import OwnLogin
from keyturn.model.errors import Unavailable

ROLE = "arn:aws:iam::123456789012:role/keyturn"
SUBJECT = "system:serviceaccount:keyturn-system:keyturn"
SECOND = "kt-canary-second-token"
LOOK_S = 61
"""After so long the SDK is asked again."""


@pytest.fixture
async def here() -> AsyncIterator[Account]:
    async with account() as made:
        await made.put("db", "kt-canary-db")
        yield made


async def write(place: Path, text: str | None) -> None:
    """None: it is not there any more."""
    await asyncio.to_thread(place.unlink) if text is None else await asyncio.to_thread(place.write_text, text)


# -- IRSA --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(here: Account) -> Signer:
    """Whose keys AWS knows, and whose operator a role trusts."""
    made = Signer()
    here.front.sts.roles[ROLE] = Role(issuer=made.public_key, subject=SUBJECT)
    return made


@pytest.fixture
def projected(cluster: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The token of the operator's pod, and what EKS's webhook sets beside it."""
    place = tmp_path / "token"
    place.write_text(cluster.sign(SUBJECT, (AUDIENCE,)))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(place))
    return place


async def test_irsa_exchanges_what_is_in_the_file_at_each_renewal(here: Account, cluster: Signer, projected: Path) -> None:
    here.front.sts.life_s = 60
    provider = here.open(OwnLogin())
    tokens = [await asyncio.to_thread(projected.read_text), *(cluster.sign(SUBJECT, (AUDIENCE,), jti=jti) for jti in "ab")]
    for token in tokens:
        await write(projected, token)
        assert text_of(await get(provider, "db")) == "kt-canary-db"
        here.front.sts.end_sessions()
        here.now_s += LOOK_S
    brought = [each["WebIdentityToken"] for each in here.front.sts.sessions]
    assert list(dict.fromkeys(brought)) == tokens
    assert {each["RoleArn"] for each in here.front.sts.sessions} == {ROLE}


async def test_irsa_takes_the_new_token_where_aws_ends_a_session_before_its_time(here: Account, cluster: Signer, projected: Path) -> None:
    provider = here.open(OwnLogin())
    await get(provider, "db")
    await write(projected, second := cluster.sign(SUBJECT, (AUDIENCE,), jti="b"))
    here.front.sts.end_sessions()
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    assert [each["WebIdentityToken"] for each in here.front.sts.sessions][-1] == second


@pytest.mark.parametrize(
    "claims", [{"exp": 1000}, {"aud": ["vault"]}, {"sub": "system:serviceaccount:shop:keyturn"}], ids=["ended", "audience", "subject"]
)
async def test_irsa_is_as_good_as_the_token_in_the_file(here: Account, cluster: Signer, projected: Path, claims: dict[str, object]) -> None:
    good = await asyncio.to_thread(projected.read_text)
    await write(projected, cluster.sign(SUBJECT, (AUDIENCE,), **claims))
    says = f"AWS does not let this process be the role {ROLE} ("
    await refused(here, says, login=OwnLogin())
    await refused(here, "check that it is there, its trust policy and its OIDC provider", login=OwnLogin())
    await write(projected, Signer().sign(SUBJECT, (AUDIENCE,)))
    await refused(here, says, login=OwnLogin())
    assert here.front.sts.sessions == []
    await write(projected, good)
    assert text_of(await get(here.open(OwnLogin()), "db")) == "kt-canary-db"


async def test_irsa_without_its_file_is_no_identity(here: Account, projected: Path) -> None:
    await write(projected, None)
    await refused(here, "the file that AWS_WEB_IDENTITY_TOKEN_FILE names cannot be read", login=OwnLogin())


async def test_a_role_that_is_not_there_is_told_by_its_name(here: Account, projected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ROLE_ARN", f"{ROLE}s")
    await refused(here, f"AWS does not let this process be the role {ROLE}s (", login=OwnLogin())


async def test_a_profile_that_is_not_there_is_told_by_its_variable(here: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "shpo")
    await refused(here, "AWS_PROFILE names no profile", login=OwnLogin())


# -- Pod Identity ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def agent(here: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    with agency(here.front.sts) as made:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", made.url)
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "pod"))
        yield made


@pytest.fixture
def mounted(agent: Agent, tmp_path: Path) -> Path:
    """The pod's token for the agent."""
    (tmp_path / "pod").write_text(FIRST)
    return tmp_path / "pod"


async def test_the_agent_is_brought_what_is_in_the_file_at_each_renewal(here: Account, agent: Agent, mounted: Path) -> None:
    agent.life_s = 60
    provider = here.open(OwnLogin())
    for token in (FIRST, SECOND, "kt-canary-third-token"):
        await write(mounted, token)
        agent.token = token
        agent.renew()
        here.now_s += LOOK_S
        assert text_of(await get(provider, "db")) == "kt-canary-db"
    assert list(dict.fromkeys(agent.brought)) == [FIRST, SECOND, "kt-canary-third-token"]


async def test_keys_that_aws_does_not_take_any_more_are_asked_for_anew_by_the_new_token(here: Account, agent: Agent, mounted: Path) -> None:
    provider = here.open(OwnLogin())
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    await get(provider, "db")
    assert agent.brought == [FIRST]
    await write(mounted, SECOND)
    agent.token = SECOND
    agent.renew()
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    assert agent.brought == [FIRST, SECOND]


async def test_an_agent_that_gives_nothing_for_a_token_is_an_outage_until_the_file_has_the_right_one(
    here: Account, agent: Agent, mounted: Path
) -> None:
    agent.token = SECOND
    error = await get(here.open(OwnLogin()), "db")
    assert type(error) is Unavailable
    assert "kt-canary" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"
    await write(mounted, SECOND)
    assert text_of(await get(here.open(OwnLogin()), "db")) == "kt-canary-db"


@pytest.mark.parametrize("says", [b"{}", b"[]", b'{"AccessKeyId": 7}', b"kt-canary-prose", b"null"], ids=str)
async def test_an_agent_that_talks_nonsense_gives_no_identity(here: Account, agent: Agent, mounted: Path, says: bytes) -> None:
    agent.says = says
    error = await get(here.open(OwnLogin()), "db")
    assert type(error) is Unavailable, error
    assert "kt-canary" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"


@pytest.mark.parametrize("text", [None, f"{FIRST}\n"], ids=["no file", "two lines"])
async def test_a_token_file_that_holds_no_token_is_no_identity(here: Account, agent: Agent, mounted: Path, text: str | None) -> None:
    await write(mounted, text)
    await refused(here, "there is no AWS identity here", login=OwnLogin())
    assert agent.brought == []


async def test_both_ways_at_once_are_the_role_of_irsa(here: Account, agent: Agent, mounted: Path, projected: Path) -> None:
    assert text_of(await get(here.open(OwnLogin()), "db")) == "kt-canary-db"
    assert (len(here.front.sts.sessions), agent.brought) == (1, [])
