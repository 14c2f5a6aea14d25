"""How the AWS provider reads, lists and surveys at a fake of AWS, by the real SDK."""

from collections.abc import AsyncIterator

import pytest

from contract.answers import get, text_of
from contract.aws import Account, account, fill
from keyturn.model.errors import AccessDenied, Invalid, NotFound
from keyturn.model.material import Cap, SourceRef, Value
from keyturn.providers.aws_names import shared_prefix

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db"


@pytest.fixture
async def here() -> AsyncIterator[Account]:
    async with account() as made:
        yield made


async def test_many_are_read_by_twenties_and_each_read_names_its_stage(here: Account) -> None:
    refs = await fill(here, 45)
    answers = await here.open().get_many([*refs, SourceRef("many/none")])
    assert [text_of(answers[ref]) for ref in refs] == [f"kt-canary-{number}" for number in range(45)]
    assert isinstance(answers[SourceRef("many/none")], NotFound)
    assert here.front.count("BatchGetSecretValue") == 3
    assert here.front.count("GetSecretValue") == 0


async def test_one_and_each_of_another_version_is_read_by_itself(here: Account) -> None:
    first = await here.put("db", "kt-canary-old")
    await here.put("db", "kt-canary-new")
    provider = here.open()
    assert text_of(await get(provider, "db")) == "kt-canary-new"
    for version in (f"uuid/{first}", "AWSPREVIOUS", "previous"):
        assert text_of(await get(provider, "db", version)) == "kt-canary-old"
    assert text_of(await get(provider, "db", "current")) == "kt-canary-new"
    asked = [each for operation, each in here.front.asked if operation == "GetSecretValue"]
    assert all(("VersionId" in each) is not ("VersionStage" in each) for each in asked)
    assert asked[0] == {"SecretId": "db", "VersionStage": "AWSCURRENT"}


@pytest.mark.parametrize(
    ("names", "prefix"),
    [((), ""), (("db",), "db"), (("db", "d"), "d"), (("shop/a", "shop/b"), "shop/"), (("a", "b"), ""), (("a", f"{ARN}-AbCdEf"), "")],
)
def test_a_list_is_asked_for_with_what_all_names_begin_with(names: tuple[str, ...], prefix: str) -> None:
    assert shared_prefix(names) == prefix


@pytest.mark.parametrize(
    ("prefix", "key", "says"),
    [
        ("", ARN, "ends in a hyphen and the six characters that AWS adds"),
        ("shop/", f"{ARN}-AbCdEf", "remove prefix from the provider, or use the name"),
        ("shop/", ARN, "remove prefix from the provider, or use the name"),
    ],
)
async def test_an_arn_that_cannot_be_used_is_told_with_what_is_wrong_with_it(here: Account, prefix: str, key: str, says: str) -> None:
    found = await get(here.open(prefix=prefix), key)
    assert isinstance(found, Invalid)
    assert says in str(found)
    assert here.front.asked == []


async def test_a_promotion_by_others_is_read_at_once(here: Account) -> None:
    old = await here.put("db", "kt-canary-old")
    new = await here.put("db", "kt-canary-new", "AWSPENDING")
    await here.put("other", "kt-canary-other")
    moved = {"VersionStage": "AWSCURRENT", "MoveToVersionId": new, "RemoveFromVersionId": old}
    await here.front.do("UpdateSecretVersionStage", SecretId="db", **moved)
    answers = await here.open().get_many([SourceRef("db"), SourceRef("other")])
    assert text_of(answers[SourceRef("db")]) == "kt-canary-new"


async def test_a_prefix_stands_before_every_key_and_in_none_that_is_listed(here: Account) -> None:
    await here.put("prod/db", "kt-canary-prod")
    await here.put("db", "kt-canary-other")
    provider = here.open(prefix="prod/")
    assert text_of(await get(provider, "db")) == "kt-canary-prod"
    assert [meta.key async for meta in provider.list()] == ["db"]
    [ref] = (await provider.survey([SourceRef("db"), SourceRef("none")])).fingerprints
    assert ref == SourceRef("db")


async def test_what_is_missing_or_denied_is_named_as_aws_knows_it_alike_alone_and_among_many(here: Account) -> None:
    here.front.rules.denied.add("prod/denied")
    provider, refs = here.open(prefix="prod/"), [SourceRef("none"), SourceRef("denied")]
    answers = await provider.get_many(refs)
    assert here.front.count("GetSecretValue") == 0, "one call for both"
    told = [str(answer).partition(" (request")[0] for answer in answers.values()]
    who = str(answers[refs[1]]).partition("refuses ")[2].partition(" the secret")[0]
    right = "allow it secretsmanager:GetSecretValue, and kms:Decrypt where a KMS key of yours encrypts it"
    assert told == [
        "AWS Secrets Manager does not have the secret prod/none in eu-west-1",
        f"AWS refuses {who} the secret prod/denied in eu-west-1; {right}",
    ]
    assert who.startswith("the access key in Secret/shop/")
    assert [str(await get(provider, ref.key)).partition(" (request")[0] for ref in refs] == told


