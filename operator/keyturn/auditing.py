"""Puts the audit trail of the operator together: where its rows go, and when we are the one who writes them."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.audit_log import LogAudit
from keyturn.checkpointing import keep_checkpoints
from keyturn.default import Given, LateDatabases
from keyturn.engine import Engine
from keyturn.flow.audit_patience import in_time
from keyturn.flow.audit_queue import AuditQueue
from keyturn.flow.audit_rows import Trail
from keyturn.flow.check import wake_refused
from keyturn.model.audit import AuditMode
from keyturn.model.errors import ProviderError
from keyturn.ports import Clock
from keyturn.settings import Settings

if TYPE_CHECKING:
    from keyturn.store.audit_spool import AuditSpool


def make_audit(settings: Settings, given: Given, clock: Clock, identity: str, lease: str) -> AuditQueue | LogAudit:
    """In the operator's own database; as log lines where it has none, or shall not be used for that."""
    if settings.audit is AuditMode.LOG or not given.databases.has_own:
        return LogAudit()
    office = f"{settings.operator_namespace}/{lease}"

    spool = _spool(settings, given.databases, lease) if settings.audit is AuditMode.BEST_EFFORT else None

    async def opened() -> Trail:
        try:
            trail = await given.databases.trail()
        except ProviderError:
            if spool is not None:
                await spool.open()  # what hinders it is what has to be mended first
            raise
        if spool is not None:
            await spool.open()
        if settings.audit is AuditMode.REQUIRED and not settings.audit_allow_owner:
            await trail.check_user()
        return trail

    made = AuditQueue(in_time(opened), clock, "operator", identity, office, keeps_repairs=settings.audit_repair, spool=spool)
    if spool is not None:
        made.counts.spooled = lambda: spool.size
    return made


def _spool(settings: Settings, databases: LateDatabases, lease: str) -> "AuditSpool":
    from keyturn.store.audit_spool import AuditSpool

    return AuditSpool(Path(settings.audit_spool) / f"{lease}-audit.spool", databases.masters)


def keep_trail(databases: LateDatabases, audit: AuditQueue, engine: Engine) -> None:
    """Has it written for as long as the operator runs."""
    engine.duties["audit"] = audit.run
    engine.on_term.append(audit.begin_term)
    engine.off_term.append(audit.end_term)
    audit.on_fenced = engine.leading.resign
    audit.on_back = partial(wake_refused, engine.world)
    engine.leading.audit_head = lambda: str(audit.head) if audit.head and audit.head.seq else ""
    engine.closers.insert(0, audit.close)
    keep_checkpoints(databases, audit, engine)
    if audit.spool is not None:
        engine.closers.append(audit.spool.close)
