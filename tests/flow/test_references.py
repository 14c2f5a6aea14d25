"""What a provider's log-in refers to was replaced: it is opened anew, and who failed by the old one tries again at once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from builders import managed, msec, order, sprov, staged, target_ref
from keyturn.handlers.news import News
from keyturn.model.errors import AuthFailed, ProviderError, Unavailable
from keyturn.model.ids import ObjectRef
from keyturn.model.material import SourceRef, Value
from keyturn.model.order import ProviderOrder
from keyturn.ports import Provider
from keyturn.providers.guard import REMOTE, Guard
from keyturn.testing.world import Stage

APP, SECRET, VAULT = msec(), target_ref(), sprov()
DENIED = AuthFailed("the log-in was refused")


def replaced(stage: Stage, provider: ObjectRef = VAULT) -> None:
    """The news of a new credential, as the operator takes it."""
    News(stage.cluster, stage.world).reference_changed(provider)  # type: ignore[arg-type]  # it asks the cache for nothing here


async def working(stage: Stage, *names: str) -> None:
    """These objects, in sync, with workers at the queue."""
    for name in names:
        stage.cluster.put(managed(name))
    stage.start()
    await stage.quiet()
    stage.tape.rewind()


@staged
async def test_the_provider_is_opened_anew_and_checked_at_once(stage: Stage) -> None:
    await working(stage, "app-db")
    [old] = stage.providers.opened
    log_ins = stage.source().log_ins
    replaced(stage)
    await stage.until(lambda: stage.source().log_ins == log_ins + 1)
    _, new = stage.providers.opened
    await stage.until(lambda: old.is_closed)
    assert not new.is_closed


@staged
async def test_a_well_object_is_not_touched(stage: Stage) -> None:
    await working(stage, "app-db")
    looked = len(stage.counts.outcomes)
    replaced(stage)
    await stage.until(lambda: len(stage.providers.opened) == 2)
    await stage.quiet()
    assert len(stage.counts.outcomes) == looked
    assert stage.tape.only("fetch", "create", "apply", "status") == []


@pytest.mark.parametrize("when", ["at first", "later"])
@staged
async def test_a_failing_object_is_woken_and_synced(stage: Stage, when: str) -> None:
    if when == "at first":
        stage.source().down = DENIED
    await working(stage, "app-db")
    if when == "later":
        stage.source().down = DENIED
        await stage.passes(1)
        stage.cluster.edit(APP, reconcile_token="now")  # has it read at once
        await stage.quiet()
    assert stage.reason(APP) == {"at first": "ProviderNotReady", "later": "AuthFailed"}[when]
    stage.source().down = None
    before = stage.clock.now()
    replaced(stage)
    await stage.until(lambda: stage.reason(APP) == "Synced")
    assert stage.clock.now() == before, "it waited for nothing"
    assert stage.data(SECRET) == {"password": "kt-canary-1"}


@staged
async def test_an_object_that_fails_in_silence_is_woken_too(stage: Stage) -> None:
    """Its Secret stands and it is Ready; the provider was away when it was read last, by an authority that is not trusted."""
    await working(stage, "app-db")
    stage.source().down = Unavailable("no connection")
    stage.source().values["password"] = "kt-canary-2"
    await stage.passes(1)
    stage.cluster.edit(APP, reconcile_token="now")  # has it read at once
    await stage.until(lambda: stage.world.memories[APP].attempts == 1)
    assert stage.reason(APP) == "Synced"
    stage.source().down = None
    before = stage.clock.now()
    replaced(stage)
    await stage.until(lambda: stage.data(SECRET) == {"password": "kt-canary-2"})
    assert stage.clock.now() == before


@staged
async def test_what_the_old_log_in_read_is_not_served_any_more(stage: Stage) -> None:
    await working(stage, "app-db")
    stage.source().values["password"] = "kt-canary-2"
    replaced(stage)
    stage.cluster.put(managed("other", order(target="other")))
    await stage.until(lambda: stage.reason(msec("other")) == "Synced")
    assert stage.data(target_ref("other")) == {"password": "kt-canary-2"}


@staged
async def test_rounds_go_on_for_all_who_want_something_and_wake_whose_value_changed(stage: Stage) -> None:
    await working(stage, "app-db")
    stage.cluster.put(managed("other", order("user", target="other")))
    await stage.quiet()
    replaced(stage)
    await stage.until(lambda: len(stage.providers.opened) == 2)
    await stage.quiet()
    stage.source().values["password"] = "kt-canary-2"
    stage.source().calls.clear()
    looked = len(stage.counts.outcomes)
    await stage.passes(3600)
    assert [sorted(ref.key for ref in call) for call in stage.source().calls] == [["password", "user"]]
    assert stage.data(SECRET) == {"password": "kt-canary-2"}
    assert len(stage.counts.outcomes) == looked + 1, "the one whose value is the same is not looked at"
    replaced(stage)
    await stage.quiet()
    stage.source().calls.clear()
    await stage.passes(3600)
    assert len(stage.source().calls) == 1, "the rounds of the former ones have ended"


@staged
async def test_a_new_log_in_keeps_in_mind_when_the_provider_was_read_well(stage: Stage) -> None:
    await working(stage, "app-db")
    read = stage.world.refresher.last_good(VAULT)
    await stage.passes(60)
    replaced(stage)
    await stage.until(lambda: len(stage.providers.opened) == 2)
    assert read is not None
    assert stage.world.refresher.last_good(VAULT) == read


@dataclass(slots=True)
class Slow:
    """A provider whose first read ends when it is told to, as the old log-in would by then."""

    inner: Provider
    begun: asyncio.Event
    go_on: asyncio.Event
    failure: ProviderError | None

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        self.begun.set()
        answers = await self.inner.get_many(refs)
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        return answers


def slow_first(stage: Stage, failure: ProviderError | None) -> tuple[asyncio.Event, asyncio.Event]:
    """Makes the first opened provider slow, before any is opened."""
    begun, go_on, former = asyncio.Event(), asyncio.Event(), stage.providers.open

    def open_slowly(of: ProviderOrder, ref: ObjectRef) -> Provider:
        opened = former(of, ref)
        return Slow(opened, begun, go_on, failure) if len(stage.providers.opened) == 1 else opened

    stage.world.refresher._providers = type("Slowly", (), {"open": staticmethod(open_slowly), "forget": stage.providers.forget})()
    return begun, go_on


@staged
async def test_a_failure_of_the_old_log_in_under_way_is_asked_again_by_the_new_one(stage: Stage) -> None:
    begun, go_on = slow_first(stage, DENIED)
    stage.cluster.put(managed())
    stage.start(workers=2)
    await begun.wait()
    replaced(stage)
    go_on.set()
    await stage.until(lambda: stage.reason(APP) == "Synced")
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert set(stage.counts.outcomes) == {"Synced"}
    assert stage.events.reasons == []


@staged
async def test_a_read_under_way_may_end_and_is_not_kept(stage: Stage) -> None:
    begun, go_on = slow_first(stage, None)
    stage.cluster.put(managed())
    stage.start(workers=4)
    await begun.wait()
    replaced(stage)
    await stage.until(lambda: len(stage.providers.opened) == 2)
    go_on.set()
    await stage.until(lambda: stage.reason(APP) == "Synced")
    calls = len(stage.source().calls)
    stage.cluster.put(managed("other", order(target="other")))
    await stage.until(lambda: stage.reason(msec("other")) == "Synced")
    assert len(stage.source().calls) == calls + 1


@staged
async def test_a_provider_that_goes_while_it_is_renewed_stays_closed(stage: Stage) -> None:
    begun, go_on = slow_first(stage, DENIED)
    stage.cluster.put(managed())
    stage.start(workers=4)
    await begun.wait()
    replaced(stage)
    stage.cluster.remove(VAULT)
    go_on.set()
    await stage.quiet()
    await stage.until(lambda: all(opened.is_closed for opened in stage.providers.opened))


@staged
async def test_a_closed_breaker_is_not_inherited(stage: Stage) -> None:
    """The new log-in may reach another server, or trust another authority: it is tried at once."""
    stage.providers.wrap = lambda provider: Guard(provider, REMOTE)
    stage.source().down = Unavailable("no connection")
    await working(stage, "app-db")
    await stage.until_time(lambda: stage.source().log_ins + len(stage.source().calls) >= 5, 600)
    stage.source().down = None
    before = stage.clock.now()
    replaced(stage)
    await stage.until(lambda: stage.reason(APP) == "Synced")
    assert stage.clock.now() == before


@staged
async def test_news_of_a_provider_that_is_not_open_is_harmless(stage: Stage) -> None:
    replaced(stage, sprov("nowhere"))
    replaced(stage)
    stage.start()
    await stage.quiet()
    assert len(stage.providers.opened) == 1