async def test_a_whole_arn_is_a_key_too(here: Account) -> None:
    await here.put("db", "kt-canary-db")
    await here.put("other", "kt-canary-other")
    arn = (await here.front.do("DescribeSecret", SecretId="db"))["ARN"]
    provider = here.open()
    assert text_of(await get(provider, arn)) == "kt-canary-db"
    answers = await provider.get_many([SourceRef(arn), SourceRef("other")])
    assert text_of(answers[SourceRef(arn)]) == "kt-canary-db"
    survey = await provider.survey([SourceRef(arn)])
    value = answers[SourceRef(arn)]
    assert isinstance(value, Value)
    assert survey.fingerprints == {SourceRef(arn): value.fingerprint}


async def test_who_may_not_read_many_at_once_reads_one_by_one_and_does_not_try_each_time(here: Account) -> None:
    refs = await fill(here, 30)
    here.front.refused_operations.add("BatchGetSecretValue")
    provider = here.open()
    for _ in range(2):
        answers = await provider.get_many(refs)
        assert len([text_of(answers[ref]) for ref in refs]) == 30
    assert here.front.count("BatchGetSecretValue") == 1
    assert here.front.count("GetSecretValue") == 60
    here.front.refused_operations.clear()
    here.now_s += 3601
    await provider.get_many(refs)
    assert here.front.count("BatchGetSecretValue") == 3


async def test_one_that_is_denied_or_marked_for_deletion_spoils_no_other(here: Account) -> None:
    refs = await fill(here, 25)
    here.front.rules.denied.add(refs[0].key)
    await here.front.do("DeleteSecret", SecretId=refs[1].key)
    answers = await here.open().get_many(refs)
    assert isinstance(answers[refs[0]], AccessDenied)
    assert isinstance(answers[refs[1]], NotFound)
    assert all(isinstance(answers[ref], Value) for ref in refs[2:])
    alone = await get(here.open(), refs[1].key)
    assert isinstance(alone, NotFound)
    for answer in (alone, answers[refs[1]]):
        assert f"has marked the secret {refs[1]} in eu-west-1 for deletion" in str(answer)


async def test_a_list_goes_over_all_pages_with_tags_and_versions(here: Account) -> None:
    refs = await fill(here, 103)
    await here.put("db", "kt-canary-db", Tags=[{"Key": "team", "Value": "shop"}])
    provider = here.open()
    found = {meta.key: meta async for meta in provider.list()}
    assert len(found) == 104
    assert found["db"].tags == {"team": "shop"}
    assert here.front.count("ListSecrets") == 2
    survey = await provider.survey(refs)
    assert (survey.size, survey.calls, len(survey.fingerprints)) == (103, 2, 103)
    answers = await provider.get_many(refs)
    assert survey.fingerprints == {ref: value.fingerprint for ref, value in answers.items() if isinstance(value, Value)}


async def test_a_survey_tells_of_each_stage_and_of_no_version_that_a_list_does_not_have(here: Account) -> None:
    gone = await here.put("db", "kt-canary-1")
    old = await here.put("db", "kt-canary-2")
    new = await here.put("db", "kt-canary-3")
    waits = await here.put("db", "kt-canary-4", "AWSPENDING")
    versions = ["", "AWSCURRENT", "previous", "pending", f"uuid/{old}", f"uuid/{gone}", "other"]
    provider = here.open()
    told = (await provider.survey([SourceRef("db", version) for version in versions])).fingerprints
    assert [told.get(SourceRef("db", version), "") for version in versions] == [new, new, old, waits, old, "", ""]
    for ref, expected in told.items():
        value = await get(provider, "db", ref.version)
        assert isinstance(value, Value)
        assert value.fingerprint == expected


async def test_a_list_that_lags_hides_no_change_for_ever_and_takes_nothing_away(here: Account) -> None:
    db, new = SourceRef("db"), SourceRef("new")
    await here.put("db", "kt-canary-old")
    provider = here.open()
    before = await get(provider, "db")
    assert isinstance(before, Value)
    await here.front.there(here.front.rules.lag(is_on=True))
    await here.put("db", "kt-canary-new")
    await here.put("new", "kt-canary-new")
    # It vouches for the old value, and is silent about the new key: whoever asked reads that one.
    assert (await provider.survey([db, new])).fingerprints == {db: before.fingerprint}
    after = await get(provider, "db")
    assert isinstance(after, Value)
    # Who has the new value already is told of no change back: it reads again.
    assert (await provider.survey([db])).fingerprints[db] != after.fingerprint
    await here.front.there(here.front.rules.lag(is_on=False))
    told = (await provider.survey([db, new])).fingerprints
    assert told[db] == after.fingerprint
    assert new in told


async def test_who_may_not_list_has_no_list_and_reads_all_the_same(here: Account) -> None:
    await here.put("db", "kt-canary-db")
    here.front.refused_operations.add("ListSecrets")
    provider = here.open()
    await provider.validate()
    assert not (Cap.LIST | Cap.SURVEY) & provider.caps
    with pytest.raises(AccessDenied):
        [meta async for meta in provider.list()]
    with pytest.raises(AccessDenied):
        await provider.survey([SourceRef("db")])
    assert text_of(await get(provider, "db")) == "kt-canary-db"
    here.front.refused_operations.clear()
    await provider.validate()
    assert Cap.LIST | Cap.SURVEY in provider.caps
