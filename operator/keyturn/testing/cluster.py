"""An API server in memory, behind the ports that the flow uses, with the watch caches of one operator before it.

What it holds outlives a `World`: a restart is a new world on the same cluster (`FakeCluster.forget_caches`).
Every request is a line on the tape. Faults are injected with `FakeCluster.fail`, a request is held
in flight with `FakeCluster.hold`, and with `FakeCluster.is_lagging` the watches bring nothing new.
"""

import asyncio
import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from keyturn.model.default import DefaultProvider
from keyturn.model.errors import AlreadyExists, ClusterConflict, ClusterError, NamespaceTerminating, ObjectGone, Unprocessable
from keyturn.model.ids import DEFAULT_PROVIDER, MANAGED_LABEL, ObjectRef, SecretRef
from keyturn.model.objects import Cached, Managed, ProviderObject
from keyturn.model.order import Order
from keyturn.model.plan import Desired, Leftover, Live
from keyturn.model.sensitive import Sensitive
from keyturn.model.status import ProviderStatus, Status
from keyturn.testing.clock import FakeClock
from keyturn.testing.fields import FakeSecret, Path, fields_of
from keyturn.testing.leases import FakeFence
from keyturn.testing.records import READS, Tape


@dataclass(slots=True)
class _Fault:
    verb: str
    error: BaseException
    is_after: bool
    times: int


