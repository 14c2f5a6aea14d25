"""Writes to AWS Secrets Manager: by the token as the version's id, and by staging labels where a put expects a version."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contract.answers import get
from contract.aws import Account, account
from keyturn.model.errors import AccessDenied, Conflict, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import CURRENT, PENDING, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.aws_ledger import PUT
from keyturn.providers.aws_names import NO_VALUE_YET
from keyturn.providers.aws_writer import AwsWriter

TOKENS = [f"{number:032d}" for number in range(100)]
OLD, NEW, NEWER = (Sensitive.of(f"kt-canary-{word}") for word in ("old", "new", "newer"))


@pytest.fixture
async def here() -> AsyncIterator[Account]:
    async with account() as made:
        yield made


def writer(here: Account, **config: str) -> AwsWriter:
    made = here.open(may_write=True, **config)
    assert isinstance(made, AwsWriter)
    return made


async def stored(here: Account, label: str = "AWSCURRENT") -> str:
    """What every other reader has."""
    return str((await here.front.do("GetSecretValue", SecretId="db", VersionStage=label))["SecretString"])


async def labels(here: Account) -> dict[str, list[str]]:
    told = await here.front.do("ListSecretVersionIds", SecretId="db", IncludeDeprecated=True)
    return {each["VersionId"]: sorted(each["VersionStages"]) for each in told["Versions"]}


async def test_a_token_is_the_versions_id_and_a_put_takes_two_calls(here: Account) -> None:
    aws = writer(here)
    assert await aws.put("db", OLD, token=TOKENS[0]) == f"uuid/{TOKENS[0]}"
    assert [operation for operation, _ in here.front.asked] == ["DescribeSecret", "CreateSecret"]
    here.front.asked.clear()
    assert await aws.put("db", NEW, token=TOKENS[1]) == f"uuid/{TOKENS[1]}"
    assert [operation for operation, _ in here.front.asked] == ["DescribeSecret", "ListSecretVersionIds", "PutSecretValue"]
    assert await stored(here) == "kt-canary-new"
    assert [each.token for each in await aws.versions("db")] == [TOKENS[1], TOKENS[0]]


async def test_text_is_kept_as_text_and_other_bytes_as_bytes(here: Account) -> None:
    aws = writer(here)
    await aws.put("db", Sensitive("kt-canary-ä".encode()), token=TOKENS[0])
    assert await stored(here) == "kt-canary-ä"
    await aws.put("db", Sensitive(b"kt-canary-\xff"), token=TOKENS[1])
    told = await here.front.do("GetSecretValue", SecretId="db")
    assert "SecretString" not in told
    value = await get(aws, "db")
    assert isinstance(value, Value)
    assert value.data == Sensitive(b"kt-canary-\xff")


async def test_a_first_value_that_waits_is_current_for_nobody(here: Account) -> None:
    aws = writer(here)
    name = await aws.put("db", OLD, token=TOKENS[0], stage=PENDING)
    # AWS makes each first version current: so there is one that says so.
    assert await stored(here) == "no value yet"
    assert isinstance(await get(aws, "db"), NotFound)
    assert isinstance(await get(aws, "db", f"uuid/{NO_VALUE_YET}"), NotFound)
    assert [meta async for meta in aws.list()] == []
    assert [each.name for each in await aws.versions("db")] == [name]
    with pytest.raises(NotFound):
        await aws.promote("db", f"uuid/{NO_VALUE_YET}")
    await aws.promote("db", name)
    assert await stored(here) == "kt-canary-old"
    assert isinstance(await get(aws, "db", "previous"), NotFound)
    assert await labels(here) == {NO_VALUE_YET: ["AWSPREVIOUS"], TOKENS[0]: ["AWSCURRENT"]}


async def test_who_expects_nothing_takes_the_place_of_a_value_that_waits(here: Account) -> None:
    aws = writer(here)
    await aws.put("db", OLD, token=TOKENS[0], stage=PENDING)
    assert await aws.put("db", NEW, token=TOKENS[1], expect="") == f"uuid/{TOKENS[1]}"
    assert await stored(here) == "kt-canary-new"
    assert await stored(here, "AWSPENDING") == "kt-canary-old"
    with pytest.raises(Conflict):
        await aws.put("db", NEWER, token=TOKENS[2], expect="")


async def test_a_promotion_takes_the_pending_label_away_even_where_it_was_cut_off(here: Account) -> None:
    aws = writer(here)
    await aws.put("db", OLD, token=TOKENS[0])
    waits = await aws.put("db", NEW, token=TOKENS[1], stage=PENDING)
    here.front.losing = frozenset({"UpdateSecretVersionStage"})
    with pytest.raises(Unavailable):
        await aws.promote("db", waits)
    here.front.losing = frozenset()
    assert (await labels(here))[TOKENS[1]] == ["AWSCURRENT", "AWSPENDING"]
    await aws.promote("db", waits)
    assert await labels(here) == {TOKENS[0]: ["AWSPREVIOUS"], TOKENS[1]: ["AWSCURRENT"]}


async def test_a_put_that_expects_a_version_leaves_no_label_of_ours(here: Account) -> None:
    aws = writer(here)
    first = await aws.put("db", OLD, token=TOKENS[0])
    await aws.put("db", NEW, token=TOKENS[1], expect=first)
    assert await labels(here) == {TOKENS[0]: ["AWSPREVIOUS"], TOKENS[1]: ["AWSCURRENT"]}


@pytest.mark.parametrize("lost", ["PutSecretValue", "UpdateSecretVersionStage"])
async def test_a_put_that_expects_a_version_goes_on_where_it_was_cut_off(here: Account, lost: str) -> None:
    aws = writer(here)
    first = await aws.put("db", OLD, token=TOKENS[0])
    here.front.losing = frozenset({lost})
    with pytest.raises(Unavailable):
        await aws.put("db", NEW, token=TOKENS[1], expect=first)
    assert await stored(here) == ("kt-canary-old" if lost == "PutSecretValue" else "kt-canary-new")
    here.front.losing = frozenset()
    assert await aws.put("db", NEW, token=TOKENS[1], expect=first) == f"uuid/{TOKENS[1]}"
    assert await stored(here) == "kt-canary-new"
    assert len(await aws.versions("db")) == 2


async def test_a_put_that_was_cut_off_is_no_version_and_gives_way_to_whoever_was_faster(here: Account) -> None:
    aws = writer(here)
    first = await aws.put("db", OLD, token=TOKENS[0])
    here.front.losing = frozenset({"PutSecretValue"})
    with pytest.raises(Unavailable):
        await aws.put("db", NEW, token=TOKENS[1], expect=first)
    here.front.losing = frozenset()
    assert (await labels(here))[TOKENS[1]] == [PUT]
    assert [each.token for each in await aws.versions("db")] == [TOKENS[0]]
    await aws.put("db", NEWER, token=TOKENS[2], expect=first)
    for _ in range(2):
        with pytest.raises(Conflict):
            await aws.put("db", NEW, token=TOKENS[1], expect=first)
    assert await stored(here) == "kt-canary-newer"


async def test_another_value_is_found_out_before_anything_moves(here: Account) -> None:
    aws = writer(here)
    first = await aws.put("db", OLD, token=TOKENS[0])
    here.front.losing = frozenset({"PutSecretValue"})
    with pytest.raises(Unavailable):
        await aws.put("db", NEW, token=TOKENS[1], expect=first)
    here.front.losing = frozenset()
    with pytest.raises(Conflict):
        await aws.put("db", NEWER, token=TOKENS[1], expect=first)
    assert await stored(here) == "kt-canary-old"


async def test_a_late_put_moves_nothing_not_even_back_to_where_it_began(here: Account) -> None:
    aws = writer(here)
    first = await aws.put("db", OLD, token=TOKENS[0])
    await aws.put("db", NEW, token=TOKENS[1], expect=first)
    for number in (2, 3):
        await aws.put("db", NEWER, token=TOKENS[number])
    await aws.promote("db", first)
    before = await labels(here)
    assert before[TOKENS[1]] == []
    # Nobody can tell any more whether it was current: that it is not now is what is said.
    with pytest.raises(Conflict):
        await aws.put("db", NEW, token=TOKENS[1], expect=first)
    assert await aws.put("db", NEW, token=TOKENS[1]) == f"uuid/{TOKENS[1]}"
    assert await labels(here) == before


async def test_two_who_make_a_key_at_once_make_it_once(here: Account) -> None:
    one, two = writer(here), writer(here)
    puts = (each.put("db", OLD, token=token, expect="") for each, token in zip((one, two) * 5, TOKENS, strict=False))
    ended = await asyncio.gather(*puts, return_exceptions=True)
    assert sum(isinstance(end, str) for end in ended) == 1
    assert sum(isinstance(end, Conflict) for end in ended) == 9


async def test_a_key_that_was_deleted_is_made_anew_with_its_versions_kept(here: Account) -> None:
    aws = writer(here)
    await aws.put("db", OLD, token=TOKENS[0])
    await aws.delete("db")
    with pytest.raises(Invalid, match="marked for deletion"):
        await aws.put("db", NEW, token=TOKENS[1], stage=PENDING)
    await aws.put("db", NEW, token=TOKENS[2], expect="")
    assert await labels(here) == {TOKENS[0]: ["AWSPREVIOUS"], TOKENS[2]: ["AWSCURRENT"]}


async def test_a_deleted_key_does_not_come_back_for_a_put_that_fails(here: Account) -> None:
    aws = writer(here)
    await aws.put("db", OLD, token=TOKENS[0])
    await aws.delete("db")
    here.front.refused_operations.add("PutSecretValue")
    with pytest.raises(AccessDenied):
        await aws.put("db", NEW, token=TOKENS[1])
    assert isinstance(await get(aws, "db"), NotFound)
    assert not any(each.is_readable for each in await aws.versions("db"))


@pytest.mark.parametrize("expect", [None, ""])
async def test_what_another_has_put_meanwhile_into_a_key_that_came_back_stays_there(here: Account, expect: str | None) -> None:
    aws, other = writer(here), writer(here)
    await aws.put("db", OLD, token=TOKENS[0])
    await aws.delete("db")
    ask = aws._session.ask

    async def overtaken(operation: str, *asked: Any, **more: Any) -> Any:
        if operation == "put_secret_value":
            await other.put("db", NEWER, token=TOKENS[2])
            here.front.refused_operations.add("PutSecretValue")
        return await ask(operation, *asked, **more)

    aws._session.ask = overtaken  # type: ignore[method-assign]  # to stand between two calls, each of which goes over the wire
    with pytest.raises(AccessDenied):
        await aws.put("db", NEW, token=TOKENS[1], expect=expect)
    assert await stored(here) == "kt-canary-newer"
    assert here.front.count("DeleteSecret") == 1


async def test_a_name_that_aws_still_deletes_is_unavailable_for_a_while(here: Account) -> None:
    aws = writer(here)
    await aws.put("db", OLD, token=TOKENS[0])
    await aws.delete("db", purge=True)
    here.front.rules.slow_purges = 1
    with pytest.raises(Unavailable, match="still deletes"):
        await aws.put("db", NEW, token=TOKENS[1])
    await aws.put("db", NEW, token=TOKENS[1])
    assert await stored(here) == "kt-canary-new"


async def test_tags_are_replaced_but_for_those_that_aws_has_set(here: Account) -> None:
    aws = writer(here)
    await here.put("db", "kt-canary-old", Tags=[{"Key": "aws:cloudformation:stack", "Value": "s"}, {"Key": "team", "Value": "bank"}])
    await aws.put("db", NEW, token=TOKENS[0], tags={"tier": "one"})
    [meta] = [meta async for meta in aws.list()]
    assert meta.tags == {"aws:cloudformation:stack": "s", "tier": "one"}
    await aws.put("db", NEWER, token=TOKENS[1], tags={"tier": "two"})
    # A late one has nothing to say.
    await aws.put("db", NEW, token=TOKENS[0], tags={"tier": "one"})
    [meta] = [meta async for meta in aws.list()]
    assert meta.tags["tier"] == "two"


@pytest.mark.parametrize(
    ("key", "data", "more", "says"),
    [
        ("a b", OLD, {}, "is no name of a secret"),
        ("x" * 513, OLD, {}, "is no name of a secret"),
        ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf", OLD, {}, "what is written is called by its name"),
        ("db", Sensitive(b""), {}, "no value of no bytes"),
        ("db", Sensitive(b"x" * 65_537), {}, "too large"),
        ("db", OLD, {"token": "short"}, "a put's token"),
        ("db", OLD, {"token": "t" * 65}, "a put's token"),
        ("db", OLD, {"token": "t" * 31 + " "}, "a put's token"),
        ("db", OLD, {"token": NO_VALUE_YET}, "a put's token"),
        ("db", OLD, {"stage": "previous"}, "a put is of stage"),
        ("db", OLD, {"tags": {"aws:a": "b"}}, "begins with aws:"),
        ("db", OLD, {"tags": {"a": "b" * 257}}, "tags of 1 to"),
        ("db", OLD, {"tags": {str(number): "" for number in range(51)}}, "takes 50 tags"),
    ],
)
async def test_what_aws_does_not_take_is_never_sent(here: Account, key: str, data: Sensitive, more: dict[str, object], says: str) -> None:
    given: dict[str, object] = {"token": TOKENS[0], "stage": CURRENT} | more
    with pytest.raises(Invalid, match=says):
        await writer(here).put(key, data, **given)  # type: ignore[arg-type]  # as the table says
    assert here.front.asked == []


async def test_the_largest_value_goes_through(here: Account) -> None:
    aws = writer(here)
    for token, data in ((TOKENS[0], b"\x01" * 65_536), (TOKENS[1], b"\xff" * 65_536)):
        await aws.put("db", Sensitive(data), token=token)
        value = await get(aws, "db")
        assert isinstance(value, Value)
        assert value.data == Sensitive(data)


async def test_a_survey_says_nothing_of_what_was_written_here_just_now(here: Account) -> None:
    aws = writer(here)
    await aws.put("db", OLD, token=TOKENS[0])
    await here.put("other", "kt-canary-other")
    refs = [SourceRef("db"), SourceRef("other")]
    assert set((await aws.survey(refs)).fingerprints) == {SourceRef("other")}
    here.now_s += 301
    assert set((await aws.survey(refs)).fingerprints) == set(refs)


async def test_a_prefix_stands_before_what_is_written_too(here: Account) -> None:
    await writer(here, prefix="d").put("b", OLD, token=TOKENS[0])
    assert await stored(here) == "kt-canary-old"


async def test_a_write_that_is_refused_names_the_secret_and_no_value(here: Account) -> None:
    here.front.refused_operations |= {"CreateSecret"}
    with pytest.raises(AccessDenied) as refused:
        await writer(here).put("db", OLD, token=TOKENS[0])
    error: ProviderError = refused.value
    assert "the secret db" in str(error)
    assert "kt-canary" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"
