"""`keyturn audit acknowledge-loss`, and what `keyturn audit verify` says of ends that were kept before the loss."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from keyturn.decide.auditrow import moment
from keyturn.model.audit import ACCEPTED, Head, Outcome
from keyturn.model.keys import MasterKeys
from keyturn.store.audit import AuditTrail, seal_key, trail_of
from keyturn.store.audit_prune import PruneRefused, Pruning, Wish
from keyturn.store.checkpoints import CheckpointBook
from keyturn.store.keys import Keyholder
from store.audit_pruner import KEY, SIGNING, pruning
from store.checkpointed import signer
from store.places import ITERATIONS, Place
from store.test_audit import row, trail
from store.test_audit_forged import forged, put
from store.test_audit_segments import MOST, grown
from store.test_checkpoints import unlocked
from store.test_verify_command import VKEY, keyturn

NOW = datetime(2026, 11, 30, 20, tzinfo=UTC)
BOGUS = "bb" * 32
LOST = "rows=7 to 9, note=OPS-7, "


async def holder_of(place: Place) -> Keyholder:
    holder = Keyholder(place.database(), MasterKeys.of({"SECRET_KEY": place.master}), ITERATIONS)
    await holder.open()
    return holder


async def ours(place: Place) -> tuple[AuditTrail, CheckpointBook]:
    holder = await holder_of(place)
    return trail_of(holder), CheckpointBook(trail_of(holder), place.database(), partial(seal_key, holder), signer())


@asynccontextmanager
async def prune_of(place: Place, folder: Path, most: int) -> AsyncIterator[Pruning]:
    """With the master keys that the commands are given."""
    holder = await holder_of(place)
    active = holder.ring.active, seal_key(holder, holder.ring.active)
    prune = replace(pruning(place.owner_url, folder, most), seal=partial(seal_key, holder), seal_key=lambda: active)
    try:
        yield prune
    finally:
        await prune.database.close()


async def restored(place: Place, tmp_path: Path) -> tuple[AuditTrail, CheckpointBook, list[Head]]:
    """A trail of 9 rows with checkpoints of rows 3, 6 and 9, of which an older backup has 6; and the ends that it had."""
    made, book = await ours(place)
    ends = []
    for part in range(3):
        ends.append(await made.append([row(f"e{part}-{n}", outcome=Outcome.SUCCESS) for n in range(3)]))
        signed = await book.write(NOW + timedelta(minutes=part))
        assert signed is not None
        (tmp_path / f"row-{ends[-1].seq}").write_text(signed.note)
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 6")
    await place.execute("DELETE FROM audit_checkpoints WHERE seq > 6")
    return *(await ours(place)), ends


async def test_after_an_accepted_loss_each_end_is_told_as_it_is(place: Place, tmp_path: Path) -> None:
    made, book, ends = await restored(place, tmp_path)
    code, told = await keyturn(place, "acknowledge-loss", "--anchor", str(ends[2]), "--note", "OPS-7", SECRET_KEY=place.master)
    assert (code, told) == (0, "recorded as row 7: what was written up to row 9 after row 6 is lost\n")
    code, told = await keyturn(place, "acknowledge-loss", "--anchor", str(ends[2]), "--anchor", str(ends[0]), SECRET_KEY=place.master)
    assert told.splitlines() == [
        f"nothing is lost: that {ends[2]} is lost was accepted before",
        f"nothing is lost: the trail holds {ends[0]}",
    ]
    [found] = await made.losses()
    assert (found.action, found.actor, found.details["note"]) == (ACCEPTED, f"user/{os.getuid()}", "OPS-7")
    assert {"user", "host", "rows"} <= set(found.details)
    code, told = await keyturn(place, "query", "--action", ACCEPTED)
    who = f"user={found.details['user']}, host={found.details['host']}"
    assert (code, told) == (0, f"7 {moment(found.at)} user/{os.getuid()} {ACCEPTED} audit trail -> {ends[2]}: success; {LOST}{who}\n")
    code, told = await keyturn(place, "verify", "--key", VKEY, "--anchor", str(ends[2]))
    assert (code, "row 7 says that somebody accepted that, which counts where a checkpoint of it is signed" in told) == (
        1,
        True,
    ), told
    await made.append([row(f"new-{n}") for n in range(5)])
    assert await book.write(datetime.now(UTC) + timedelta(minutes=1)) is not None
    for name, is_lost in {"row-3": False, "row-6": False, "row-9": True}.items():
        code, told = await keyturn(place, "verify", "--key", VKEY, "--checkpoint", str(tmp_path / name))
        assert (code, "of a checkpoint from elsewhere are lost" in told) == (0, is_lost), (name, told)
    code, told = await keyturn(place, "verify", "--key", VKEY, "--anchor", str(ends[2]))
    assert (code, "row 9 of the anchor is lost, and that was accepted in row 7" in told) == (0, True), told
    code, told = await keyturn(place, "verify", "--anchor", str(ends[2]))
    assert (code, "the chain was made anew; row 7 says that somebody accepted that" in told) == (1, True), told
    for other in (f"6:{BOGUS}", f"10:{BOGUS}", f"400:{BOGUS}"):
        code, told = await keyturn(place, "verify", "--key", VKEY, "--anchor", other)
        assert code == 1, told


async def test_the_loss_of_a_later_end_is_that_of_those_before_it_until_whoever_knew_them_writes_again(
    place: Place, tmp_path: Path
) -> None:
    """Else a loss that was accepted once would excuse all that is taken away after it, up to that row."""
    made, _, ends = await restored(place, tmp_path)
    lower = Head(7, bytes.fromhex(BOGUS))
    assert not await made.holds(lower, "off.")
    code, told = await keyturn(place, "acknowledge-loss", "--anchor", str(ends[2]), SECRET_KEY=place.master)
    assert code == 0, told
    assert [await made.holds(each, "off.") for each in (lower, ends[2], replace(lower, seq=10))] == [True, True, False]
    assert not await made.holds(lower), "nobody knows who wrote it down"
    await made.append([row("other.1")])
    assert await made.holds(lower, "off.")
    await made.append([row("off.1")])
    taken = await made.append([row("off.2")])
    assert [await made.holds(each, "off.") for each in (lower, ends[2], taken)] == [False, True, True]
    await place.execute("DELETE FROM secret_access_log WHERE seq > 9")
    assert not await made.holds(replace(taken, seq=9), "off.")


async def test_all_ends_that_were_signed_and_are_gone_are_named(place: Place, tmp_path: Path) -> None:
    _, book, ends = await restored(place, tmp_path)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 3")
    lost = [each.checkpoint.head for each in await book.lost((tmp_path / "row-9").read_text())]
    assert lost == [ends[2], ends[1]]
    code, told = await keyturn(place, "acknowledge-loss", "--anchor", str(ends[2]), SECRET_KEY=place.master)
    assert (code, await book.lost((tmp_path / "row-9").read_text())) == (0, []), told


async def test_a_hash_that_a_file_alone_knows_is_not_accepted_and_the_file_is_named(place: Place, tmp_path: Path) -> None:
    made, _ = await ours(place)
    await grown(place, made=made)
    (folder := tmp_path / "segments").mkdir()
    async with prune_of(place, folder, MOST) as prune:
        [*_, last] = await prune.run(Wish(10), NOW)
    before = await trail(place).head()
    keys = {"SECRET_KEY": place.master, "AUDIT_SIGNING_KEY_PREVIOUS": str(SIGNING.verifier)}
    code, told = await keyturn(place, "acknowledge-loss", "--anchor", f"{last.last - 1}:{BOGUS}", **keys)
    assert (code, f"row {last.last - 1} was moved into {last.name}" in told, "nothing is lost" in told) == (1, True, False), told
    code, told = await keyturn(place, "acknowledge-loss", "--anchor", str(last.end), SECRET_KEY=place.master)
    assert (code, "whether that is ours its key tells: give AUDIT_SIGNING_KEY" in told) == (1, True), told
    assert await trail(place).head() == before
    code, told = await keyturn(place, "acknowledge-loss", "--anchor", str(last.end), **keys)
    assert (code, told) == (0, f"nothing is lost: {last.end} is the end of {last.name}, which was moved out of the database\n")
    code, told = await keyturn(place, "acknowledge-loss", "--anchor", f"{last.last}:{BOGUS}", **keys)
    assert (code, "where another one is now, is lost" in told) == (0, True), told


async def test_a_segment_that_somebody_put_in_keeps_nobody_from_accepting_a_loss(place: Place) -> None:
    made, _ = await ours(place)
    await made.append([row("e", outcome=Outcome.SUCCESS)])
    await put(place, forged(1_000_000, "somebody"))
    lost = Head(999, bytes(32))
    code, told = await keyturn(place, "acknowledge-loss", "--anchor", str(lost), SECRET_KEY=place.master, AUDIT_SIGNING_KEY_PREVIOUS=VKEY)
    assert (code, told) == (0, "recorded as row 2: what was written up to row 999 after row 1 is lost\n")


async def test_a_loss_that_was_accepted_in_a_row_that_was_moved_is_told_to_be_in_its_file(place: Place, tmp_path: Path) -> None:
    if place.server is not None:
        return  # a server keeps the rows of one partition together
    made, book, ends = await restored(place, tmp_path)
    await keyturn(place, "acknowledge-loss", "--anchor", str(ends[2]), SECRET_KEY=place.master)
    await made.append([row(f"new-{n}", outcome=Outcome.SUCCESS) for n in range(5)])
    assert await book.write(datetime.now(UTC) + timedelta(minutes=1)) is not None
    (folder := tmp_path / "segments").mkdir()
    async with prune_of(place, folder, 100) as prune:
        with pytest.raises(PruneRefused, match=r"AUDIT_SIGNING_KEY is not the key of the newest checkpoint, of row 12: .*PREVIOUS"):
            await prune.run(Wish(8), NOW)
        assert list(folder.iterdir()) == []
        ours_too = replace(prune, signing=signer())
        for up_to in (8, 10):
            await ours_too.run(Wish(up_to), NOW)
            verify = ("verify", "--key", VKEY, "--checkpoint", str(tmp_path / "row-9"))
            code, told = await keyturn(place, *verify)
            assert (code, "unless somebody accepted that loss in rows that were moved into files since" in told) == (1, True), told
            code, told = await keyturn(place, *verify, "--segments", str(folder))
            assert (code, "rows up to 9 of a checkpoint from elsewhere are lost, and that was accepted" in told) == (0, True), told


async def test_a_new_key_prunes_where_it_is_said_which_one_it_follows(place: Place, tmp_path: Path) -> None:
    await grown(place)
    assert await CheckpointBook(trail(place), place.database(), lambda _: KEY, signer()).write(NOW) is not None
    (folder := tmp_path / "segments").mkdir()
    prune = pruning(place.owner_url, folder, 5)
    try:
        with pytest.raises(PruneRefused, match="is not the key of the newest checkpoint"):
            await prune.run(Wish(5), NOW)
        assert len(await replace(prune, known=(signer().verifier,)).run(Wish(5), NOW)) == 1
    finally:
        await prune.database.close()
    code, told = await keyturn(place, "verify", "--key", VKEY)
    assert (code, "rows 1 to 5" in told, "give that key with --key too" in told, "not as it was" in told) == (1, True, True, False), told
    code, told = await keyturn(place, "verify", "--key", VKEY, "--key", str(SIGNING.verifier))
    assert code == 0, told
