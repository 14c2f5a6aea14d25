"""What becomes of all that was opened for readers: with the provider's edits and end, with theirs, and in outages."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import cast

import pytest

from builders import managed, msec, staged, target_ref
from flow.readers import BANK, INTERVAL_S, SHOP, VAULT, given, of, open_for, per_reader, reason, shelves, token, wanting, working
from keyturn.flow.refresher import IDLE_S
from keyturn.handlers.news import News
from keyturn.kube.client import Client
from keyturn.kube.metadata import Metadata
from keyturn.kube.objects import ObjectCache
from keyturn.model.errors import AuthFailed, ProviderError, Unavailable
from keyturn.model.ids import READER
from keyturn.model.material import SourceRef
from keyturn.model.reader import Reader
from keyturn.model.vault import TokenLogin, VaultConfig
from keyturn.providers.guard import Guard
from keyturn.testing.world import Stage


@staged
async def test_the_end_of_the_provider_closes_it_for_everybody(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    stage.cluster.remove(VAULT)
    await stage.quiet()
    assert shelves(stage) == set()
    assert stage.providers.followed == {}
    await stage.until(lambda: open_for(stage) == [])
    assert {reason(stage, "shop"), reason(stage, "bank")} == {"ProviderNotFound"}
    calls = [len(of(stage, namespace).calls) for namespace in ("shop", "bank")]
    await stage.passes(10 * INTERVAL_S)
    assert [len(of(stage, namespace).calls) for namespace in ("shop", "bank")] == calls


@staged
async def test_a_provider_that_comes_again_under_the_same_name_shares_nothing_with_the_former_one(stage: Stage) -> None:
    await working(stage, "shop")
    stage.cluster.remove(VAULT)
    stage.cluster.put(replace(per_reader(), uid="uid-of-another"))
    of(stage, "shop").values["password"] = "kt-canary-2"
    await stage.until_time(lambda: stage.data(target_ref()) == {"password": "kt-canary-2"}, 2)


@staged
async def test_an_edit_opens_it_anew_for_everybody(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    before = list(stage.providers.opened)
    edited = replace(per_reader().order, config=VaultConfig("https://other.test", TokenLogin(token(READER))))  # type: ignore[type-var]  # an order
    stage.cluster.edit(VAULT, order=edited)
    await stage.passes(INTERVAL_S + 1)
    await stage.until(lambda: all(each.is_closed for each in before))
    assert open_for(stage) == sorted(map(str, (token(READER), token("bank"), token("shop"))))


@staged
async def test_one_log_in_for_all_takes_the_place_of_one_for_each_and_the_other_way_round(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    of(stage, "vault-system").values["password"] = "kt-canary-for-all"
    stage.cluster.edit(VAULT, order=per_reader("vault-system").order)
    await stage.quiet()
    assert stage.data(target_ref()) == stage.data(target_ref(namespace="bank")) == {"password": "kt-canary-for-all"}
    [ready] = stage.cluster.objects[VAULT].status.conditions
    assert ready.reason == "Valid"
    await stage.passes(IDLE_S + INTERVAL_S)
    assert shelves(stage) == {VAULT}, "nobody wants anything by a log-in of its own any more"
    assert stage.providers.followed == {VAULT: {token("vault-system")}}
    stage.cluster.edit(VAULT, order=per_reader().order)
    await stage.quiet()
    assert stage.data(target_ref()) == {"password": "kt-canary-shop"}
    assert stage.providers.followed[VAULT] == frozenset()
    await stage.until(lambda: str(token("vault-system")) not in open_for(stage))


@staged
async def test_what_nobody_wants_any_more_is_closed_after_some_minutes_and_opened_again_when_it_is(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    stage.cluster.remove(msec(namespace="bank"))
    await stage.passes(IDLE_S + INTERVAL_S)
    assert shelves(stage) == {VAULT, SHOP}
    assert BANK not in stage.providers.followed
    await stage.until(lambda: str(token("bank")) not in open_for(stage))
    stage.cluster.put(managed(what=wanting(), namespace="bank"))
    await stage.quiet()
    assert reason(stage, "bank") == "Synced"


@staged
async def test_whoever_asks_now_and_then_keeps_it_open_though_nothing_is_refreshed(stage: Stage) -> None:
    given(stage)
    of(stage, "shop").values["password"] = "kt-canary-1"
    stage.cluster.put(managed(what=wanting(interval_s=0)))
    stage.start()
    for n in range(5):
        await stage.passes(0.8 * IDLE_S)
        stage.cluster.edit(msec(), reconcile_token=str(n))
        await stage.quiet()
    assert [each.name for each in stage.providers.opened].count(str(token("shop"))) == 1
    await stage.passes(1.1 * IDLE_S)
    assert shelves(stage) == {VAULT}


@staged
async def test_a_namespace_that_goes_takes_along_what_was_opened_for_it(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    stage.world.refresher.leave("bank")
    assert shelves(stage) == {VAULT, SHOP}
    assert BANK not in stage.providers.followed


def knowing(stage: Stage, *namespaces: str) -> News:
    """News on a cache that knows these namespaces."""
    news = News(ObjectCache(cast("Client", None)), stage.world)
    for namespace in namespaces:
        news.namespace_changed(Metadata(name=namespace, uid=f"uid-of-{namespace}"))
    return news


@staged
async def test_news_of_a_namespace_close_what_was_opened_for_it_where_it_went_or_is_another(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    news = knowing(stage, "shop", "bank")
    news.namespace_changed(Metadata(name="shop", uid="uid-of-shop", labels={"team": "shop"}))
    assert shelves(stage) == {VAULT, SHOP, BANK}
    news.namespace_changed(Metadata(name="shop", uid="uid-of-another"))
    assert shelves(stage) == {VAULT, BANK}
    news.namespace_lost(("", "bank"), "uid-of-bank")
    assert shelves(stage) == {VAULT}


@staged
async def test_the_cluster_is_known_by_the_uid_of_a_namespace(stage: Stage) -> None:
    news = knowing(stage, "kube-system", "shop")
    assert news.cache.namespace_uid("kube-system") == "uid-of-kube-system"
    news.namespace_lost(("", "kube-system"), "uid-of-kube-system")
    assert news.cache.namespace_uid("kube-system") == ""
    assert news.cache.namespace_labels("kube-system") is None


@pytest.mark.parametrize("failure", [Unavailable("no connection"), AuthFailed("the log-in was refused")], ids=["away", "refused"])
@staged
async def test_who_failed_is_tried_again_as_soon_as_another_of_its_namespace_gets_through(stage: Stage, failure: ProviderError) -> None:
    stage.providers.wrap = partial(Guard, clock=asyncio.get_running_loop().time)
    await working(stage, "shop", "bank")
    stage.cluster.put(managed("daily", wanting("user", target="daily", interval_s=86_400.0)))
    await stage.quiet()
    of(stage, "shop").down = of(stage, "bank").down = failure
    of(stage, "shop").values["user"] = "kt-canary-2"
    await stage.passes(1)
    stage.cluster.edit(msec(namespace="bank"), reconcile_token="now")
    stage.cluster.edit(msec("daily"), reconcile_token="now")  # has it read at once
    await stage.until_time(lambda: stage.world.memories[msec("daily")].attempts >= 3, 200)
    await stage.passes(1.5)  # for so long a failure is everybody's
    of(stage, "shop").down = None
    looked, asked = len(stage.counts.outcomes), len(of(stage, "bank").calls)
    assert stage.world.memories[msec(namespace="bank")].attempts
    stage.cluster.edit(msec(), reconcile_token="now")
    before = stage.clock.now()
    await stage.until(lambda: stage.data(target_ref("daily")) == {"user": "kt-canary-2"})
    assert stage.clock.now() == before
    await stage.quiet()
    assert len(stage.counts.outcomes) <= looked + 3
    assert len(of(stage, "bank").calls) == asked, "nobody of another namespace"


@staged
async def test_a_first_answer_wakes_nobody(stage: Stage) -> None:
    given(stage)
    of(stage, "shop").values["password"] = "kt-canary-1"
    for n in range(5):
        stage.cluster.put(managed(f"app-{n}", wanting(target=f"app-{n}")))
    stage.start(workers=1)
    await stage.quiet()
    assert stage.counts.outcomes == ["Synced"] * 5


@staged
async def test_an_outage_is_stale_after_its_time_also_for_one_that_was_never_checked(stage: Stage) -> None:
    stage.providers.wrap = partial(Guard, clock=asyncio.get_running_loop().time)
    await working(stage, "shop", "bank")
    await stage.passes(600)  # what counts is when it was last read, and not when the operator began
    of(stage, "shop").down = Unavailable("no connection")
    await stage.passes(200)
    assert reason(stage, "shop") == "Synced"
    await stage.passes(150)
    assert (reason(stage, "shop"), reason(stage, "bank")) == ("Stale", "Synced")


@staged
async def test_after_a_restart_all_is_read_again_by_each_for_itself(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    await stage.restart()
    await stage.quiet()
    assert stage.tape.only("create", "apply")[2:] == []
    of(stage, "bank").values["password"] = "kt-canary-2"
    await stage.passes(INTERVAL_S)
    assert stage.data(target_ref(namespace="bank")) == {"password": "kt-canary-2"}
    assert stage.data(target_ref()) == {"password": "kt-canary-shop"}


@staged
async def test_who_does_not_lead_has_nothing_open_for_anybody(stage: Stage) -> None:
    await working(stage, "shop", "bank")
    stage.lose()
    assert shelves(stage) == set()
    await stage.until(lambda: open_for(stage) == [])
    stage.lead()
    await stage.passes(INTERVAL_S)
    assert {SHOP, BANK} < shelves(stage)


@staged
async def test_a_read_under_way_ends_without_harm_when_its_provider_is_closed(stage: Stage) -> None:
    given(stage)
    of(stage, "shop").values["password"] = "kt-canary-1"
    found = stage.world.objects.provider(VAULT)
    assert found is not None
    mine = found.read_by(Reader("shop"))
    reading = asyncio.ensure_future(stage.world.refresher.fetch(mine, [SourceRef("password")], max_age_s=0, who=msec()))
    await stage.until(lambda: of(stage, "shop").calls)
    stage.world.refresher.close_shelf(mine.ref)
    [value] = (await reading).values()
    assert not isinstance(value, ProviderError)
    assert stage.world.refresher.last_good(mine.ref) is None
