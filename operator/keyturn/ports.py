"""The seams: what the flow needs from outside, as Protocols of at most five methods."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from keyturn.model.audit import AuditEntry, Findings, Outcome
from keyturn.model.errors import ProviderError
from keyturn.model.ids import KeyRef, ObjectRef, SecretRef
from keyturn.model.lease import Lease
from keyturn.model.material import CURRENT, Cap, Meta, SourceRef, Survey, Value, Version
from keyturn.model.objects import Managed, ProviderObject
from keyturn.model.order import ProviderOrder
from keyturn.model.plan import Desired, Leftover, Live
from keyturn.model.sensitive import Sensitive
from keyturn.model.status import ProviderStatus, Status
from keyturn.model.tenant import ServiceAccount, TenantToken


class Provider(Protocol):
    """A place where secrets are kept, logged in to as one identity.

    Contract. ``get_many`` answers every reference that it was asked for: with a `Value`, or with the
    `ProviderError` that concerns this one reference (partial failure is normal). Where values are so
    large that they would be too much at once it leaves some out, never all, and is asked for those again. It raises a
    `ProviderError` only when nothing could be asked at all (log-in, connection, throttling of the
    whole call). No error text holds a value or a provider's own prose. Calls may overlap; none
    blocks the event loop for longer than a millisecond. ``close`` may be called twice, and
    after it every other call raises `Unavailable`.
    """

    @property
    def caps(self) -> Cap:
        """What this provider can do."""

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        """Reads values; the answer has references that were asked for and no others."""

    def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        """Yields what is there, without values, in no promised order. Needs `Cap.LIST`."""

    async def validate(self) -> None:
        """Proves log-in and reach by a real call; raises the `ProviderError` that a read would meet."""

    async def close(self) -> None:
        """Gives back connections and threads."""


@runtime_checkable
class Surveyor(Protocol):
    """A provider that can tell of many values by few calls whether they are as they were. Needs `Cap.SURVEY`."""

    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        """Fingerprints of these, equal to `Value.fingerprint` of a read that gives the same value.

        Raises a `ProviderError` where it may not or cannot tell; a read may be open all the same.
        """


@runtime_checkable
class Writer(Protocol):
    """A provider that takes values: all five methods, and `Cap.PUT`. Asked only where access is ReadWrite.

    A method without the `Cap` that it needs has to be there all the same; it is not asked, and raises `Invalid`.

    Contract. A version's name never comes to stand for another value of its key, not after a deletion and a new creation either.
    Whoever got no answer (`Unavailable`) may ask the same again: a put with its token, whose answer is the version that the first
    one made. Errors are those of a read, and `Conflict` where another write came between; nothing has happened then.
    """

    async def put(
        self,
        key: str,
        data: Sensitive,
        *,
        token: str,
        expect: str | None = None,
        stage: str = CURRENT,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Stores a new version and gives its name. It is read from now on, unless ``stage`` is `PENDING` (`Cap.STAGE`).

        ``token`` names this write of this key, 32 to 64 characters: a put that comes again, also late, changes nothing unless the
        key was purged meanwhile; with another value it is a `Conflict`. It is looked at before ``expect``: the version that has
        to be current (`Cap.CAS`), '' for a key that is not there or was deleted, None for any. A key whose only versions are
        `PENDING` is `NotFound`. ``tags`` None leaves those that stand.
        """

    async def promote(self, key: str, version: str) -> None:
        """From now on this version is read, and the one that was is `PREVIOUS`. Needs `Cap.STAGE`; twice is as once.

        Raises `NotFound` for a version that is not there.
        """

    async def versions(self, key: str) -> Sequence[Version]:
        """What there is of a key, the newest first. Needs `Cap.VERSIONS`. Raises `NotFound`."""

    async def delete(self, key: str, *, purge: bool = False) -> None:
        """Takes a key away; reads are `NotFound` from now on, those of a version too. Needs `Cap.DELETE`.

        ``purge``: so that nobody can bring it back, and its tokens are forgotten. A key that is not there is fine.
        """

    async def undelete(self, key: str) -> None:
        """Brings back what was deleted and not purged. Needs `Cap.UNDELETE`. Raises `NotFound` where there is nothing to bring back."""


