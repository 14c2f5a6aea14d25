"""One ManagedSecret becomes one Secret: the whole way of a value, read as a sentence.

Each step gives a noun or raises a `KeyturnError`; ``flow/settle.py`` tells the truth about either.
"""

from keyturn.flow.effects import Done, perform
from keyturn.flow.steps import admit, compose, diff, fetch, gather, observe
from keyturn.flow.world import World
from keyturn.model.objects import Managed


async def sync(managed: Managed, world: World) -> Done:
    """Brings the Secret to what the spec orders, in one step."""
    order, sources = admit(managed, world)
    sight = await observe(managed, order, world)
    material = await fetch(managed, order, sources, world)
    data = gather(managed, order, material, world)
    desired = await compose(managed, order, material, data, sight, world)
    plan = diff(managed, order, desired, sight, world)
    return await perform(plan, managed, world)
