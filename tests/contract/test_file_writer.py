"""What a writer of files does that no other writer does: links, other people's files, what it keeps, and what it shows of that."""

import fcntl
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.files import all_that_hangs_on, provider, writer
from keyturn.model.errors import AccessDenied, Conflict, Invalid, NotFound, ProviderError, Rejected, Unavailable
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Cap, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers import beneath, file_kept, file_state
from keyturn.providers.file_sources import KEPT
from keyturn.providers.file_writer import FileWriter

KEY = "db/password"
OLD, NEW = Sensitive.of("kt-canary-old"), Sensitive.of("kt-canary-new")
TOKENS = [f"{number:032d}" for number in range(100)]


@pytest.fixture(autouse=True)
def _ways(opener: beneath.Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_kept, "opener", lambda: opener)
    monkeypatch.setattr(file_state, "opener", lambda: opener)


@pytest.fixture
async def writing(shop: Path) -> AsyncIterator[FileWriter]:
    made = writer(shop.parent, "shop")
    yield made
    await made.close()


async def read(writing: FileWriter, version: str = "", key: str = KEY) -> Value | ProviderError:
    ref = SourceRef(key, version)
    return (await writing.get_many([ref]))[ref]


async def text(writing: FileWriter, version: str = "") -> str:
    answer = await read(writing, version)
    return answer.data.reveal().decode() if isinstance(answer, Value) else type(answer).__name__


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def holding(folder: Path, mark: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and mark in path.read_bytes()]


async def test_a_folder_of_values_is_as_before_for_all_who_read_it(writing: FileWriter, shop: Path) -> None:
    for token, data in zip(TOKENS, (OLD, NEW), strict=False):
        await writing.put(KEY, data, token=token)
    assert (shop / KEY).read_bytes() == NEW.reveal()
    assert names(shop / "db") == [KEPT, "password"]
    reading = provider(shop.parent, "shop")
    assert [meta.key async for meta in reading.list()] == [meta.key async for meta in writing.list()]
    assert {meta.key async for meta in reading.list()} == {"inside", KEY}
    assert not reading.caps & (Cap.PUT | Cap.CAS | Cap.DELETE | Cap.UNDELETE)
    await reading.close()


@pytest.mark.parametrize("key", [f"db/{KEPT}/password.previous", f"db/{KEPT.upper()}/password.state", f"{KEPT}/x"])
async def test_what_a_writer_keeps_is_read_by_no_key(writing: FileWriter, shop: Path, key: str) -> None:
    for token, data in zip(TOKENS, (OLD, NEW), strict=False):
        await writing.put(KEY, data, token=token)
    reading = provider(shop.parent, "shop")
    for source in (reading, writing):
        ref = SourceRef(key)
        assert isinstance((await source.get_many([ref]))[ref], Invalid)
    with pytest.raises(Invalid):
        await writing.put(key, NEW, token=TOKENS[3])
    await reading.close()


def test_a_provider_of_what_a_writer_keeps_is_refused(shop: Path) -> None:
    (shop / KEPT).mkdir()
    with pytest.raises(Rejected, match="name the folder above"):
        provider(shop.parent, f"shop/{KEPT}")


async def test_a_new_file_is_for_the_operator_alone_and_one_that_was_there_keeps_its_mode(writing: FileWriter, shop: Path) -> None:
    await writing.put(KEY, OLD, token=TOKENS[0])
    assert stat.S_IMODE((shop / KEY).stat().st_mode) == 0o600
    assert stat.S_IMODE((shop / "db" / KEPT).stat().st_mode) == 0o700
    (shop / KEY).chmod(0o640)
    await writing.put(KEY, NEW, token=TOKENS[1])
    assert stat.S_IMODE((shop / KEY).stat().st_mode) == 0o640
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o007 == 0 for path in (shop / "db" / KEPT).iterdir())


@pytest.mark.parametrize("target", ["../neighbour/secret", "inside", "/etc/hostname", "nowhere"])
async def test_a_link_is_neither_followed_nor_replaced(writing: FileWriter, shop: Path, target: str) -> None:
    (shop / "db").mkdir()
    (shop / KEY).symlink_to(target)
    with pytest.raises(Invalid, match="link"):
        await writing.put(KEY, NEW, token=TOKENS[0])
    with pytest.raises(Invalid, match="link"):
        await writing.promote(KEY, "1" * 32)
    assert str((shop / KEY).readlink()) == target
    assert NEW.reveal() not in (shop.parent / "neighbour" / "secret").read_bytes() + (shop / "inside").read_bytes()