class Providers(Protocol):
    """Where providers come from."""

    def open(self, order: ProviderOrder, ref: ObjectRef) -> Provider:
        """Makes a guarded provider from its order, without I/O, and follows what its log-in refers to.

        Raises `Rejected` where the operator does not allow it, `MissingExtra` where its SDK is not installed.
        """

    def forget(self, ref: ObjectRef) -> None:
        """The provider object is gone: nothing is followed on its behalf any more."""


class References(Protocol):
    """Keys of Secrets and ConfigMaps that provider objects refer to."""

    async def read(self, ref: KeyRef) -> Sensitive:
        """Its value as it is now, read by name.

        Raises `AuthFailed` where the object or the key is missing, `Unavailable` where the API server does not answer.
        """

    def follow(self, who: ObjectRef, refs: Collection[KeyRef]) -> None:
        """From now on a change of any of these, and of nothing else, is told of as a change of ``who``. Empty: of nothing."""


class TenantTokens(Protocol):
    """Short-lived tokens of tenants' ServiceAccounts, each for one audience, so that whoever is asked decides by tenant.

    Beside them what a ServiceAccount's annotations say of whom it is elsewhere.

    Each raises `AuthFailed`, which names the missing grant, where there may be none, and `Unavailable` where the API server
    does not answer. Nothing is kept: who asks keeps a token for itself alone, and for no longer than two thirds of its life.
    """

    async def at_home(self, who: ServiceAccount) -> TenantToken:
        """One that this cluster's API server takes: for nobody else to see."""

    async def abroad(self, who: ServiceAccount, audience: str) -> TenantToken:
        """One for a server elsewhere. Raises `Rejected` where ``audience`` is empty, or one that this cluster's API server takes."""

    async def annotations(self, who: ServiceAccount) -> Mapping[str, str]:
        """What stands on it now, where its cloud has identities named: words of the tenant's, to be checked like a spec's."""


class Databases(Protocol):
    """Databases with encrypted values. Each is opened once it is asked for: it has our tables, and the key fits, or it is an error.

    What they give is a `Writer` and a `Surveyor` too. Errors are `KeyturnError`: the key's, the schema's, or those of a read.
    """

    @property
    def has_own(self) -> bool:
        """Whether the operator was given a database of its own."""

    async def own(self) -> Provider:
        """The secrets of the operator's own database, which stays open when they are closed."""

    async def open(self, key: Sensitive, connect: Callable[[], Awaitable[Any]], tenant: str) -> Provider:
        """Those of a tenant's PostgreSQL, opened by this master key; ``connect`` makes connections of its driver."""


class Objects(Protocol):
    """Our own objects, from a cache that watches keep warm."""

    def managed(self, ref: ObjectRef) -> Managed | None:
        """A ManagedSecret as last seen."""

    def provider(self, ref: ObjectRef) -> ProviderObject | None:
        """A provider object as last seen."""

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Labels of a namespace; None where it is not known."""

    def using(self, provider: ObjectRef) -> Collection[ObjectRef]:
        """The ManagedSecrets that draw on that provider."""

    async def is_alive(self, ref: ObjectRef, uid: str = "") -> bool:
        """Asks the API server, not the cache: there (as this incarnation), and not being deleted."""


class Statuses(Protocol):
    """Where status goes."""

    async def write(self, managed: Managed, status: Status) -> None:
        """Writes a ManagedSecret's status and takes it into the cache. Raises a `ClusterError`."""

    async def write_provider(self, provider: ProviderObject, status: ProviderStatus) -> None:
        """The same for a provider object."""


