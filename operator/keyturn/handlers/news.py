"""What each piece of news means: which objects have to be looked at because of it.

Decides nothing about them; that is the work of whoever takes them from the queue.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn.decide.admit import is_of_class
from keyturn.flow.check import wake_users
from keyturn.flow.notes import note_end
from keyturn.flow.steps import providers_of
from keyturn.flow.workqueue import Lane
from keyturn.flow.world import World
from keyturn.kube.client import decode
from keyturn.kube.metadata import Metadata
from keyturn.kube.objects import ObjectCache, is_echo, managed_from, path_of, provider_from
from keyturn.kube.watch import Key
from keyturn.model.errors import ClusterError, ObjectGone, Rejected
from keyturn.model.ids import Kind, ObjectRef, SecretRef
from keyturn.model.objects import Cached, Managed

log = logging.getLogger("keyturn.news")

KOPF_LAG_S = 5.0


@dataclass(slots=True)
class News:
    """Takes what watches bring into the cache, and puts on the queue what it concerns."""

    cache: ObjectCache
    world: World
    suspicious: dict[Kind, asyncio.Event] = field(default_factory=dict)

    def hear(self, kind: Kind, event: str | None, raw: Mapping[str, Any]) -> None:
        """An event of Kopf's about one of our kinds; type None comes from a list."""
        meta = raw["metadata"]
        ref = ObjectRef(kind, meta.get("namespace", ""), meta["name"])
        if event == "DELETED":
            self.lose(ref, meta["uid"])
            return
        if event is not None:
            held = self.cache.held(ref)
            if not is_echo(raw, held):
                self.take(kind, raw, held)
            return
        if self._holds(ref, meta["uid"]):
            # Kopf listed anew: whatever was deleted meanwhile, it never says (cluster rule 23).
            self.suspicious.setdefault(kind, asyncio.Event()).set()
        # In full: another schema's defaults change what is read without a new version.
        self.take(kind, raw)

    def take(self, kind: Kind, raw: Mapping[str, Any], known: Cached | None = None) -> None:
        """An object as it stands. ``known``: the one that we hold, of which need not be read again what cannot have changed."""
        if kind is Kind.MANAGED_SECRET:
            managed = managed_from(raw, known)
            if self.cache.put(managed):
                self.world.queue.add(managed.ref, Lane.URGENT)
            return
        provider = provider_from(kind, raw, known)
        before = self.cache.provider(provider.ref)
        if self.cache.put(provider):
            self.world.queue.add(provider.ref, Lane.URGENT)
            if before is None or not before.is_same_order(provider):
                wake_users(provider.ref, self.world)

    def lose(self, ref: ObjectRef, uid: str) -> None:
        """The end of one incarnation."""
        found = self.cache.held(ref)
        if not self.cache.remove(ref, uid):
            return
        if found is not None and self._is_ours(found):
            note_end(found, self.world)
        self.world.forget(ref)
        if isinstance(found, Managed):
            # Whoever waited for the same Secret may have it now.
            for target in filter(None, (found.target, _written(found))):
                for other in tuple(self.cache.aiming_at(target)):
                    self.world.queue.add_after(other, 1.0, Lane.URGENT)
            return
        self.world.refresher.close_shelf(ref)
        wake_users(ref, self.world)

    def _is_ours(self, found: Cached) -> bool:
        if isinstance(found, Managed):
            return is_of_class(providers_of(found, self.world), self.world.controller_class)
        return isinstance(found.order, Rejected) or is_of_class((found.order,), self.world.controller_class)

    def secret_changed(self, target: SecretRef) -> None:
        """A Secret with our label changed or went."""
        for ref in tuple(self.cache.aiming_at(target)):
            self.world.queue.add(ref, Lane.URGENT)

    def reference_changed(self, provider: ObjectRef) -> None:
        """A credential of a provider was replaced: it logs in anew, and whoever failed by the old one tries again."""
        self.world.refresher.renew(provider)
        if not provider.reader:
            self.world.queue.add(provider, Lane.URGENT)
        wake_users(provider, self.world, failing_only=True)

    def namespace_changed(self, found: Metadata) -> None:
        """A namespace's labels decide which cluster providers admit it."""
        if self.cache.namespace_uid(found.name) not in ("", found.uid):
            self.world.refresher.leave(found.name)
        if not self.cache.put_namespace(found):
            return
        for managed in self.cache.all_managed():
            if managed.ref.namespace == found.name:
                self.world.mark_dirty(managed.ref)
                self.world.queue.add(managed.ref, Lane.URGENT)

    def namespace_lost(self, key: Key, _: str) -> None:
        """A namespace went, and what was opened for it goes too: one of the same name may be another tenant's."""
        self.cache.drop_namespace(key[1])
        self.world.refresher.leave(key[1])

    async def compare(self, kind: Kind, namespaces: tuple[str, ...]) -> None:
        """Compares the cache with one metadata list, and mends what a watch has missed."""
        there: dict[ObjectRef, str] = {}
        for namespace in namespaces or ("",):
            there |= await self.cache.list_uids(kind, namespace if kind.is_namespaced else "")
        for ref in self.cache.refs(kind):
            found = self.cache.held(ref)
            if found is not None and there.get(ref) != found.uid and not await self.cache.is_alive(ref, found.uid):
                log.info("%s went unnoticed by the watch", ref)
                self.lose(ref, found.uid)
        for ref in await self._untold(there):
            await self._fetch(kind, ref)

    async def _untold(self, there: Mapping[ObjectRef, str]) -> list[ObjectRef]:
        """What the cache lacks after Kopf had its time: it lists too, and tells one object after the other."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + KOPF_LAG_S
        while (untold := [ref for ref, uid in there.items() if not self._holds(ref, uid)]) and clock() < deadline:  # noqa: ASYNC110  # news come through the cache, which signals to nobody
            await asyncio.sleep(0.05)
        return untold

    async def _fetch(self, kind: Kind, ref: ObjectRef) -> None:
        try:
            self.take(kind, decode(await self.cache.client.request("GET", path_of(ref), what=f"read {ref}")))
        except ObjectGone:
            log.debug("%s came and went", ref)

    async def keep_comparing(self, kind: Kind, namespaces: tuple[str, ...], period_s: float) -> None:
        """Every ``period_s`` seconds, and at once where Kopf listed anew. Until cancelled."""
        suspicion = self.suspicious.setdefault(kind, asyncio.Event())
        while True:
            try:
                async with asyncio.timeout(period_s):
                    await suspicion.wait()
            except TimeoutError:
                log.debug("comparing %s in its turn", kind.plural)
            suspicion.clear()
            try:
                await self.compare(kind, namespaces)
            except ClusterError as error:
                log.warning("cache of %s not compared: %s", kind.plural, error)

    def _holds(self, ref: ObjectRef, uid: str) -> bool:
        found = self.cache.held(ref)
        return found is not None and found.uid == uid


def _written(managed: Managed) -> SecretRef | None:
    target = managed.status.target
    return SecretRef(managed.ref.namespace, target.name) if target else None
