"""The fake of AWS is no kinder than AWS: asked by the SDK as everybody uses it, it refuses what AWS documents to refuse."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from contract.aws import KEY_ID, REGION, SECRET, Account, account

TOKENS = [f"{number:032d}" for number in range(10)]


@pytest.fixture
async def here() -> AsyncIterator[Account]:
    async with account() as made:
        await made.put("db", "kt-canary-db")
        yield made


async def ask(here: Account, operation: str, *, secret: str = SECRET, key_id: str = KEY_ID, **asked: Any) -> Any:
    """What a plain client of the SDK is told, or the code of the refusal."""

    def call() -> Any:
        client = botocore.session.get_session().create_client(
            "secretsmanager",
            region_name=REGION,
            endpoint_url=here.front.url,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )
        try:
            return getattr(client, operation)(**asked)
        except ClientError as error:
            return error.response["Error"]["Code"]
        finally:
            client.close()

    return await asyncio.to_thread(call)


async def test_a_plain_client_is_let_in_by_its_key_alone(here: Account) -> None:
    assert (await ask(here, "get_secret_value", SecretId="db"))["SecretString"] == "kt-canary-db"
    assert await ask(here, "get_secret_value", SecretId="db", secret="wrong") == "InvalidSignatureException"
    assert await ask(here, "get_secret_value", SecretId="db", key_id="AKIANOBODY") == "UnrecognizedClientException"


async def test_a_request_that_was_signed_long_ago_is_refused(here: Account) -> None:
    here.front.sts.ahead_s = 301
    assert await ask(here, "get_secret_value", SecretId="db") == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("operation", "asked", "code"),
    [
        ("batch_get_secret_value", {"SecretIdList": ["db"] * 21}, "ValidationException"),
        ("batch_get_secret_value", {"SecretIdList": []}, "ValidationException"),
        ("list_secrets", {"MaxResults": 101}, "ValidationException"),
        ("put_secret_value", {"SecretId": "db", "SecretString": "x" * 65_537}, "ValidationException"),
        ("put_secret_value", {"SecretId": "db", "SecretString": ""}, "ValidationException"),
        ("put_secret_value", {"SecretId": "db", "SecretString": "x", "ClientRequestToken": "short"}, "ValidationException"),
        ("put_secret_value", {"SecretId": "none", "SecretString": "x"}, "ResourceNotFoundException"),
        ("create_secret", {"Name": "a b", "SecretString": "x"}, "ValidationException"),
        ("create_secret", {"Name": "db", "SecretString": "x"}, "ResourceExistsException"),
        ("get_secret_value", {"SecretId": "db", "VersionStage": "AWSPENDING"}, "ResourceNotFoundException"),
        ("update_secret_version_stage", {"SecretId": "db", "VersionStage": "AWSCURRENT"}, "InvalidParameterException"),
    ],
)
async def test_what_is_too_much_or_not_there_is_refused(here: Account, operation: str, asked: dict[str, Any], code: str) -> None:
    assert await ask(here, operation, **asked) == code


async def test_what_is_marked_for_deletion_takes_nothing_and_gives_nothing(here: Account) -> None:
    await ask(here, "delete_secret", SecretId="db")
    for operation, asked in (
        ("get_secret_value", {}),
        ("put_secret_value", {"SecretString": "x"}),
        ("tag_resource", {"Tags": [{"Key": "a", "Value": "b"}]}),
        ("delete_secret", {}),
    ):
        assert await ask(here, operation, SecretId="db", **asked) == "InvalidRequestException"
    assert await ask(here, "create_secret", Name="db", SecretString="x") == "InvalidRequestException"
    assert (await ask(here, "list_secrets"))["SecretList"] == []
    await ask(here, "restore_secret", SecretId="db")
    assert (await ask(here, "get_secret_value", SecretId="db"))["SecretString"] == "kt-canary-db"


async def test_a_token_is_one_version_also_while_it_waits(here: Account) -> None:
    put = {"SecretId": "db", "ClientRequestToken": TOKENS[0], "VersionStages": ["AWSPENDING"]}
    for _ in range(2):
        assert (await ask(here, "put_secret_value", SecretString="one", **put))["VersionId"] == TOKENS[0]
    assert await ask(here, "put_secret_value", SecretString="two", **put) == "ResourceExistsException"
    assert (await ask(here, "get_secret_value", SecretId="db", VersionStage="AWSPENDING"))["SecretString"] == "one"


async def test_labels_move_from_where_they_are_and_nowhere_else(here: Account) -> None:
    for token, text in zip(TOKENS[:3], "abc", strict=True):
        await ask(here, "put_secret_value", SecretId="db", ClientRequestToken=token, SecretString=text)
    move = {"SecretId": "db", "VersionStage": "AWSCURRENT", "MoveToVersionId": TOKENS[0]}
    assert await ask(here, "update_secret_version_stage", **move) == "InvalidParameterException"
    assert await ask(here, "update_secret_version_stage", RemoveFromVersionId=TOKENS[1], **move) == "InvalidParameterException"
    await ask(here, "update_secret_version_stage", RemoveFromVersionId=TOKENS[2], **move)
    assert (await ask(here, "get_secret_value", SecretId="db"))["SecretString"] == "a"
    batch = await ask(here, "batch_get_secret_value", SecretIdList=["db", "none"])
    assert [each["SecretString"] for each in batch["SecretValues"]] == ["a"]
    assert [each["ErrorCode"] for each in batch["Errors"]] == ["ResourceNotFoundException"]
    # The next one takes the place of what is current now, and not of what was before the move.
    await ask(here, "put_secret_value", SecretId="db", ClientRequestToken=TOKENS[3], SecretString="d")
    about = await ask(here, "describe_secret", SecretId="db")
    assert about["VersionIdsToStages"] == {TOKENS[0]: ["AWSPREVIOUS"], TOKENS[3]: ["AWSCURRENT"]}
    every = await ask(here, "list_secret_version_ids", SecretId="db", IncludeDeprecated=True)
    assert {TOKENS[1], TOKENS[2]} < {each["VersionId"] for each in every["Versions"]}
    some = await ask(here, "list_secret_version_ids", SecretId="db")
    assert {each["VersionId"] for each in some["Versions"]} == {TOKENS[0], TOKENS[3]}


async def test_a_secret_has_no_more_than_twenty_labels(here: Account) -> None:
    labels = [f"l{number}" for number in range(19)]
    put = {"SecretId": "db", "SecretString": "x"}
    assert "VersionId" in await ask(here, "put_secret_value", VersionStages=labels, ClientRequestToken=TOKENS[0], **put)
    assert await ask(here, "put_secret_value", VersionStages=["more"], ClientRequestToken=TOKENS[1], **put) == "LimitExceededException"
