"""How an answer of AWS's is decoded: into what is looked at, and never into more objects than AWS has in one."""

import json
from contextlib import suppress

import pytest

from contract.bombs import BOMBS, traced
from keyturn.providers.aws import PAGE_LIMIT
from keyturn.providers.aws_json import Batch, Nothing, SecretValue, TaggedPage, is_aws, read
from keyturn.providers.dial import Answer, TooLong

HEAD = {"x-amzn-requestid": "0f"}


@pytest.mark.parametrize(("kind", "body"), BOMBS, ids=range(len(BOMBS)))
def test_an_answer_becomes_little_more_than_it_is(kind: type, body: bytes) -> None:
    answer = Answer(200, HEAD, body)
    with traced() as peak:
        is_aws(answer)
        with suppress(TooLong):
            read(answer, kind)
    assert peak[0] < 16 << 20


@pytest.mark.parametrize("of", [1, 100])
def test_a_page_as_full_as_aws_makes_it_is_read(of: int) -> None:
    tags = [{"Key": "k" * 126 + f"{n:02}", "Value": "v" * 256} for n in range(50)]
    labels = {f"{n:032}": [f"{n:032}" * 8] for n in range(20)}
    entry = {"ARN": "a" * 600, "Name": "n" * 512, "Description": "d" * 2048, "Tags": tags, "SecretVersionsToStages": labels}
    entry |= {"LastChangedDate": 1.7e9, "KmsKeyId": "k" * 2048, "OwningService": "s" * 128}
    body = json.dumps({"SecretList": [entry] * of, "NextToken": "n" * 4096}).encode()
    assert len(body) < PAGE_LIMIT
    told = read(Answer(200, HEAD, body), TaggedPage).told
    assert [len(each.tags) for each in told.secret_list] == [50] * of


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (SecretValue, b""),
        (SecretValue, b"[]"),
        (SecretValue, b'{"VersionId": 1}'),
        (SecretValue, b'{"SecretString": "\\ud800"}'),
        (SecretValue, b'{"SecretBinary": "kt-canary"}'),
        (TaggedPage, b"{}"),
        (Batch, b'{"SecretValues": [null]}'),
        (Nothing, b"[" * 100_000),
    ],
)
def test_what_is_not_what_was_asked_for_is_no_success(kind: type, body: bytes) -> None:
    reply = read(Answer(200, HEAD, body), kind)
    assert not reply.is_success
    assert (reply.code, reply.told) == ("", {})


def test_nothing_is_what_some_requests_are_answered_with() -> None:
    assert read(Answer(200, HEAD, b""), Nothing).is_success
    assert is_aws(Answer(200, HEAD, b""))
    assert not is_aws(Answer(200, {}, b""))


def test_no_value_is_shown_with_what_it_stands_in() -> None:
    told = read(Answer(200, HEAD, b'{"SecretValues": [{"Name": "db", "SecretString": "kt-canary"}]}'), Batch)
    assert "kt-canary" not in f"{told!r} {told.told!r}"
