"""A provider that goes away, or returns, says so on its own object soon, and is not asked more often for it."""

import asyncio
from functools import partial

import pytest

from builders import managed, order, provider, sprov, staged
from keyturn.flow.check import SOON_S
from keyturn.model.errors import AuthFailed, ProviderError, Throttled, Unavailable
from keyturn.providers.guard import Guard
from keyturn.testing.world import Stage

VAULT = sprov()
INTERVAL_S = 15.0
AWAY, REFUSED, BUSY = Unavailable("the server gave no answer"), AuthFailed("the log-in was refused"), Throttled("a pause")


def ready(stage: Stage) -> tuple[str, str]:
    """The provider's own condition: its status and reason."""
    found = next(iter(stage.cluster.objects[VAULT].status.conditions), None)
    return (found.status, found.reason) if found else ("", "")


async def in_sync(stage: Stage, count: int = 3) -> None:
    """So many objects that are refreshed every 15 s, behind the guard."""
    stage.providers.wrap = partial(Guard, clock=asyncio.get_running_loop().time)
    stage.cluster.put(provider())
    for n in range(count):
        stage.cluster.put(managed(f"app-{n}", order(target=f"app-{n}", interval_s=INTERVAL_S)))
    stage.start()
    await stage.passes(1)
    assert ready(stage) == ("True", "Valid")


@pytest.mark.parametrize(("failure", "reason"), [(AWAY, "ProviderUnavailable"), (REFUSED, "AuthFailed")], ids=["away", "refused"])
@staged
async def test_an_outage_and_its_end_are_on_the_provider_within_seconds_of_the_first_read(
    stage: Stage, failure: ProviderError, reason: str
) -> None:
    await in_sync(stage)
    stage.source().down = failure
    await stage.until_time(lambda: ready(stage) == ("False", reason), INTERVAL_S + SOON_S + 1)
    await stage.passes(600)
    stage.source().down = None
    await stage.until_time(lambda: ready(stage) == ("True", "Valid"), INTERVAL_S + SOON_S + 1)


@staged
async def test_an_outage_costs_the_provider_few_checks_and_the_api_server_two_writes(stage: Stage) -> None:
    await in_sync(stage, 50)
    stage.tape.rewind()
    stage.source().down = AWAY
    await stage.passes(240)
    stage.source().down = None
    await stage.passes(INTERVAL_S + SOON_S)
    checks = [line for line in stage.tape.only("intend") if line.startswith("intend provider.check")]
    # Twice because of what reads met; the others are the ever rarer tries of a check that failed.
    assert 2 <= len(checks) <= 12
    assert len(stage.tape.only("status-provider")) == 2
    assert stage.tape.only("create", "apply") == []


@staged
async def test_a_provider_that_flickers_is_checked_once_in_some_seconds(stage: Stage) -> None:
    await in_sync(stage)
    shelf = stage.world.refresher.shelf(stage.world.objects.provider(VAULT))  # type: ignore[arg-type]  # it is there
    checked = stage.source().log_ins
    for _ in range(600):
        stage.source().down = None if stage.source().down else AWAY
        stage.world.refresher.on_turn(shelf.object.ref, stage.source().down is None)
        await asyncio.sleep(0.1)
    assert 2 <= stage.source().log_ins - checked <= 60 / SOON_S + 1


@staged
async def test_what_is_met_while_a_check_is_under_way_is_not_forgotten(stage: Stage) -> None:
    answer = stage.cluster.hold("status-provider")
    stage.cluster.put(managed())
    stage.start(workers=2)
    await stage.until(lambda: ready(stage) == ("True", "Valid"))
    stage.source().down = AWAY
    stage.world.refresher.on_turn(VAULT, False)
    answer.set()
    await stage.until_time(lambda: ready(stage) == ("False", "ProviderUnavailable"), SOON_S + 2)


@staged
async def test_a_provider_that_wishes_for_a_pause_is_not_checked_for_it(stage: Stage) -> None:
    await in_sync(stage)
    checked = stage.source().log_ins
    stage.source().down = BUSY
    await stage.passes(100)
    assert stage.source().log_ins == checked


@staged
async def test_who_is_well_is_left_alone_when_its_provider_turns(stage: Stage) -> None:
    """Else each short outage would be a sync of everything, twice."""
    stage.cluster.put(managed("daily", order("user", target="daily", interval_s=86_400.0)))
    await in_sync(stage)
    fetched = list(stage.source().calls)
    stage.source().down = AWAY
    await stage.passes(60)
    assert ready(stage)[0] == "False"
    assert stage.world.memories[managed("daily").ref].attempts == 0
    stage.source().down = None
    await stage.passes(60)
    assert ready(stage)[0] == "True"
    assert all("user" not in map(str, refs) for refs in stage.source().calls[len(fetched) :])
