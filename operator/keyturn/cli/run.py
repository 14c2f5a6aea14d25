"""``keyturn run``: the operator process."""

import asyncio
import ctypes
import gc
import sys
from asyncio import sslproto
from collections.abc import Callable
from typing import Any

import click

from keyturn.cli.needs import listed, need
from keyturn.decide.address import parse_allowed
from keyturn.model.audit import AuditMode
from keyturn.model.durations import seconds
from keyturn.settings import Settings

_DEFAULTS = Settings()

DEEPEST = 12_000
"""The API server takes JSON of 10,000 levels (its source: encoding/json), managedFields of tenants included; Python's own limit
of 1,000 would end the process. More would overflow the C stack, which decoders use, before it is reached.
"""

GARBAGE_AFTER = 4_000
"""So many new objects, and cycles are looked for. At Python's own 700 a tenth of a start's CPU time went there, since caches live for
long; at 20,000 what Kopf leaves of each event, cycles of 10 KiB, were 3 MiB that nobody needs.
"""

LARGE_BUFFER = TLS_BUFFER = 64 << 10
"""Bytes that a TLS connection reads at once: four of TLS's records. Each has a buffer of that size, resident from its first moment on:
at asyncio's own 256 KiB they were a tenth of our memory at a start. What is as large goes back to the system as it is freed.
"""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


class Duration(click.ParamType[float]):
    """A Go-style duration of a second or more, given in seconds: a period of nothing would be a hot loop."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            given = value if isinstance(value, float) else seconds(value)
        except ValueError as error:
            is_bare = isinstance(value, str) and value.isascii() and value.isdecimal()
            self.fail(f"{error}; write {value[:9]}s if seconds are meant" if is_bare else str(error), param, ctx)
        if given < 1:
            self.fail("is less than a second; write 1s or more", param, ctx)
        return given


class Addresses(click.ParamType[str]):
    """Words and networks that say where tenants' servers may be; commas part them."""

    name = "addresses"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return ",".join(parse_allowed(listed((value,))))
        except ValueError as error:
            self.fail(str(error), param, ctx)


_Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def _option(flag: str, twin: str, text: str, **more: Any) -> _Decorator:
    return click.option(flag, envvar=f"KEYTURN_{twin}", show_envvar=True, help=text, **more)


def _period(flag: str, twin: str, default_s: float, text: str) -> _Decorator:
    return _option(flag, twin, f"{text}  [default: {default_s:g}s]", type=Duration(), default=default_s)