@dataclass(slots=True)
class FakeCluster:
    """The ports `Objects`, `Statuses`, `SecretReader` and `SecretWriter`. ``on_object`` and ``on_secret`` hear of changes."""

    tape: Tape
    clock: FakeClock
    fence: FakeFence = field(default_factory=FakeFence)
    secrets: dict[SecretRef, FakeSecret] = field(default_factory=dict)
    objects: dict[ObjectRef, Cached] = field(default_factory=dict)
    gone: dict[ObjectRef, Cached] = field(default_factory=dict)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    terminating: set[str] = field(default_factory=set)
    is_lagging: bool = False
    default: ProviderObject = field(default_factory=DefaultProvider().as_object)
    on_object: Callable[[ObjectRef], None] = lambda _: None
    on_secret: Callable[[SecretRef], None] = lambda _: None
    _cached: dict[ObjectRef, Cached] = field(default_factory=dict)
    _seen: dict[SecretRef, Live] = field(default_factory=dict)
    _faults: list[_Fault] = field(default_factory=list)
    _held: dict[str, asyncio.Event] = field(default_factory=dict)
    _serial: Any = field(default_factory=lambda: itertools.count(1))

    # What a test does to the cluster.

    def put(self, found: Cached) -> None:
        """An object as its user wrote it."""
        self.objects[found.ref] = replace(found, resource_version=str(next(self._serial)))
        self._tell_object(found.ref)

    def edit(self, ref: ObjectRef, **changes: Any) -> None:
        """Changes an object; a new ``order`` is a new generation."""
        before = self.objects[ref]
        step = 1 if "order" in changes else 0
        self.put(replace(before, generation=before.generation + step, **changes))

    def remove(self, ref: ObjectRef, *, cascade: str = "background") -> None:
        """Deletes an object; the garbage collector does its part at once, or, with ``orphan``, frees what is owned."""
        gone = self.gone[ref] = self.objects.pop(ref)
        for secret in list(self.secrets.values()):
            if any(o.uid == gone.uid for o in secret.owners):
                if cascade == "orphan" or len(secret.owners) > 1:
                    self.touch(secret.ref, "gc", {("owners", gone.uid): None})
                else:
                    self.vanish(secret.ref)
        self._tell_object(ref)

    def touch(self, ref: SecretRef, manager: str, changes: Mapping[Path, object]) -> None:
        """Somebody's update of a Secret; None takes a field away."""
        if self.secrets[ref].update(manager, changes):
            self.bump(ref)

    def bump(self, ref: SecretRef) -> None:
        """A Secret moved."""
        self.secrets[ref].version = next(self._serial)
        self._tell_secret(ref)

    def place(self, ref: SecretRef, manager: str, values: Mapping[Path, object]) -> FakeSecret:
        """Somebody else's Secret."""
        made = self.secrets[ref] = FakeSecret.posted(ref, f"uid-{next(self._serial)}", manager, values, self.clock.now())
        self.bump(ref)
        return made

    def vanish(self, ref: SecretRef) -> None:
        """A Secret is deleted, by whomever."""
        secret = self.secrets[ref]
        secret.deleting = bool(secret.finalizers)
        if not secret.deleting:
            del self.secrets[ref]
        self._tell_secret(ref)

    def fail(self, verb: str, error: BaseException, *, after: bool = False, times: int = 1) -> None:
        """The next requests of that verb fail, before they do anything, or ``after`` they did (a lost answer)."""
        self._faults.append(_Fault(verb, error, after, times))

    def hold(self, verb: str) -> asyncio.Event:
        """Requests of that verb do their work and then wait for the event, with the answer on its way."""
        return self._held.setdefault(verb, asyncio.Event())

    def forget_caches(self) -> None:
        """What a new process knows after its first lists."""
        self.is_lagging = False
        self._cached = dict(self.objects)
        self._seen = {ref: s.live() for ref, s in self.secrets.items() if s.labels.get(MANAGED_LABEL) == "true"}

    # The ports.

    def managed(self, ref: ObjectRef) -> Managed | None:
        found = self._cached.get(ref)
        return found if isinstance(found, Managed) else None

    def provider(self, ref: ObjectRef) -> ProviderObject | None:
        found = self._cached.get(ref) if ref != DEFAULT_PROVIDER else self.default
        return found if isinstance(found, ProviderObject) else None

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        return self.namespaces.get(namespace)

    def using(self, provider: ObjectRef) -> Collection[ObjectRef]:
        return [m.ref for m in self._cached.values() if isinstance(m, Managed) and provider in _providers_of(m)]

    def aiming_at(self, target: SecretRef) -> list[ObjectRef]:
        """The ManagedSecrets whose order or status names that Secret."""
        return [m.ref for m in self._cached.values() if isinstance(m, Managed) and target in _targets_of(m)]

    async def is_alive(self, ref: ObjectRef, uid: str = "") -> bool:
        await self._request("alive", ref)
        found = self.objects.get(ref)
        return found is not None and not found.deleting and uid in ("", found.uid)

    async def write(self, managed: Managed, status: Status) -> None:
        await self._write_status("status", managed, status)

    async def write_provider(self, provider: ProviderObject, status: ProviderStatus) -> None:
        if provider.ref == DEFAULT_PROVIDER:
            self.default = replace(self.default, status=status)
        else:
            await self._write_status("status-provider", provider, status)

    def seen(self, ref: SecretRef) -> Live | None:
        return self._seen.get(ref)

    async def look(self, ref: SecretRef) -> Live | None:
        await self._request("look", ref)
        found = self.secrets.get(ref)
        return found.live() if found else None

    async def read(self, ref: SecretRef) -> Mapping[str, Sensitive] | None:
        await self._request("read", ref)
        found = self.secrets.get(ref)
        return found.data if found else None

    async def type_of(self, ref: SecretRef) -> str:
        await self._request("type", ref)
        found = self.secrets.get(ref)
        return found.type if found else ""

    async def create(self, desired: Desired, changed_at: str) -> Live:
        await self._request("create", desired.ref)
        if desired.ref.namespace in self.terminating:
            raise NamespaceTerminating(f"{desired.ref}: the namespace is going away", status=403)
        if desired.ref in self.secrets:
            raise AlreadyExists(f"{desired.ref} is there", status=409)
        fields = fields_of(desired, changed_at)
        made = FakeSecret.posted(desired.ref, f"uid-{next(self._serial)}", desired.manager, fields, self.clock.now())
        self.secrets[desired.ref] = made
        return await self._answer("create", made)

    async def rehearse(self, desired: Desired) -> None:
        await self._request("rehearse", desired.ref)

    async def apply(self, desired: Desired, live: Live, changed_at: str) -> Live:
        await self._request("apply", desired.ref)
        secret = self.secrets.get(desired.ref)
        if secret is None:
            raise ClusterConflict(f"{desired.ref}: uid in precondition, and there is none", status=409)
        if str(secret.version) != live.resource_version:
            raise ClusterConflict(f"{desired.ref} moved", status=409)
        if secret.uid != live.uid:
            raise Unprocessable(f"{desired.ref} is another incarnation", status=422, causes=("metadata.uid",))
        if secret.type != desired.type:
            raise Unprocessable(f"{desired.ref}: type is immutable", status=422, causes=("type",))
        if secret.apply(desired.manager, fields_of(desired, changed_at)):
            secret.version = next(self._serial)
        return await self._answer("apply", secret)

    async def strip(self, live: Live, leftover: Leftover, keep_owners: Collection[str] | None = None) -> Live:
        await self._request("strip", live.ref)
        secret = self._find(live.ref)
        if (secret.uid, str(secret.version)) != (live.uid, live.resource_version):
            raise ClusterConflict(f"{live.ref} moved", status=409)
        gone: dict[Path, object] = {("data", key): None for key in leftover.data}
        gone |= {("labels", key): None for key in leftover.labels} | {("annotations", key): None for key in leftover.annotations}
        gone |= {("owners", o.uid): None for o in secret.owners if keep_owners is not None and o.uid not in keep_owners}
        if secret.update("keyturn", gone):
            secret.version = next(self._serial)
        return await self._answer("strip", secret)

    async def delete(self, live: Live) -> None:
        await self._request("delete", live.ref)
        secret = self.secrets.get(live.ref)
        if secret is not None and (secret.uid, str(secret.version)) != (live.uid, live.resource_version):
            raise ClusterConflict(f"{live.ref} moved", status=409)
        if secret is not None:
            self.vanish(live.ref)
        await self._done("delete")

    async def _write_status(self, verb: str, about: Cached, status: Any) -> None:
        await self._request(verb, about.ref)
        found = self.objects.get(about.ref)
        if found is None:
            raise ObjectGone(f"{about.ref} is gone", status=404)
        if found.uid != about.uid:
            raise ClusterConflict(f"{about.ref} is another incarnation", status=409)
        if found.resource_version != about.resource_version:
            raise ClusterConflict(f"{about.ref} moved", status=409)
        version = str(next(self._serial))
        self.objects[about.ref] = replace(found, status=status, resource_version=version)
        await self._done(verb)
        cached = self._cached.get(about.ref)
        if cached is not None and cached.uid == about.uid:
            self._cached[about.ref] = replace(cached, status=status, resource_version=max(cached.resource_version, version, key=int))

    def _find(self, ref: SecretRef) -> FakeSecret:
        if ref not in self.secrets:
            raise ObjectGone(f"{ref} is not there", status=404)
        return self.secrets[ref]

    async def _request(self, verb: str, what: object) -> None:
        if verb not in READS:
            self.fence.check()
        self.tape.note(verb, what)
        await asyncio.sleep(0)
        self._raise(verb, is_after=False)

    async def _answer(self, verb: str, secret: FakeSecret) -> Live:
        live = secret.live()
        if verb in self._held or self._faults:
            # The watch may be faster than the answer.
            self._tell_secret(secret.ref)
        await self._done(verb)
        if secret.ref in self.secrets and self.secrets[secret.ref].uid == live.uid:
            self._seen[secret.ref] = live
        return live

    async def _done(self, verb: str) -> None:
        if verb in self._held:
            await self._held[verb].wait()
        self._raise(verb, is_after=True)

    def _raise(self, verb: str, *, is_after: bool) -> None:
        fault = next((f for f in self._faults if f.verb == verb and f.is_after == is_after and f.times > 0), None)
        if fault is not None:
            fault.times -= 1
            error = fault.error
            raise type(error)(*error.args, **vars(error)) if isinstance(error, ClusterError) else error

    def _tell_object(self, ref: ObjectRef) -> None:
        if self.is_lagging:
            return
        if ref in self.objects:
            self._cached[ref] = self.objects[ref]
        else:
            self._cached.pop(ref, None)
        self.on_object(ref)

    def _tell_secret(self, ref: SecretRef) -> None:
        if self.is_lagging:
            return
        secret = self.secrets.get(ref)
        if secret is not None and secret.labels.get(MANAGED_LABEL) == "true":
            self._seen[ref] = secret.live()
        else:
            self._seen.pop(ref, None)
        self.on_secret(ref)


def _targets_of(managed: Managed) -> set[SecretRef]:
    former = {SecretRef(managed.ref.namespace, managed.status.target.name)} if managed.status.target else set()
    return former | ({managed.target} if managed.target else set())


def _providers_of(managed: Managed) -> set[ObjectRef]:
    return set(managed.order.providers(managed.ref.namespace)) if isinstance(managed.order, Order) else set()