@pytest.mark.parametrize("place", ["db", f"db/{KEPT}"])
async def test_no_folder_on_the_way_leads_out(writing: FileWriter, shop: Path, place: str) -> None:
    (shop / place).parent.mkdir(exist_ok=True)
    (shop / place).symlink_to(shop.parent / "neighbour")
    for call in (writing.put(KEY, NEW, token=TOKENS[0]), writing.delete(KEY), writing.undelete(KEY)):
        with pytest.raises(ProviderError):
            await call
    assert names(shop.parent / "neighbour") == ["secret"]


@pytest.mark.parametrize("suffix", [".previous", ".pending", ".state", ".new"])
async def test_no_link_among_what_is_kept_is_followed(writing: FileWriter, shop: Path, suffix: str) -> None:
    await writing.put(KEY, OLD, token=TOKENS[0])
    kept = shop / "db" / KEPT / f"password{suffix}"
    kept.unlink(missing_ok=True)
    kept.symlink_to(shop.parent / "neighbour" / "secret")
    before = (shop.parent / "neighbour" / "secret").read_bytes()
    for version in (PREVIOUS, PENDING):
        assert not isinstance(await read(writing, version), Value)
    try:
        await writing.put(KEY, NEW, token=TOKENS[1])
    except Invalid:
        assert await text(writing) == "kt-canary-old"
    assert (shop.parent / "neighbour" / "secret").read_bytes() == before


async def test_a_file_that_others_changed_has_another_version_and_is_kept_as_previous(writing: FileWriter, shop: Path) -> None:
    ours = await writing.put(KEY, OLD, token=TOKENS[0])
    (shop / KEY).write_bytes(b"kt-canary-by-hand")
    with pytest.raises(Conflict):
        await writing.put(KEY, NEW, token=TOKENS[1], expect=ours)
    theirs = await read(writing)
    assert isinstance(theirs, Value)
    assert theirs.version not in {"", ours}
    await writing.put(KEY, NEW, token=TOKENS[2], expect=theirs.version)
    assert [await text(writing), await text(writing, PREVIOUS), await text(writing, theirs.version)] == [
        "kt-canary-new",
        "kt-canary-by-hand",
        "kt-canary-by-hand",
    ]
    await writing.promote(KEY, theirs.version)
    assert (shop / KEY).read_bytes() == b"kt-canary-by-hand"


async def test_a_file_that_others_made_can_be_deleted_and_comes_back(writing: FileWriter, shop: Path) -> None:
    await writing.delete("inside")
    assert not (shop / "inside").exists()
    await writing.undelete("inside")
    assert (shop / "inside").read_bytes() == b"kt-canary-inside"
    await writing.delete("inside", purge=True)
    assert not holding(shop, b"kt-canary")


async def test_neither_token_nor_value_is_in_what_is_written_down(writing: FileWriter, shop: Path) -> None:
    await writing.put(KEY, NEW, token=TOKENS[0])
    state = (shop / "db" / KEPT / "password.state").read_text()
    assert TOKENS[0] not in state
    assert "kt-canary" not in state


async def test_a_damaged_state_is_told_and_never_guessed_at(writing: FileWriter, shop: Path) -> None:
    await writing.put(KEY, OLD, token=TOKENS[0])
    (shop / "db" / KEPT / "password.state").write_bytes(b'{"names": 1')
    with pytest.raises(Invalid, match="damaged; remove it"):
        await writing.put(KEY, NEW, token=TOKENS[1])
    assert await text(writing) == "kt-canary-old"
    (shop / "db" / KEPT / "password.state").unlink()
    await writing.put(KEY, NEW, token=TOKENS[1])
    assert [await text(writing), await text(writing, PREVIOUS)] == ["kt-canary-new", "kt-canary-old"]


