"""Puts the checkpoints of the audit trail together: the database, the cluster and the key, and when they are written."""

from functools import partial

from keyturn.default import LateDatabases
from keyturn.engine import Engine
from keyturn.flow.audit_alarm import Alarm
from keyturn.flow.audit_queue import AuditQueue
from keyturn.flow.checkpoints import Checkpoints
from keyturn.kube.audit_head import KubeAuditHead
from keyturn.kube.client import Client
from keyturn.kube.own_keys import OwnKeys


def keep_checkpoints(databases: LateDatabases, audit: AuditQueue, engine: Engine) -> Checkpoints:
    """Has them written for as long as the operator runs, the last one after the last row, and looked at before each term."""
    settings, leading = engine.settings, engine.leading
    # The last one is written when our term is over: a later one of another leader is never replaced by it.
    client = Client(engine.config)
    keys = OwnKeys(client, settings.operator_namespace)
    databases.keep_audit_keys(keys)
    outside = KubeAuditHead(client, settings.operator_namespace, settings.controller_class, engine.events)
    made = Checkpoints(
        partial(databases.checkpoints, keys),
        outside,
        engine.world.clock,
        leading.monotonic,
        lambda: leading.is_leading,
        settings.audit_checkpoint_s,
    )
    audit.look = made.look
    audit.counts.unsigned = lambda: made.problem
    audit.counts.signed_at = lambda: made.signed.checkpoint.at if made.signed else None
    engine.on_term.insert(0, made.begin_term)
    engine.duties["checkpoints"] = made.run
    engine.duties["audit alarm"] = Alarm(lambda: audit.problem, outside.tell, leading.monotonic, lambda: leading.is_leading).run
    engine.closers.insert(engine.closers.index(audit.close) + 1, made.close)
    engine.closers.append(client.close)
    return made
