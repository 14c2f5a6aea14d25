"""Writes to Vault whose answers, or which themselves, are lost on the way: asked again, each comes to be once."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
from aiohttp import web

from bao_admin import BaoError
from contract.vault_writers import KEY, NEW, OLD, TOKENS, count, opened, stored
from contract.vaults import Front, Rig, front
from keyturn.model.errors import Conflict, Unavailable
from keyturn.model.material import PENDING, Cap
from keyturn.providers.vault_names import WAITING
from keyturn.providers.vault_writer import VaultWriter

_MOST_REQUESTS = 30


@dataclass
class Break:
    """Where the road breaks: at which request, and whether it came through before that."""

    at: int
    comes_through: bool
    seen: int = 0


class Road(Front):
    """A way to the server that breaks at one request, and is whole again after it."""

    breaks: Break = Break(-1, comes_through=True)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        is_here = self.breaks.seen == self.breaks.at and "/auth/" not in request.path
        self.breaks.seen += "/auth/" not in request.path
        if is_here and not self.breaks.comes_through:
            assert request.transport
            request.transport.abort()
            return web.Response()
        answer = await super().serve(request)
        if is_here:
            assert request.transport
            request.transport.abort()
        return answer


@asynccontextmanager
async def road_to(rig: Rig) -> AsyncIterator[tuple[Road, VaultWriter]]:
    """A road that is whole, and a writer at its end, which is logged in."""
    async with front(rig.bao, lambda _: None, Road) as road:
        assert isinstance(road, Road)
        far = opened(rig, server=road.url)
        await far.validate()
        yield road, far
        await far.close()


async def broken(
    rig: Rig, *, comes_through: bool, do: Callable[[VaultWriter, str], Awaitable[object]], check: Callable[[str, object], None],
    prepare: Callable[[VaultWriter, str], Awaitable[object]],
) -> int:  # fmt: skip
    """Does something once for each of its requests, at which the road breaks; then again, whole, and looks at what came of it."""
    sound = opened(rig)
    for at in itertools.count():
        assert at < _MOST_REQUESTS
        key = f"k{at}"
        await prepare(sound, key)
        async with road_to(rig) as (road, far):
            road.breaks = Break(at, comes_through)
            with suppress(Unavailable):  # a question is asked once more by the library itself
                await do(far, key)
            was_seen = road.breaks.seen > at
        check(key, await do(sound, key))
        if not was_seen:
            return at
    return 0


@pytest.mark.parametrize("comes_through", [True, False], ids=["lost on the way back", "lost on the way there"])
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "there"])
async def test_a_put_whose_road_breaks_anywhere_comes_to_be_once(
    rig: Rig, writing: VaultWriter, *, comes_through: bool, is_new: bool
) -> None:
    before = 0 if is_new else 1

    async def prepare(sound: VaultWriter, key: str) -> None:
        for token in TOKENS[:before]:
            await sound.put(key, OLD, token=token)

    def check(key: str, name: object) -> None:
        assert (name, count(rig, key), stored(rig, key)) == (str(before + 1), before + 1, "kt-canary-new")

    tried = await broken(
        rig, comes_through=comes_through, prepare=prepare, check=check,
        do=lambda writer, key: writer.put(key, NEW, token=TOKENS[9], expect=str(before or "")),
    )  # fmt: skip
    assert tried >= 3
    assert writing.caps & Cap.PUT


@pytest.mark.parametrize("comes_through", [True, False], ids=["lost on the way back", "lost on the way there"])
async def test_a_promotion_whose_road_breaks_anywhere_comes_to_be_once(rig: Rig, writing: VaultWriter, *, comes_through: bool) -> None:
    async def prepare(sound: VaultWriter, key: str) -> None:
        await sound.put(key, OLD, token=TOKENS[0])
        await sound.put(key, NEW, token=TOKENS[1], stage=PENDING)

    def check(key: str, _: object) -> None:
        assert (count(rig, key), stored(rig, key)) == (2, "kt-canary-new")
        with pytest.raises(BaoError, match="destroyed"):
            rig.bao.get(rig.mount, f"{WAITING}/{key}")

    do = VaultWriter.promote
    assert await broken(rig, comes_through=comes_through, prepare=prepare, check=check, do=lambda w, key: do(w, key, "p1")) >= 6
    assert writing.caps & Cap.STAGE


@pytest.mark.parametrize("comes_through", [True, False], ids=["lost on the way back", "lost on the way there"])
async def test_a_deletion_whose_road_breaks_anywhere_is_ended_by_the_next(rig: Rig, writing: VaultWriter, *, comes_through: bool) -> None:
    async def prepare(sound: VaultWriter, key: str) -> None:
        await sound.put(key, OLD, token=TOKENS[0])
        await sound.put(key, NEW, token=TOKENS[1], stage=PENDING)

    def check(key: str, _: object) -> None:
        for place in (key, f"{WAITING}/{key}"):
            with pytest.raises(BaoError):
                rig.bao.get(rig.mount, place)

    assert await broken(rig, comes_through=comes_through, prepare=prepare, check=check, do=VaultWriter.delete) >= 4
    assert writing.caps & Cap.DELETE


async def test_a_put_that_was_noted_and_never_made_does_not_take_anothers_version_for_its_own(rig: Rig, writing: VaultWriter) -> None:
    await writing.put(KEY, OLD, token=TOKENS[0])
    async with road_to(rig) as (road, far):
        road.breaks = Break(2, comes_through=False)  # the put itself, after its note
        with pytest.raises(Unavailable):
            await far.put(KEY, NEW, token=TOKENS[1], expect="1")
    rig.bao.put(rig.mount, KEY, {"password": "kt-canary-by-hand"})
    with pytest.raises(Conflict):
        await writing.put(KEY, NEW, token=TOKENS[1], expect="1")
    assert stored(rig) == "kt-canary-by-hand"
    assert await writing.put(KEY, NEW, token=TOKENS[1]) == "3"
