"""The spool's file and the thread that writes it: whoever is called off leaves it whole, and it is no other file than ours."""

import asyncio
import os
import resource
import threading
from collections.abc import Awaitable
from pathlib import Path

import pytest

from keyturn.model.errors import AuditUnavailable
from keyturn.store.audit_spool import LARGEST
from store.test_audit_spool import all_closed, left, rows, spool

__all__ = ["all_closed"]


class Disk:
    """One that stands still at the first thing that it is to keep, until ``gate`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.gate, self._sync, self._is_first = threading.Event(), threading.Event(), os.fsync, True
        monkeypatch.setattr(os, "fsync", self._slow)

    def _slow(self, descriptor: int) -> None:
        if self._is_first:
            self._is_first = False
            self.entered.set()
            self.gate.wait(10)
        self._sync(descriptor)

    async def calls_off(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """While it is under way; twice, as whoever loses patience does."""
        job = asyncio.ensure_future(work)
        await asyncio.to_thread(self.entered.wait)
        for _ in range(2):
            job.cancel()
            await asyncio.sleep(0)
        return job  # type: ignore[return-value]


async def test_rows_that_were_called_off_and_added_again_are_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = spool(tmp_path)
    await made.append(rows(0))
    disk = Disk(monkeypatch)
    job = await disk.calls_off(made.append(rows(1, 2)))
    again = asyncio.create_task(made.append(rows(1, 2)))
    await asyncio.sleep(0)
    disk.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await job
    await again
    await made.append(rows(3))
    assert (await made.first(10), made.rows) == (rows(0, 1, 2, 3), 4)
    await made.close()
    assert await left(tmp_path) == rows(0, 1, 2, 3)


async def test_what_is_added_after_emptying_was_called_off_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = spool(tmp_path)
    await made.append(rows(0, 1, 2))
    disk = Disk(monkeypatch)
    job = await disk.calls_off(made.drop(3))
    after = asyncio.create_task(made.append(rows(7)))
    await asyncio.sleep(0)
    assert not after.done()
    disk.gate.set()
    await after
    assert job.cancelled()
    await made.close()
    assert await left(tmp_path) == rows(7)


async def test_no_link_to_another_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"precious")
    (tmp_path / "audit.spool").symlink_to(tmp_path / "other")
    with pytest.raises(AuditUnavailable, match=r"audit\.spool, cannot be used"):
        await spool(tmp_path).append(rows(1))
    assert (tmp_path / "other").read_bytes() == b"precious"


async def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "audit.spool")
    with pytest.raises(AuditUnavailable, match="is no spool of the audit trail"):
        await asyncio.wait_for(spool(tmp_path).open(), 10)


async def test_a_file_larger_than_any_of_ours_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "audit.spool").touch()
    os.truncate(tmp_path / "audit.spool", 8 * LARGEST)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AuditUnavailable, match="at most 64 MiB: move it away"):
        await spool(tmp_path).open()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < LARGEST >> 10


async def test_nothing_is_added_to_a_file_that_was_removed_with_rows_in_it(tmp_path: Path) -> None:
    made, file = spool(tmp_path), tmp_path / "audit.spool"
    await made.append(rows(1))
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(AuditUnavailable, match="was removed or replaced while rows of the audit trail were in it: put it back"):
        await made.append(rows(2))
    file.write_bytes(b"another one")
    with pytest.raises(AuditUnavailable, match="was removed or replaced"):
        await made.append(rows(2))
    (tmp_path / "elsewhere").rename(file)
    await made.append(rows(2))
    await made.close()
    assert await left(tmp_path) == rows(1, 2)


async def test_what_was_in_a_removed_file_still_reaches_the_trail_and_then_there_is_a_new_one(tmp_path: Path) -> None:
    made = spool(tmp_path)
    await made.append(rows(1))
    (tmp_path / "audit.spool").unlink()
    assert await made.first(10) == rows(1)
    await made.drop(1)
    await made.append(rows(2))
    await made.close()
    assert await left(tmp_path) == rows(2)