class SecretReader(Protocol):
    """Secrets as they stand."""

    def seen(self, ref: SecretRef) -> Live | None:
        """From the watch of Secrets that carry our label; no request."""

    async def look(self, ref: SecretRef) -> Live | None:
        """Metadata by name, whatever its labels; None where there is none."""

    async def read(self, ref: SecretRef) -> Mapping[str, Sensitive] | None:
        """The data; None where there is no such Secret. Only for a name that a spec refers to."""

    async def type_of(self, ref: SecretRef) -> str:
        """Its type, without its data; '' where there is no such Secret."""


class SecretWriter(Protocol):
    """Writes to Secrets; each raises a `ClusterError` and gives the Secret as it stands after."""

    async def create(self, desired: Desired, changed_at: str) -> Live:
        """POST: never touches what is there. Raises `AlreadyExists`."""

    async def rehearse(self, desired: Desired) -> None:
        """Raises what `create` would meet, but for the Secret of that name which is there; changes nothing."""

    async def apply(self, desired: Desired, live: Live, changed_at: str) -> Live:
        """Forced server-side apply if nothing moved since ``live``: never creates, never hits a successor."""

    async def strip(self, live: Live, leftover: Leftover, keep_owners: Collection[str] | None = None) -> Live:
        """Takes fields away, whoever holds them, if nothing moved since ``live``.

        ``keep_owners``: where given, ownerReferences with other uids go.
        """

    async def delete(self, live: Live) -> None:
        """Deletes it if nothing moved since ``live``, such as a key that another wrote to it. Already gone is fine."""


class AuditLog(Protocol):
    """The audit trail. No audit, no change: ``intend`` comes before the effect and may refuse it."""

    async def intend(self, entry: AuditEntry) -> str:
        """Records what is about to happen; gives an id. Raises `AuditUnavailable`."""

    async def settle(self, intent: str, outcome: Outcome, reason: str = "", found: Findings | None = None) -> None:
        """Records how it ended, and what was ``found`` by it."""

    def record(self, entry: AuditEntry, outcome: Outcome, reason: str = "") -> None:
        """Records what has no effect outside, such as a denial. Waits for nobody; it is kept until it is written."""


class EventStream(Protocol):
    """The Kubernetes event stream: for people, never the only record."""

    def post(self, about: Managed | ProviderObject, kind: str, reason: str, note: str) -> None:
        """Takes an event (``kind`` Normal or Warning) and returns at once; it may be dropped under load."""


class Fence(Protocol):
    """Stands before every effect."""

    def check(self, for_s: float = 0.0) -> None:
        """Raises `NotLeading` where this replica may not begin an effect now, and another one that must follow ``for_s`` seconds later."""


class Leases(Protocol):
    """The record by which replicas agree on who works."""

    async def read(self) -> Lease | None:
        """As it stands; None where there is none yet. Raises a `ClusterError`."""

    async def write(self, lease: Lease) -> Lease:
        """Makes it, or changes it if nobody did since ``resource_version``; gives it as it stands after.

        Raises `ClusterConflict` or `ObjectGone` where somebody was faster, and other `ClusterError`.
        """


class Clock(Protocol):
    """The time, so that decisions can be tested at any."""

    def now(self) -> datetime:
        """Wall-clock time in UTC."""


class Telemetry(Protocol):
    """Numbers about the work; nothing secret, and no label that a tenant can blow up."""

    def synced(self, outcome: str, seconds: float) -> None:
        """A sync ended, with its reason."""

    def waited(self, lane: str, seconds: float) -> None:
        """An object was taken from a lane of the queue, in which it had waited for so long."""

    def passed(self, phase: str, seconds: float) -> None:
        """A sync left one of its phases, well or not."""

    def wrote(self, what: str) -> None:
        """A write to the API server."""

    def called(self, provider: str, call: str, result: str, seconds: float) -> None:
        """A call to a provider of that type."""
