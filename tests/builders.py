"""Small builders for nouns, so that a test shows only what it is about. Every secret value carries the mark ``kt-canary-``."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from keyturn.decide.render import render
from keyturn.model.errors import Rejected
from keyturn.model.ids import Kind, ObjectRef, SecretRef
from keyturn.model.material import SourceRef, Value
from keyturn.model.objects import Managed, ProviderObject
from keyturn.model.order import Admission, Entry, FileConfig, Order, ProviderOrder, ProviderRef, Target
from keyturn.model.plan import Desired, Live
from keyturn.model.sensitive import Sensitive
from keyturn.model.status import Condition, ProviderStatus, SourceStatus, Status, TargetStatus
from keyturn.testing.fields import FakeSecret, fields_of
from keyturn.testing.world import KEY, Stage, play

NAMESPACE = "shop"
THEN = "2026-03-01T00:00:00Z"
CHANGED = "2026-02-01T00:00:00Z"
VAULT = ProviderRef(Kind.SECRET_PROVIDER, "vault")


def secret(text: str = "kt-canary-1") -> Sensitive:
    return Sensitive.of(text)


def value(text: str = "kt-canary-1", version: str = "") -> Value:
    return Value(secret(text), version)


def msec(name: str = "app-db", namespace: str = NAMESPACE) -> ObjectRef:
    return ObjectRef(Kind.MANAGED_SECRET, namespace, name)


def sprov(name: str = "vault", namespace: str = NAMESPACE) -> ObjectRef:
    return ObjectRef(Kind.SECRET_PROVIDER, namespace, name)


def target_ref(name: str = "app-db", namespace: str = NAMESPACE) -> SecretRef:
    return SecretRef(namespace, name)


def entry(key: str = "password", source: str = "", **more: Any) -> Entry:
    """One key from ``source`` (by default the key's own name) at the provider ``vault``."""
    found: dict[str, Any] = {"provider": VAULT, "field": "spec.data[0]"} | more
    return Entry(key, source=SourceRef(source or key, found.pop("version", "")), **found)


def order(
    *keys: str | Entry, target: str = "app-db", refresh: Any = None, interval_s: float = 3600.0, suspend: bool = False, **aim: Any
) -> Order:
    """An order for these keys (default: password); what is left goes to its `Target`."""
    entries = tuple(entry(key) if isinstance(key, str) else key for key in keys or ("password",))
    more = {} if refresh is None else {"refresh": refresh}
    return Order(entries, Target(target, **aim), interval_s=interval_s, suspend=suspend, **more)


def managed(name: str = "app-db", what: Order | Rejected | None = None, status: Status | None = None, **more: Any) -> Managed:
    found: dict[str, Any] = {
        "uid": f"uid-of-{name}",
        "generation": 1,
        "resource_version": "1",
        "deleting": False,
        "namespace": NAMESPACE,
    } | more
    return Managed(
        ref=msec(name, found.pop("namespace")),
        order=what if what is not None else order(target=name),
        status=status if status is not None else Status(),
        **found,
    )


def provider(
    name: str = "vault", *, kind: Kind = Kind.SECRET_PROVIDER, ready: str = "", admissions: tuple[Admission, ...] = (), **more: Any
) -> ProviderObject:
    """A provider whose `FakeSource` has its name; ``ready`` True or False makes it checked."""
    found: dict[str, Any] = {"uid": f"uid-of-{name}", "generation": 1, "resource_version": "1", "deleting": False} | more
    config = ProviderOrder(FileConfig(name), admissions=admissions, controller_class=found.pop("controller_class", ""))
    told = {"True": "Valid", "False": "AuthFailed"}
    conditions = (condition("Ready", ready, told[ready]),) if ready else ()
    return ProviderObject(
        ref=ObjectRef(kind, NAMESPACE if kind is Kind.SECRET_PROVIDER else "", name),
        order=found.pop("order", config),
        status=found.pop("status", ProviderStatus(found["generation"] if ready else -1, conditions, THEN if ready else "")),
        **found,
    )


def condition(kind: str = "Ready", status: str = "True", reason: str = "Synced", message: str = "", **more: Any) -> Condition:
    found: dict[str, Any] = {"since": THEN, "generation": 1} | more
    return Condition(kind, status, reason, message, **found)


def desired(of: Managed, data: dict[str, str] | None = None, controller_class: str = "", version: str = "") -> Desired:
    """The Secret that ``of`` orders, with marked values for its keys."""
    assert isinstance(of.order, Order)
    texts = data if data is not None else {e.secret_key: f"kt-canary-{e.secret_key}" for e in of.order.entries}
    values = {key: secret(text) for key, text in texts.items()}
    material = {(e.provider, e.source): value(version=version) for e in of.order.entries}
    return render(of, of.order, material, values, KEY.revision(values) if values else "", controller_class)


def stored(wanted: Desired, uid: str = "uid-secret") -> FakeSecret:
    """That Secret as it stands right after our POST."""
    return FakeSecret.posted(wanted.ref, uid, wanted.manager, fields_of(wanted, CHANGED))


def live(of: Managed, uid: str = "uid-secret", **more: Any) -> Live:
    """The Secret of ``of`` right after our POST, as metadata."""
    return replace(stored(desired(of), uid).live(), **more)


def synced(of: Managed, standing: FakeSecret | None = None, **more: Any) -> Managed:
    """``of`` with the status of a good sync, whose Secret is ``standing``."""
    wanted = desired(of)
    standing = standing or stored(wanted)
    assert isinstance(of.order, Order)
    target = TargetStatus(
        wanted.ref.name,
        standing.uid,
        tuple(sorted(wanted.data)),
        len(wanted.data),
        tuple(of.order.target.labels),
        tuple(of.order.target.annotations),
    )
    status = Status(
        generation=of.generation,
        conditions=(condition("Ready", "True", "Synced", f"Secret {wanted.ref.name} is in sync", generation=of.generation),),
        revision=wanted.revision,
        last_change=CHANGED,
        target=target,
        sources=wanted.sources,
        source_count=len(wanted.sources),
        handled_reconcile=of.reconcile_token,
    )
    return replace(of, status=replace(status, **more))


def source_status(key: str = "password") -> SourceStatus:
    return SourceStatus("SecretProvider/vault", key)


def staged(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Makes a coroutine test with a first argument ``stage`` a plain test on virtual time; the stage has a provider ``vault``."""

    def run(**given: Any) -> None:
        async def story() -> None:
            stage = Stage()
            stage.source("vault", password="kt-canary-1", user="kt-canary-user")
            stage.cluster.put(provider())
            try:
                await test(stage, **given)
            finally:
                await stage.close()

        play(story)

    parameters = list(inspect.signature(test).parameters.values())[1:]
    functools.update_wrapper(run, test)
    del run.__wrapped__  # type: ignore[attr-defined]  # else pytest asks for a fixture named stage
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # how inspect is told
    return run
