"""A provider that is edited while it is in use: whoever was at it goes on with the new one, and nothing is said of the old one's end."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from builders import managed, msec, sprov, staged, target_ref
from keyturn.flow.check import check
from keyturn.model.errors import AuthFailed, ProviderError, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.model.order import FileConfig, ProviderOrder
from keyturn.ports import Provider
from keyturn.providers.guard import REMOTE, Guard
from keyturn.testing.world import Stage

APP, SECRET, VAULT = msec(), target_ref(), sprov()


@dataclass
class Hanging:
    """A provider that answers nothing, until it is closed."""

    inner: Provider
    begun: asyncio.Event
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        self.begun.set()
        await self.closed.wait()
        raise Unavailable("the provider is closed")

    async def validate(self) -> None:
        await self.get_many([])

    async def close(self) -> None:
        self.closed.set()


def hanging_first(stage: Stage) -> asyncio.Event:
    """Makes the first opened provider hang, before any is opened; there is a second one to edit it to."""
    begun = asyncio.Event()
    stage.providers.wrap = lambda opened: Guard(Hanging(opened, begun) if len(stage.providers.opened) == 1 else opened, REMOTE)  # type: ignore[arg-type]  # all else is the inner one's
    stage.source("second", password="kt-canary-second")
    return begun


def edited(stage: Stage) -> None:
    stage.cluster.edit(VAULT, order=ProviderOrder(FileConfig("second")))


@staged
async def test_what_is_read_while_its_provider_is_edited_is_read_from_the_new_one_in_silence(stage: Stage) -> None:
    begun = hanging_first(stage)
    stage.cluster.put(managed())
    reading = asyncio.create_task(stage.settle(APP))
    await begun.wait()
    edited(stage)
    stage.start(workers=2)
    await reading
    await stage.until(lambda: stage.reason(APP) == "Synced")
    assert stage.data(SECRET) == {"password": "kt-canary-second"}
    assert stage.counts.outcomes.count("Synced") == len(stage.counts.outcomes) - 1
    assert stage.events.reasons == []


@staged
async def test_a_provider_that_is_edited_while_it_is_checked_is_checked_anew_in_silence(stage: Stage) -> None:
    begun = hanging_first(stage)
    checking = asyncio.create_task(check(VAULT, stage.world))
    await begun.wait()
    edited(stage)
    stage.cluster.put(managed())
    await stage.settle(APP)
    await checking
    stage.start()
    await stage.quiet()
    found = stage.world.objects.provider(VAULT)
    ready = found.status.condition("Ready") if found else None
    assert ready is not None
    assert (ready.reason, stage.reason(APP)) == ("Valid", "Synced")
    assert stage.events.reasons == []


@staged
async def test_whoever_waits_for_a_provider_is_sent_to_its_condition_once(stage: Stage) -> None:
    stage.source().down = AuthFailed("the log-in was refused")
    await check(VAULT, stage.world)
    stage.cluster.put(managed())
    await stage.settle(APP)
    ready = stage.status(APP).condition("Ready")
    assert ready is not None
    assert ready.message == "SecretProvider/vault is not ready. See the provider object's own Ready condition."
