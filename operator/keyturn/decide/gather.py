"""From what providers gave to the data of one Secret: what is missing, and what follows from it."""

from collections.abc import Mapping

from keyturn.decide.select import Work, extract
from keyturn.model.errors import (
    AccessDenied,
    AuthFailed,
    Disabled,
    Invalid,
    NotFound,
    ProviderError,
    Rejected,
    SourceDeleted,
    SourceNotFound,
    SourcePartlyMissing,
)
from keyturn.model.material import SourceRef, Value
from keyturn.model.order import DeletionPolicy, Entry, Order, ProviderRef
from keyturn.model.sensitive import Sensitive

Material = Mapping[tuple[ProviderRef | None, SourceRef], Value | ProviderError]

MAX_SECRET_BYTES = 1 << 20
"""What the API server takes as the data of one Secret (its source: core validation, MaxSecretSize)."""

REQUIRED_KEYS: Mapping[str, tuple[str, ...]] = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}

_WORST_FIRST: tuple[type[ProviderError], ...] = (AuthFailed, AccessDenied, Disabled, Invalid)


def gather(order: Order, material: Material, *, was_synced: bool) -> dict[str, Sensitive]:
    """The data of the Secret. Empty only where all sources are gone and the order says to delete then.

    Raises the worst `ProviderError` that is no absence, a `SourceMissing` where something is not
    there, `Rejected` where the data cannot make a Secret of the type that is ordered.
    """
    data: dict[str, Sensitive] = {}
    missing: list[Entry] = []
    failed: list[ProviderError] = []
    work = Work()
    for entry in order.entries:
        match _answer(entry, material, work):
            case Sensitive() as value:
                data[entry.secret_key] = value
            case NotFound() if entry.default is not None:
                data[entry.secret_key] = Sensitive.of(entry.default)
            case NotFound() if entry.optional:
                continue
            case NotFound():
                missing.append(entry)
            case error:
                failed.append(error)
    if failed:
        # One answer serves many objects: without this its traceback would grow with each.
        raise min(failed, key=_rank).with_traceback(None)
    if missing or not data:
        return _nothing_or_raise(order, data, missing, was_synced=was_synced)
    _check(order, data)
    return data


def _answer(entry: Entry, material: Material, work: Work) -> Sensitive | ProviderError:
    got = material[entry.provider, entry.source]
    if isinstance(got, ProviderError):
        return got
    try:
        return extract(got, entry, work)
    except ProviderError as error:
        return error


def _rank(error: ProviderError) -> int:
    return next((i for i, kind in enumerate(_WORST_FIRST) if isinstance(error, kind)), len(_WORST_FIRST))


def _nothing_or_raise(order: Order, data: Mapping[str, Sensitive], missing: list[Entry], *, was_synced: bool) -> dict[str, Sensitive]:
    names = ", ".join(f"{e.secret_key} (from {e.source}{'#' + e.property if e.property else ''})" for e in missing[:10])
    names += f" and {len(missing) - 10} more" if len(missing) > 10 else ""
    if not was_synced:
        raise SourceNotFound(f"not at the provider: {names}" if names else "none of the optional sources is at the provider")
    if data:
        raise SourcePartlyMissing(f"no longer at the provider: {names}; the last good Secret stays")
    if order.target.deletion is DeletionPolicy.DELETE:
        return {}
    raise SourceDeleted("all sources are gone from the provider; deletionPolicy Retain keeps the last good Secret")


def _check(order: Order, data: Mapping[str, Sensitive]) -> None:
    size = sum(map(len, data.values()))
    if size > MAX_SECRET_BYTES:
        raise Invalid(f"the values have {size} bytes together, and a Secret takes {MAX_SECRET_BYTES}; split the ManagedSecret")
    lacking = [key for key in REQUIRED_KEYS.get(order.target.type, ()) if key not in data]
    if lacking:
        raise Rejected(
            f"spec.target.template.type {order.target.type} needs the keys {', '.join(lacking)}; add them to spec.data, or use Opaque"
        )
