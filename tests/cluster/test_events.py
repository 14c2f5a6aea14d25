"""Events for people on a real API server: no object, and nobody, has more of them than a person reads; what is dropped is counted."""

import asyncio
from datetime import timedelta

from builders import managed
from cluster.place import Place
from keyturn.kube.client import Client
from keyturn.kube.events import OF_ALL, OF_ONE, SERIES_WINDOW, EventPoster
from keyturn.model.objects import Managed
from keyturn.testing.clock import FakeClock


def about(place: Place, name: str) -> Managed:
    return managed(name, namespace=place.name, uid=f"uid-of-{name}-in-{place.name}")


async def posted(poster: EventPoster) -> None:
    running = asyncio.create_task(poster.run())
    await poster.drain(30)
    running.cancel()


async def test_an_object_that_never_rests_is_cut_short_and_the_others_are_heard(place: Place, client: Client) -> None:
    clock = FakeClock()
    poster = EventPoster(client, clock, "operator")
    for number in range(100):
        poster.post(about(place, "busy"), "Warning", "InvalidSpec", f"wrong in way {number}")
    poster.post(about(place, "calm"), "Normal", "Updated", "it has a new value")
    await posted(poster)
    told = [event["regarding"]["name"] for event in place.api.items("Event", place.name)]
    assert (told.count("busy"), told.count("calm")) == (OF_ONE, 1)
    assert poster.dropped == 100 - OF_ONE
    clock.jump(60)
    for number in range(3):
        poster.post(about(place, "busy"), "Warning", "InvalidSpec", f"wrong in another way {number}")
    await posted(poster)
    told = [event["regarding"]["name"] for event in place.api.items("Event", place.name)]
    assert told.count("busy") == OF_ONE + 1, "one a minute from then on"


async def test_the_same_again_is_one_event_with_a_count(place: Place, client: Client) -> None:
    clock = FakeClock()
    poster = EventPoster(client, clock, "operator")
    for _ in range(4):
        poster.post(about(place, "app"), "Normal", "Repaired", "as ordered again")
    await posted(poster)
    [event] = place.api.items("Event", place.name)
    assert event["series"]["count"] == 4
    clock.jump(SERIES_WINDOW / timedelta(seconds=1))
    poster.post(about(place, "app"), "Normal", "Repaired", "as ordered again")
    await posted(poster)
    assert len(place.api.items("Event", place.name)) == 2


async def test_all_together_are_bounded_too() -> None:
    clock = FakeClock()
    poster = EventPoster(None, clock, "operator")  # type: ignore[arg-type]  # nothing is posted here
    for number in range(int(OF_ALL) + 300):
        poster.post(managed(f"app-{number}"), "Warning", "AccessDenied", "403")
    assert poster.dropped == 300
