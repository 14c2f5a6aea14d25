"""From what providers gave to the data of one Secret: what is missing, and what follows from it."""

import copy
from collections.abc import Mapping, Sequence
from itertools import accumulate

from keyturn.decide.judge import text_of
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
from keyturn.model.order import DeletionPolicy, Entry, Material, Order
from keyturn.model.sensitive import Sensitive

MAX_SECRET_BYTES = 1 << 20
"""What the API server takes as the data of one Secret (its source: core validation, MaxSecretSize)."""

REQUIRED_KEYS: Mapping[str, tuple[str, ...]] = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}

TOLD_CHARS = 640
"""How much of a message says what is wrong with the sources: with all else in it, it stays below what a condition holds."""
_TEXT_CHARS = 240
_KEYS_CHARS = 120

_Fault = tuple[Entry, ProviderError]

_WORST_FIRST: tuple[type[ProviderError], ...] = (AuthFailed, AccessDenied, Disabled, Invalid)
"""What a person must mend. What comes behind these passes by itself, and so is told alone: a text that follows it would never rest."""


def gather(order: Order, material: Material, *, was_synced: bool) -> dict[str, Sensitive]:
    """The data of the Secret. Empty only where all sources are gone and the order says to delete then.

    Raises the worst `ProviderError` that is no absence, which tells of the others too, a `SourceMissing` where something is not
    there, `Rejected` where the data cannot make a Secret of the type that is ordered.
    """
    data: dict[str, Sensitive] = {}
    missing: list[_Fault] = []
    failed: list[_Fault] = []
    work = Work()
    for entry in order.entries:
        match _answer(entry, material, work):
            case Sensitive() as value:
                data[entry.secret_key] = value
            case NotFound() if entry.default is not None:
                data[entry.secret_key] = Sensitive.of(entry.default)
            case NotFound() if entry.optional:
                continue
            case error:
                (missing if isinstance(error, NotFound) else failed).append((entry, error))
    if failed:
        raise _worst(sorted(failed, key=_rank), missing)
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


def _rank(fault: _Fault) -> int:
    return next((i for i, kind in enumerate(_WORST_FIRST) if isinstance(fault[1], kind)), len(_WORST_FIRST))


def _worst(failed: Sequence[_Fault], missing: Sequence[_Fault]) -> ProviderError:
    """The first of these, with all that is to be mended beside it."""
    first = failed[0][1]
    # One answer serves many objects: without this its traceback would grow with each.
    lone = first.with_traceback(None)
    if _rank(failed[0]) == len(_WORST_FIRST):
        return lone
    faults = [*(fault for fault in failed if _rank(fault) < len(_WORST_FIRST)), *missing]
    if all(text_of(error) == text_of(first) for _, error in faults):
        return lone
    told = copy.copy(lone)
    told.args = (_listed(faults) + (f" (request {first.request_id})" if first.request_id else ""),)
    return told


def _nothing_or_raise(order: Order, data: Mapping[str, Sensitive], missing: Sequence[_Fault], *, was_synced: bool) -> dict[str, Sensitive]:
    told = _listed(missing)
    if not was_synced:
        raise SourceNotFound(f"not at the provider: {told}" if told else "none of the optional sources is at the provider")
    if data:
        raise SourcePartlyMissing(f"no longer at the provider: {told}; the last good Secret stays")
    if order.target.deletion is DeletionPolicy.DELETE:
        return {}
    gone = f"all sources are gone from the provider{f': {told}' if told else ''}"
    raise SourceDeleted(f"{gone}; deletionPolicy Retain keeps the last good Secret")


def _listed(faults: Sequence[_Fault]) -> str:
    """Which keys have which fault, in the providers' words: the same each time that the same is wrong."""
    keys: dict[str, list[str]] = {}
    for entry, error in faults:
        keys.setdefault(_words(entry, error), []).append(entry.secret_key)
    return _joined([f"{_joined(names, _KEYS_CHARS)} ({words})" for words, names in keys.items()], TOLD_CHARS)


def _words(entry: Entry, error: ProviderError) -> str:
    text = text_of(error)
    if isinstance(error, NotFound) and entry.source.key not in text:
        text = f"{entry.source}: {text}"
    return text if len(text) <= _TEXT_CHARS else f"{text[: _TEXT_CHARS - 1]}…"


def _joined(parts: Sequence[str], limit: int) -> str:
    """As many as ``limit`` characters hold, and one at least, with a count of the others."""
    lengths = accumulate(len(part) + len(", ") for part in parts)
    count = max(1, sum(1 for length in lengths if length <= limit))
    left = len(parts) - count
    return ", ".join(parts[:count]) + (f" and {left} more" if left > 0 else "")


def _check(order: Order, data: Mapping[str, Sensitive]) -> None:
    size = sum(map(len, data.values()))
    if size > MAX_SECRET_BYTES:
        raise Invalid(f"the values have {size} bytes together, and a Secret takes {MAX_SECRET_BYTES}; split the ManagedSecret")
    lacking = [key for key in REQUIRED_KEYS.get(order.target.type, ()) if key not in data]
    if lacking:
        raise Rejected(
            f"spec.target.template.type {order.target.type} needs the keys {', '.join(lacking)}; add them to spec.data, or use Opaque"
        )