async def test_whoever_holds_the_lock_is_waited_for_and_not_for_ever(
    writing: FileWriter, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writing.put(KEY, OLD, token=TOKENS[0])
    monkeypatch.setattr(file_kept, "_LOCKED_S", 0.05)
    with (shop / "db" / KEPT / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="is being written"):
            await writing.put(KEY, NEW, token=TOKENS[1])
        assert await text(writing) == "kt-canary-old"
    await writing.put(KEY, NEW, token=TOKENS[1])


async def test_a_put_is_known_for_as_long_as_sixty_four_others(writing: FileWriter) -> None:
    first = await writing.put(KEY, OLD, token=TOKENS[0])
    for token in TOKENS[1:64]:
        await writing.put(KEY, NEW, token=token)
    assert await writing.put(KEY, OLD, token=TOKENS[0]) == first
    assert await text(writing) == "kt-canary-new"


@pytest.mark.parametrize("key", ["inside/x", "x" * 250, "db/..data/x"])
async def test_a_name_that_cannot_be_written_is_told(writing: FileWriter, key: str) -> None:
    with pytest.raises(Invalid):
        await writing.put(key, NEW, token=TOKENS[0])


async def test_a_conflict_names_the_version_that_is_current(writing: FileWriter) -> None:
    with pytest.raises(Conflict, match="db/password: version 1 should be current, and it is not there; read it again"):
        await writing.put(KEY, NEW, token=TOKENS[0], expect="1")
    current = await writing.put(KEY, OLD, token=TOKENS[1])
    with pytest.raises(Conflict, match=f"db/password: version 1 should be current, and version {current} is; read it again"):
        await writing.put(KEY, NEW, token=TOKENS[2], expect="1")


async def test_keys_may_be_named_as_what_is_kept_is(writing: FileWriter) -> None:
    keys = ["a", "a.state", "a.previous", "a.new", "a.state.new", "lock", ".lock"]
    for turn in range(2):
        for number, key in enumerate(keys):
            await writing.put(key, Sensitive.of(f"kt-canary-{turn}-{key}"), token=TOKENS[2 * number + turn])
    for key in keys:
        for version, turn in (("", 1), (CURRENT, 1), (PREVIOUS, 0)):
            answer = await read(writing, version, key)
            assert isinstance(answer, Value)
            assert answer.data == Sensitive.of(f"kt-canary-{turn}-{key}")


async def test_a_file_that_may_not_be_read_is_not_overwritten_and_nothing_is_left(
    writing: FileWriter, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writing.put(KEY, OLD, token=TOKENS[0])
    real = os.rename

    def refused(source: str, *args: object, **named: object) -> None:
        if source.endswith(".new"):
            raise PermissionError(13, "kt-canary-library-text")
        real(source, *args, **named)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(AccessDenied) as told:
        await writing.put(KEY, NEW, token=TOKENS[1])
    assert "kt-canary" not in all_that_hangs_on(told.value)
    monkeypatch.undo()
    assert not holding(shop, NEW.reveal())
    with pytest.raises(Conflict):
        await writing.put(KEY, NEW, token=TOKENS[1], expect="")
    await writing.put(KEY, NEW, token=TOKENS[1])
    assert await text(writing) == "kt-canary-new"


async def test_tags_and_other_stages_are_refused(writing: FileWriter) -> None:
    with pytest.raises(Invalid):
        await writing.put(KEY, NEW, token=TOKENS[0], tags={"team": "shop"})
    with pytest.raises(Invalid):
        await writing.put(KEY, NEW, token=TOKENS[0], stage=PREVIOUS)
    with pytest.raises(Invalid):
        await writing.put(KEY, NEW, token="short")
    with pytest.raises(NotFound):
        await writing.versions(KEY)


async def test_after_close_nothing_is_written(writing: FileWriter, shop: Path) -> None:
    await writing.close()
    for call in (writing.put(KEY, NEW, token=TOKENS[0]), writing.delete("inside"), writing.versions("inside")):
        with pytest.raises(Unavailable):
            await call
    assert (shop / "inside").exists()
    assert not (shop / "db").exists()


@pytest.mark.parametrize(
    "doing", [{"source": ".new", "clean": ["/../../secret"]}, {"source": "/../../secret"}, {"source": "", "clean": []}]
)
async def test_what_others_wrote_into_the_state_moves_and_removes_nothing(
    writing: FileWriter, shop: Path, doing: dict[str, object]
) -> None:
    await writing.put(KEY, OLD, token=TOKENS[0])
    place = shop / "db" / KEPT / "password.state"
    place.write_text(json.dumps({"names": {}, "puts": {}, "is_deleted": False, "doing": doing}))
    before = sorted(path for path in shop.parent.rglob("*") if "lock" not in path.name)
    with pytest.raises(Invalid, match="is damaged; remove it"):
        await writing.put(KEY, NEW, token=TOKENS[1])
    assert sorted(path for path in shop.parent.rglob("*") if "lock" not in path.name) == before
    assert await text(writing) == "kt-canary-old"


async def test_a_state_without_an_end_of_brackets_is_damaged(writing: FileWriter, shop: Path) -> None:
    await writing.put(KEY, OLD, token=TOKENS[0])
    (shop / "db" / KEPT / "password.state").write_text("[" * 100_000)
    with pytest.raises(Invalid, match="is damaged; remove it"):
        await writing.put(KEY, NEW, token=TOKENS[1])
