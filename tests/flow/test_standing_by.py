"""What a replica tells of its part: that it works, or for whom it waits."""

import asyncio

import pytest

from flow.test_leading import Replicas, replicated


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """What a replica told of its part, in order."""
    return [record.getMessage() for record in caplog.records if vars(record).get("identity") == name]


def test_a_replica_that_waits_says_once_for_whom_and_again_for_another_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "keyturn.lease")

    @replicated
    async def story(replicas: Replicas) -> None:
        replicas.start("a")
        await asyncio.sleep(1)
        replicas.start("b")
        await asyncio.sleep(300)
        await replicas.stop("a")
        await asyncio.sleep(10)
        replicas.start("a")
        await asyncio.sleep(300)
        await replicas.stop("b")
        await asyncio.sleep(10)

    story()
    assert told(caplog, "a") == ["leading", "standing by; b leads", "leading"]
    assert told(caplog, "b") == ["standing by; a leads", "leading"]
