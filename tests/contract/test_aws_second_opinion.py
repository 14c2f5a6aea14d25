"""What our AWS provider makes of a fake that others wrote, MiniStack: no rule of it is ours, so that no misunderstanding of ours is in it.

Where it is known to differ from what AWS documents, our assertion says what AWS does, and is expected to fail: if it ever passes,
the difference is gone.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from contract.answers import get, read, text_of
from contract.ministack import REGION, Account, MiniStack
from controlplane.servers import LOOPBACK
from keyturn.model.aws import AssumedRole
from keyturn.model.errors import AccessDenied, AuthFailed, Conflict, NotFound
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, SourceRef
from keyturn.model.sensitive import Sensitive
from keyturn.providers.aws_writer import AwsWriter

# The first time it is fetched.
pytestmark = pytest.mark.timeout(600)

TOKENS = [f"second-opinion-{number:032d}" for number in range(10)]
OLD, NEW, NEWER = (Sensitive.of(f"kt-canary-{word}") for word in ("old", "new", "newer"))
NAMELESS = "leaves x-amzn-RequestId out where it refuses who asks, so that for us it is no answer of AWS's"


def differs(how: str) -> pytest.MarkDecorator:
    """What AWS does, and MiniStack does not."""
    return pytest.mark.xfail(strict=True, raises=(AssertionError, pytest.fail.Exception), reason=f"MiniStack {how}")


@pytest.fixture(scope="module")
def ministack() -> Iterator[MiniStack]:
    with MiniStack.run() as server:
        yield server


@pytest.fixture
async def here(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Account]:
    for name in ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.setenv(name, ministack.url)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    made = Account(ministack)
    yield made
    for provider in made.opened:
        await provider.close()


async def labels(aws: AwsWriter) -> dict[str, set[str]]:
    return {each.name: set(each.stages) for each in await aws.versions("db")}


def by_id(token: str) -> str:
    return f"uuid/{token}"


def test_it_listens_on_loopback_alone(ministack: MiniStack) -> None:
    inodes = {str(each.readlink()) for each in Path(f"/proc/{ministack.pid}/fd").iterdir()}
    listening = [
        (line.split()[1], line.split()[9])
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{ministack.pid}/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    ours = [address for address, inode in listening if f"socket:[{inode}]" in inodes]
    host = "".join(f"{int(part):02X}" for part in reversed(LOOPBACK.split(".")))
    assert ours == [f"{host}:{ministack.port:04X}"]


# -- values, versions and stages ----------------------------------------------------------------------------------------------------------


async def test_a_value_that_was_put_is_read(here: Account) -> None:
    aws = here.open()
    await aws.validate()
    assert isinstance(await get(aws), NotFound)
    assert await aws.put("db", OLD, token=TOKENS[0], tags={"team": "shop"}) == by_id(TOKENS[0])
    assert await read(aws) == await read(here.open(), "db", CURRENT) == b"kt-canary-old"
    assert [meta.tags async for meta in aws.list()] == [{"team": "shop"}]


@differs("gives the first version an id of its own, and leaves ClientRequestToken of CreateSecret unread")
async def test_the_token_of_the_first_put_is_the_versions_id(here: Account) -> None:
    aws = here.open()
    assert text_of(await get(aws, "db", await aws.put("db", OLD, token=TOKENS[0]))) == "kt-canary-old"


async def test_a_token_is_the_versions_id(here: Account) -> None:
    aws = here.open()
    await aws.put("db", OLD, token=TOKENS[0])
    assert await aws.put("db", NEW, token=TOKENS[1]) == by_id(TOKENS[1])
    assert await read(aws) == await read(aws, "db", by_id(TOKENS[1])) == b"kt-canary-new"
    assert await read(aws, "db", PREVIOUS) == b"kt-canary-old"
    assert isinstance(await get(aws, "db", by_id(TOKENS[2])), NotFound)
    assert sorted(map(sorted, (await labels(aws)).values())) == [[CURRENT], [PREVIOUS]]


async def test_a_put_that_comes_again_makes_no_version(here: Account) -> None:
    aws = here.open()
    await aws.put("db", OLD, token=TOKENS[0])
    for _ in range(2):
        assert await aws.put("db", NEW, token=TOKENS[1]) == by_id(TOKENS[1])
        assert await read(aws) == b"kt-canary-new"
    assert [name for name, stages in (await labels(aws)).items() if CURRENT in stages] == [by_id(TOKENS[1])]


@differs("makes the version of a token anew, and takes AWSPREVIOUS from the other one meanwhile")
async def test_a_put_that_comes_again_leaves_the_previous_version_where_it_is(here: Account) -> None:
    aws = here.open()
    await aws.put("db", OLD, token=TOKENS[0])
    for _ in range(2):
        await aws.put("db", NEW, token=TOKENS[1])
    assert text_of(await get(aws, "db", PREVIOUS)) == "kt-canary-old"


@differs("takes a token again with another value")
async def test_a_token_with_another_value_is_a_conflict(here: Account) -> None:
    aws = here.open()
    for token in TOKENS[:2]:
        await aws.put("db", OLD, token=token)
    with pytest.raises(Conflict):
        await aws.put("db", NEW, token=TOKENS[1])


async def test_a_value_that_waits_is_promoted_and_the_other_one_is_previous(here: Account) -> None:
    aws = here.open()
    for token, value in zip(TOKENS[:2], (OLD, NEW), strict=True):
        await aws.put("db", value, token=token)
    waits = await aws.put("db", NEWER, token=TOKENS[2], stage=PENDING)
    assert await read(aws) == b"kt-canary-new"
    assert await read(aws, "db", PENDING) == await read(aws, "db", waits) == b"kt-canary-newer"
    for _ in range(2):
        await aws.promote("db", waits)
        assert await read(aws) == await read(aws, "db", "AWSCURRENT") == b"kt-canary-newer"
        assert await read(aws, "db", PREVIOUS) == b"kt-canary-new"
        assert isinstance(await get(aws, "db", PENDING), NotFound)
    found = await labels(aws)
    assert (found[by_id(TOKENS[2])], found[by_id(TOKENS[1])]) == ({CURRENT}, {PREVIOUS})
    await aws.promote("db", by_id(TOKENS[1]))
    assert (await read(aws), await read(aws, "db", PREVIOUS)) == (b"kt-canary-new", b"kt-canary-newer")


async def test_a_version_that_is_not_there_is_not_promoted(here: Account) -> None:
    aws = here.open()
    await aws.put("db", OLD, token=TOKENS[0])
    with pytest.raises(NotFound):
        await aws.promote("db", by_id(TOKENS[5]))
    assert await read(aws) == b"kt-canary-old"


@differs("gives the version that only stands in an id of its own, so that we cannot tell it from a value")
async def test_a_first_value_that_waits_is_current_for_nobody(here: Account) -> None:
    aws = here.open()
    await aws.put("db", OLD, token=TOKENS[0], stage=PENDING)
    assert await read(aws, "db", PENDING) == b"kt-canary-old"
    assert isinstance(await get(aws), NotFound)


async def test_a_put_that_expects_a_version_takes_the_place_of_no_other(here: Account) -> None:
    aws = here.open()
    await aws.put("db", OLD, token=TOKENS[0])
    second = await aws.put("db", NEW, token=TOKENS[1])
    for expected in (by_id(TOKENS[7]), ""):
        with pytest.raises(Conflict):
            await aws.put("db", NEWER, token=TOKENS[2], expect=expected)
    assert await read(aws) == b"kt-canary-new"
    third = await aws.put("db", NEWER, token=TOKENS[3], expect=second)
    assert (await read(aws), await read(aws, "db", PREVIOUS)) == (b"kt-canary-newer", b"kt-canary-new")
    assert {name: stages for name, stages in (await labels(aws)).items() if stages} == {third: {CURRENT}, second: {PREVIOUS}}


async def test_bytes_that_are_no_text_come_back_as_they_were(here: Account) -> None:
    aws = here.open()
    raw = b"kt-canary-" + bytes(range(256))
    await aws.put("db", Sensitive(raw), token=TOKENS[0])
    await aws.put("text", Sensitive("kt-canary-ä 🔑\n".encode()), token=TOKENS[1])
    assert await read(aws) == raw
    assert await read(aws, "text") == "kt-canary-ä 🔑\n".encode()


# -- many ----------------------------------------------------------------------------------------------------------------------------------


async def test_forty_five_are_read_at_once_with_those_that_are_not_there(here: Account) -> None:
    aws = here.open()
    for number in range(45):
        await aws.put(f"many/{number:02d}", Sensitive.of(f"kt-canary-{number}"), token=TOKENS[0])
    refs = [SourceRef(f"many/{number:02d}") for number in range(45)]
    gone = [SourceRef("many/none"), SourceRef("many/00", PREVIOUS)]
    answers = await here.open().get_many([*refs, *gone])
    assert [text_of(answers[ref]) for ref in refs] == [f"kt-canary-{number}" for number in range(45)]
    assert [type(answers[ref]) for ref in gone] == [NotFound] * 2


async def test_a_list_of_two_pages_tells_names_versions_and_tags_and_changes(here: Account) -> None:
    aws = here.open(prefix="shop/")
    for number in range(103):
        await aws.put(f"a/{number:03d}", OLD, token=TOKENS[0], tags={"team": "a"} if number % 2 else None)
    # What has it in the middle MiniStack lists too, where AWS goes by the beginning: we let nothing else through.
    await here.open().put("b/shop/a/0", OLD, token=TOKENS[0])
    await aws.put("b", OLD, token=TOKENS[0])
    found = {meta.key: meta async for meta in aws.list("a/")}
    assert sorted(found) == [f"a/{number:03d}" for number in range(103)]
    assert [found[f"a/{number:03d}"].tags for number in range(4)] == [{}, {"team": "a"}, {}, {"team": "a"}]
    await aws.put("a/007", NEW, token=TOKENS[1])
    again = {meta.key: meta async for meta in aws.list("a/")}
    assert [key for key, meta in again.items() if meta.fingerprint != found[key].fingerprint] == ["a/007"]
    assert again["a/007"].fingerprint == TOKENS[1]


async def test_a_survey_tells_which_version_each_reference_means(here: Account) -> None:
    aws = here.open()
    for token, value in zip(TOKENS[:3], (OLD, NEW, NEWER), strict=True):
        await aws.put("db", value, token=token)
    refs = [SourceRef("db"), SourceRef("db", PREVIOUS), SourceRef("db", by_id(TOKENS[2])), SourceRef("none")]
    # Another one: whoever has written waits until lists are sure to have heard of it.
    survey = await here.open().survey(refs)
    assert dict(survey.fingerprints) == {refs[0]: TOKENS[2], refs[1]: TOKENS[1], refs[2]: TOKENS[2]}


# -- deletion ------------------------------------------------------------------------------------------------------------------------------


async def test_what_is_deleted_is_not_there_until_it_is_brought_back(here: Account) -> None:
    aws = here.open()
    for token, value in zip(TOKENS[:2], (OLD, NEW), strict=True):
        await aws.put("db", value, token=token)
    for _ in range(2):
        await aws.delete("db")
        assert [type(await get(aws, "db", version)) for version in ("", PREVIOUS, by_id(TOKENS[1]))] == [NotFound] * 3
        assert [meta async for meta in aws.list()] == []
    await aws.undelete("db")
    assert (await read(aws), await read(aws, "db", PREVIOUS)) == (b"kt-canary-new", b"kt-canary-old")


async def test_a_put_brings_back_what_is_deleted(here: Account) -> None:
    aws = here.open()
    await aws.put("db", OLD, token=TOKENS[0])
    await aws.delete("db")
    await aws.put("db", NEW, token=TOKENS[1])
    assert await read(aws) == b"kt-canary-new"


async def test_what_is_purged_is_gone_and_its_name_is_free(here: Account) -> None:
    aws = here.open()
    await aws.put("db", OLD, token=TOKENS[0])
    for _ in range(2):
        await aws.delete("db", purge=True)
        assert isinstance(await get(aws), NotFound)
    with pytest.raises(NotFound):
        await aws.undelete("db")
    await aws.put("db", NEW, token=TOKENS[1])
    assert await read(aws) == b"kt-canary-new"
    assert isinstance(await get(aws, "db", PREVIOUS), NotFound)


# -- who asks ------------------------------------------------------------------------------------------------------------------------------


@differs(NAMELESS)
async def test_a_key_that_aws_does_not_know_lets_nobody_in(here: Account) -> None:
    assert isinstance(await get(here.open("AKIANOBODY0000000000")), AuthFailed)


@differs("does not look at the signatures of requests to Secrets Manager")
async def test_a_wrong_secret_key_lets_nobody_in(here: Account) -> None:
    aws = here.open()
    here.keep("secret", "kt-canary-wrong")
    assert isinstance(await get(aws), AuthFailed)


async def test_a_role_reads_by_a_session_and_is_for_whoever_knows_its_external_id(here: Account) -> None:
    for key in ("db", "bank"):
        await here.open().put(key, OLD, token=TOKENS[0])
    arn = await here.role("secretsmanager:*", "*")
    aws = here.open(role=AssumedRole(arn, "keyturn/shop"))
    await aws.validate()
    answers = await aws.get_many([SourceRef("db"), SourceRef("bank")])
    assert [text_of(each) for each in answers.values()] == ["kt-canary-old"] * 2
    for external_id in ("", "keyturn/bank"):
        found = await get(here.open(role=AssumedRole(arn, external_id)))
        assert isinstance(found, AuthFailed)
        assert "check the role's trust policy" in str(found)


async def test_a_role_reads_what_its_policy_names(here: Account) -> None:
    await here.open().put("db", OLD, token=TOKENS[0])
    arn = await here.role("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{here.number}:secret:db-*")
    assert await read(here.open(role=AssumedRole(arn, "keyturn/shop"))) == b"kt-canary-old"


@differs(NAMELESS)
async def test_a_role_reads_nothing_that_its_policy_does_not_name(here: Account) -> None:
    await here.open().put("bank", OLD, token=TOKENS[0])
    arn = await here.role("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{here.number}:secret:db-*")
    assert isinstance(await get(here.open(role=AssumedRole(arn, "keyturn/shop")), "bank"), AccessDenied)
