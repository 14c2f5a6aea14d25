"""Files that change while they are read: swaps never lead out, and a key is never a mix of two values."""

import itertools
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contract.files import OUTSIDE, answer, answers, in_shop, mount
from keyturn.model.errors import Invalid, NotFound, ProviderError, Unavailable

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("opener")]  # each meets both ways of opening


@contextmanager
def meanwhile(act: Callable[[int], None]) -> Iterator[None]:
    """Does ``act`` over and over in a thread while the body runs."""
    done = threading.Event()

    def run() -> None:
        for count in itertools.count():
            if done.is_set():
                return
            act(count)

    thread = threading.Thread(target=run)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # both sides take many small turns, so that they meet in every gap
    thread.start()
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join(10)
    assert not thread.is_alive()


async def test_a_file_that_grows_while_it_is_read_ends_in_a_bounded_answer(shop: Path):
    growing = shop / "growing"
    growing.write_bytes(b"")

    def grow(_: int) -> None:
        with growing.open("ab") as file:
            file.write(b"x" * 4096)

    with meanwhile(grow):
        for _ in range(50):
            found = await answer(in_shop(shop), "growing")
            assert isinstance(found, Invalid | Unavailable) or set(found) <= {ord("x")}


def _replace_by_link(link: Path, target: str) -> None:
    swap = link.with_name(f".{link.name}.swap")
    swap.symlink_to(target)
    swap.rename(link)


async def test_a_file_that_is_swapped_for_a_link_never_gives_what_is_outside(shop: Path):
    def swap(count: int) -> None:
        if count % 2:
            _replace_by_link(shop / "target", "../secret")
        else:
            (shop / ".file").write_bytes(b"kt-canary-inside")
            (shop / ".file").rename(shop / "target")

    seen = await _kinds_seen_while(swap, shop, "target")
    assert seen <= {b"kt-canary-inside", Invalid, NotFound, Unavailable}


async def test_a_folder_that_is_swapped_for_a_link_never_gives_what_is_outside(shop: Path):
    for name in ("real", "deep"):
        (shop / name).mkdir()
    (shop / "deep" / "secret").write_bytes(b"kt-canary-inside")
    swapped = shop / "deep"

    def swap(count: int) -> None:
        if count % 2:
            swapped.rename(shop / "away")
            _replace_by_link(swapped, "../neighbour")
        elif swapped.is_symlink():
            swapped.unlink()
            (shop / "away").rename(swapped)

    seen = await _kinds_seen_while(swap, shop, "deep/secret")
    assert seen <= {b"kt-canary-inside", Invalid, NotFound, Unavailable}


async def test_a_folder_that_is_moved_up_during_dots_never_opens_what_is_above(shop: Path):
    (shop / "a" / "b").mkdir(parents=True)
    (shop / "a" / "b" / "dots").symlink_to("../../secret")
    (shop / "secret").write_bytes(b"kt-canary-inside")

    def move(count: int) -> None:
        if count % 2:
            (shop / "a" / "b").rename(shop / "b")
        elif (shop / "b").exists():
            (shop / "b").rename(shop / "a" / "b")

    seen = await _kinds_seen_while(move, shop, "a/b/dots") | await _kinds_seen_while(move, shop, "b/dots")
    assert OUTSIDE not in seen


async def _kinds_seen_while(act: Callable[[int], None], shop: Path, key: str) -> set[object]:
    source = in_shop(shop)
    seen: set[object] = set()
    deadline = time.monotonic() + 1.0
    with meanwhile(act):
        while time.monotonic() < deadline:
            found = await answer(source, key)
            seen.add(type(found) if isinstance(found, ProviderError) else found)
    return seen


async def test_a_volume_that_is_swapped_while_it_is_read_gives_old_or_new_and_never_a_mix_within_a_key(shop: Path):
    def remount(count: int) -> None:
        letter = b"ab"[count % 2 : count % 2 + 1]
        mount(shop, str(count), {"big": letter * (1 << 20)})
        shutil.rmtree(shop / f"..{count - 1}", ignore_errors=True)

    remount(0)
    source = in_shop(shop)
    seen = set()
    deadline = time.monotonic() + 1.0
    with meanwhile(lambda count: remount(count + 1)):
        while time.monotonic() < deadline:
            try:
                found = await answer(source, "big")
            except Unavailable:
                continue  # a volume that changes at each of three attempts
            # Never NotFound: the old files are removed after the swap, and a read on its way there looks again.
            assert found in {b"a" * (1 << 20), b"b" * (1 << 20)}
            seen.add(found[:1])
    assert seen == {b"a", b"b"}


async def test_keys_of_one_volume_that_are_asked_for_together_are_of_one_generation(shop: Path):
    keys = [f"key{number}" for number in range(20)]

    def remount(count: int) -> None:
        mount(shop, str(count), dict.fromkeys(keys, b"kt-canary-%d" % count))
        time.sleep(0.01)  # the pace of swaps, not a wait for anything

    remount(0)
    source = in_shop(shop)
    generations = set()
    deadline = time.monotonic() + 1.0
    with meanwhile(lambda count: remount(count + 1)):
        while time.monotonic() < deadline:
            try:
                found = set((await answers(source, *keys)).values())
            except Unavailable:
                continue  # a slow machine, on which the volume changes at each of three attempts
            assert len(found) == 1
            generations |= found
    assert len(generations) > 1