@click.command()
@_option("--kubeconfig", "KUBECONFIG", "The kubeconfig to use; without it, the pod's own ServiceAccount.", default="")
@_option("--context", "CONTEXT", "The context in the kubeconfig; without it, the current one.", default="")
@_option("--namespace", "NAMESPACES", "Serve this namespace alone, with Roles only; may be given again.", multiple=True)
@_option("--controller-class", "CONTROLLER_CLASS", "Serve the providers of this controllerClass.", default="")
@_option(
    "--operator-namespace", "OPERATOR_NAMESPACE", "The operator's own namespace.", default=_DEFAULTS.operator_namespace, show_default=True
)
@_option(
    "--file-root",
    "FILE_ROOTS",
    "A folder that file providers may read; may be given again.",
    multiple=True,
    default=_DEFAULTS.file_roots,
    show_default=True,
)
@_option("--env-prefix", "ENV_PREFIXES", "A prefix that env providers may use beside KEYTURN_SECRET_; may be given again.", multiple=True)
@_option(
    "--allow-addresses",
    "ALLOW_ADDRESSES",
    "Where the servers of SecretProviders may be: public, private, or a network such as 10.1.0.0/16; may be given again.",
    type=Addresses(),
    multiple=True,
    default=_DEFAULTS.allow_addresses,
    show_default=True,
)
@_option("--allow-plain-http", "ALLOW_PLAIN_HTTP", "Let servers of providers be without TLS.", is_flag=True)
@_option("--allow-secret-type", "ALLOW_SECRET_TYPES", "A Secret type to allow beside the safe ones; may be given again.", multiple=True)
@_option(
    "--accept-new-fingerprint-key",
    "ACCEPT_NEW_FINGERPRINT_KEY",
    "Go on with a fingerprint key that is not the one of the cluster's Secrets.",
    is_flag=True,
)
@_option(
    "--audit",
    "AUDIT",
    "While the audit trail's database is away: change nothing, or spool to a file. With log the trail is lines of the log, and no table.",
    type=click.Choice([str(mode) for mode in AuditMode]),
    default=str(_DEFAULTS.audit),
    show_default=True,
)
@_option(
    "--audit-repair",
    "AUDIT_REPAIR",
    "Whether a deleted or edited Secret is repaired with the bytes that it had, while the audit trail's database is away.",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
)
@_option(
    "--audit-spool",
    "AUDIT_SPOOL",
    "The folder, on a volume, of the spool of --audit=best-effort.",
    default=_DEFAULTS.audit_spool,
    show_default=True,
)
@_option("--audit-allow-owner", "AUDIT_ALLOW_OWNER", "Write the audit trail as its tables' owner too; to try things out.", is_flag=True)
@_option(
    "--health-address",
    "HEALTH_ADDRESS",
    "Where /healthz, /readyz and /metrics are served.",
    default=_DEFAULTS.health_address,
    show_default=True,
)
@_option(
    "--log-level",
    "LOG_LEVEL",
    "How much is logged.",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@_option(
    "--workers",
    "WORKERS",
    "How many objects are worked on at once.",
    type=click.IntRange(1, 256),
    default=_DEFAULTS.workers,
    show_default=True,
)
@_period(
    "--audit-checkpoint-period",
    "AUDIT_CHECKPOINT_PERIOD",
    _DEFAULTS.audit_checkpoint_s,
    "How often the end of the audit trail is signed; soon after a denial or a rotation, and at the stop, it always is.",
)
@_period("--relist-period", "RELIST_PERIOD", _DEFAULTS.relist_s, "How often the cache is compared with a list.")
@_period("--stale-floor", "STALE_FLOOR", _DEFAULTS.stale_floor_s, "How old a value may get, at least, before an outage makes it Stale.")
@_period("--denial-grace", "DENIAL_GRACE", _DEFAULTS.denial_grace_s, "How long a denial may last before it is Stalled.")
@_period("--check-period", "CHECK_PERIOD", _DEFAULTS.check_period_s, "How often a provider is logged in to, to see that it works.")
@_period("--full-read-period", "FULL_READ_PERIOD", _DEFAULTS.full_read_s, "How often a value is read although a list says it is unchanged.")
@_period("--conflict-window", "CONFLICT_WINDOW", _DEFAULTS.conflict_window_s, "How long another writer's edits count before we pause.")
@_period(
    "--reference-poll-period",
    "REFERENCE_POLL_PERIOD",
    _DEFAULTS.reference_poll_s,
    "How often what providers refer to is looked at, beyond the 200 objects that are watched.",
)
@_period("--stop-grace", "STOP_GRACE", _DEFAULTS.stop_grace_s, "How long a stop waits for work under way.")
@_period(
    "--stall-limit",
    "STALL_LIMIT",
    _DEFAULTS.stall_limit_s,
    "How long a watch, the queue or a worker may stand still before readyz says so.",
)
@_period("--dead-limit", "DEAD_LIMIT", _DEFAULTS.dead_limit_s, "How long the event loop may stand still before healthz fails.")
@_option("--identity", "IDENTITY", "The name of this replica in the lease; without it, the pod's name, else host and process.", default="")
@_period("--lease-duration", "LEASE_DURATION", _DEFAULTS.lease_duration_s, "How long a silent leader is waited for.")
@_period("--lease-renew-deadline", "LEASE_RENEW_DEADLINE", _DEFAULTS.lease_renew_deadline_s, "When a leader without a renewal gives up.")
@_period("--lease-retry-period", "LEASE_RETRY_PERIOD", _DEFAULTS.lease_retry_s, "How often the lease is renewed, or looked at.")
def run(**flags: Any) -> None:
    """Run the operator, in a pod or beside a cluster, until SIGTERM or Ctrl-C."""
    need("operator", "keyturn run")
    gc.set_threshold(GARBAGE_AFTER)
    _give_memory_back()
    from keyturn import app, telemetry

    settings = Settings(
        kubeconfig=flags["kubeconfig"],
        context=flags["context"],
        namespaces=_namespaces(flags["namespace"]),
        controller_class=flags["controller_class"],
        operator_namespace=flags["operator_namespace"],
        file_roots=listed(flags["file_root"]),
        env_prefixes=listed(flags["env_prefix"]),
        allow_addresses=listed(flags["allow_addresses"]),
        allow_plain_http=flags["allow_plain_http"],
        allow_secret_types=frozenset(listed(flags["allow_secret_type"])),
        accept_new_fingerprint_key=flags["accept_new_fingerprint_key"],
        audit=AuditMode(flags["audit"]),
        audit_repair=flags["audit_repair"] == "on",
        audit_spool=flags["audit_spool"],
        audit_allow_owner=flags["audit_allow_owner"],
        audit_checkpoint_s=flags["audit_checkpoint_period"],
        health_address=flags["health_address"],
        log_level=flags["log_level"],
        workers=flags["workers"],
        relist_s=flags["relist_period"],
        stale_floor_s=flags["stale_floor"],
        denial_grace_s=flags["denial_grace"],
        check_period_s=flags["check_period"],
        full_read_s=flags["full_read_period"],
        conflict_window_s=flags["conflict_window"],
        reference_poll_s=flags["reference_poll_period"],
        stop_grace_s=flags["stop_grace"],
        stall_limit_s=flags["stall_limit"],
        dead_limit_s=flags["dead_limit"],
        identity=flags["identity"],
        lease_duration_s=flags["lease_duration"],
        lease_renew_deadline_s=flags["lease_renew_deadline"],
        lease_retry_s=flags["lease_retry_period"],
    )
    _check_terms(settings)
    telemetry.set_up_logs(settings.log_level)
    sys.setrecursionlimit(DEEPEST)
    sslproto.SSLProtocol.max_size = TLS_BUFFER
    gc.freeze()  # what was imported stays, and need not be gone through again
    asyncio.run(app.run(settings))


def _give_memory_back() -> None:
    """Has large buffers go back to the system as they are freed. glibc keeps ever larger ones by itself, a third of what we need."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries give back by themselves
        mallopt(_M_MMAP_THRESHOLD, LARGE_BUFFER)
        mallopt(_M_TRIM_THRESHOLD, LARGE_BUFFER)
        mallopt(_M_ARENA_MAX, 2)  # each thread has one of its own by default, though one of them works at a time


def _check_terms(settings: Settings) -> None:
    """Contradictory times of the lease are refused at once, and by the names of their flags."""
    try:
        _ = settings.terms
    except ValueError as error:
        message = f"--lease-duration, --lease-renew-deadline and --lease-retry-period: {error}"
        raise click.UsageError(message) from None


def _namespaces(given: tuple[str, ...]) -> tuple[str, ...]:
    """An empty name would mean all namespaces, and comes from an unset variable of a shell."""
    if given and not listed(given):
        message = "--namespace names none; leave it out to serve the whole cluster"
        raise click.UsageError(message)
    return listed(given)
