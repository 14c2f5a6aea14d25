"""The hands at the queue: each takes an object, settles it, and takes the next."""

import asyncio
import logging
from functools import partial

from keyturn.flow.check import check
from keyturn.flow.fair import Draws
from keyturn.flow.settle import settle
from keyturn.flow.workqueue import Lane
from keyturn.flow.world import World
from keyturn.model.errors import NotLeading, Rejected
from keyturn.model.ids import Kind, ObjectRef

log = logging.getLogger("keyturn.worker")

DEFECT_DELAY_S = 30.0
LEFT_DELAY_S = 2.0
"""When an object that was left to another replica is looked at again, where we lead on after all."""
FINISH_S = 10.0
"""How long a stop waits for a write under way."""


async def work(world: World, count: int) -> None:
    """Runs ``count`` workers until cancelled; whoever is at work then finishes first."""
    world.queue.share_out(count, partial(draws_on, world))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        hands = [group.create_task(_hand(world, stop), name=f"worker {n}") for n in range(count)]
        try:
            await stop.wait()
        except asyncio.CancelledError:
            world.queue.pause()
            for hand in hands:
                hand.cancel()
            raise


def draws_on(world: World, ref: ObjectRef) -> Draws:
    """The providers whose answers a worker at this object waits for."""
    if ref.kind is not Kind.MANAGED_SECRET:
        return (ref,)
    managed = world.objects.managed(ref)
    return () if managed is None or isinstance(managed.order, Rejected) else managed.order.providers(ref.namespace)


async def _hand(world: World, stop: asyncio.Event) -> None:
    while not stop.is_set():
        ref = await world.queue.get()
        job = asyncio.ensure_future(attend(ref, world))
        try:
            # A write under way is finished, so that its answer reaches audit and status.
            await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait({job}, timeout=FINISH_S)
            # What still hangs is given up, so that audit says of it that nobody knows.
            job.cancel()
            await asyncio.wait({job}, timeout=1)
            raise
        finally:
            world.queue.done(ref)


async def attend(ref: ObjectRef, world: World) -> None:
    """Settles one object. A defect of ours costs that object a delay, and the others nothing."""
    try:
        world.fence.check()
        if ref.kind is Kind.MANAGED_SECRET:
            await settle(ref, world)
        else:
            await check(ref, world)
    except NotLeading as error:
        log.info("left alone: %s", error, extra={"object": str(ref)})
        world.queue.add_after(ref, LEFT_DELAY_S, Lane.URGENT)
    except Exception:
        log.exception("defect while attending to %s", ref, extra={"object": str(ref)})
        world.telemetry.synced("Defect", 0.0)
        world.queue.add_after(ref, DEFECT_DELAY_S, Lane.ROUTINE)
