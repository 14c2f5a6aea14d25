"""How much one object may take into its hands, and how a pass lets go of what it read piece by piece."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from builders import entry, managed, msec, order, staged
from keyturn.flow.load import MOST
from keyturn.flow.steps import FETCH_S
from keyturn.model.errors import ProviderError
from keyturn.model.material import SourceRef, Value
from keyturn.ports import Provider
from keyturn.testing.world import Stage

MIB = "kt-canary-" + "x" * (1 << 20)


@dataclass(slots=True)
class Piecewise:
    """A provider that answers two at a time, as the guard does where values are large."""

    behind: Provider

    def __getattr__(self, name: str) -> object:
        return getattr(self.behind, name)

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        return await self.behind.get_many(refs[:2])


@staged
async def test_an_object_that_draws_on_too_much_is_told_so_before_all_of_it_is_read(stage: Stage) -> None:
    stage.providers.wrap = Piecewise  # type: ignore[assignment]  # the rest is passed on
    keys = [f"k{n}" for n in range(100)]
    stage.source("vault", **dict.fromkeys(keys, MIB))
    stage.cluster.put(managed(what=order(*(entry(key) for key in keys))))
    stage.start()
    await stage.until(lambda: stage.reason(msec()))
    assert f"more than {MOST >> 20} MiB" in stage.status(msec()).conditions[0].message
    assert sum(map(len, stage.source().calls)) < 10


@staged
async def test_what_comes_in_pieces_is_read_to_the_end_and_once(stage: Stage) -> None:
    stage.providers.wrap = Piecewise  # type: ignore[assignment]  # the rest is passed on
    keys = [f"k{n}" for n in range(9)]
    stage.source("vault", **{key: f"kt-canary-{key}" for key in keys})
    stage.cluster.put(managed(what=replace(order(*(entry(key) for key in keys)), interval_s=60.0)))
    stage.start()
    await stage.until(lambda: stage.reason(msec()) == "Synced")
    assert sorted(ref.key for call in stage.source().calls for ref in call) == keys
    stage.source("vault", k7="kt-canary-new")
    await stage.passes(121)
    assert stage.data(next(iter(stage.cluster.secrets)))["k7"] == "kt-canary-new"


@staged
async def test_a_provider_that_is_slow_piece_after_piece_keeps_its_worker_for_a_minute_at_most(stage: Stage) -> None:
    @dataclass(slots=True)
    class Slow(Piecewise):
        async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
            await asyncio.sleep(9)
            return await self.behind.get_many(refs[:1])

    stage.providers.wrap = Slow  # type: ignore[assignment]  # the rest is passed on
    keys = [f"k{n}" for n in range(40)]
    stage.source("vault", **{key: f"kt-canary-{key}" for key in keys})
    stage.cluster.put(managed(what=order(*(entry(key) for key in keys))))
    stage.start()
    await stage.until_time(lambda: stage.reason(msec()) == "ProviderUnavailable", FETCH_S + 2)
    assert f"within {FETCH_S:g} s" in stage.status(msec()).conditions[0].message
