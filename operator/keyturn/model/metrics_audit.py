"""The metrics of the audit trail, and of what was done with secrets and did not end well."""

from typing import Final

from keyturn.model.metric import Alert, Metric, Severity, Sort

AUDIT_UP: Final = Metric(
    "keyturn_audit_up",
    Sort.GAUGE,
    "1 while the audit trail takes entries, else 0, as before it was looked at.",
    (
        Alert(
            "KeyturnAuditDown",
            "keyturn_audit_up == 0 and keyturn_is_leader == 1",
            Severity.PAGE,
            "The audit trail takes no entry, so that no Secret is changed",
            "The log says why, and any pending ManagedSecret says AuditUnavailable: bring the operator's database back, or "
            "make room on its disk. All goes on by itself then. For AuditTruncated, AuditKeyLost or AuditTampered follow the Warning on "
            "the ConfigMap keyturn-audit-head.",
            "2m",
        ),
    ),
    more="At 0 no value is read and no Secret is written, but for [repairs and `best-effort`](audit.md#when-the-database-is-away).",
)

AUDIT_WAITING: Final = Metric(
    "keyturn_audit_waiting_rows",
    Sort.GAUGE,
    "Rows of the audit trail that are not written yet.",
    (
        Alert(
            "KeyturnAuditLags",
            "keyturn_audit_waiting_rows > 1000",
            Severity.TICKET,
            "{{ $value }} rows of the audit trail wait",
            "Look at the operator's database: it is away, its disk is slow, or another session holds its locks.",
            "5m",
        ),
    ),
)

AUDIT_OLDEST: Final = Metric(
    "keyturn_audit_oldest_waiting_seconds",
    Sort.GAUGE,
    "How long the oldest row of the audit trail that is not written yet has waited; 0 where there is none.",
    (
        Alert(
            "KeyturnAuditRowsWait",
            "keyturn_audit_oldest_waiting_seconds > 30",
            Severity.TICKET,
            "A row of the audit trail has waited for {{ $value }} s",
            "Do not end this replica before the database takes rows again: until then it alone knows what was done. Its log has the rows.",
            "1m",
        ),
    ),
)

AUDIT_HEAD: Final = Metric(
    "keyturn_audit_head_seq",
    Sort.GAUGE,
    "Number of the audit trail's last row that this replica knows; 0 where it knows none.",
    (
        Alert(
            "KeyturnAuditHeadFell",
            # Over all pods, as a restore means a new one; of whoever leads and has looked, as another one may know an older end.
            "max by (namespace, job) (keyturn_audit_head_seq > 0 and keyturn_is_leader == 1 and keyturn_audit_up == 1) "
            "< max by (namespace, job) (max_over_time(keyturn_audit_head_seq[1d]))",
            Severity.PAGE,
            "The audit trail is shorter than it was within a day",
            "Was an older backup restored, and the loss accepted, or were rows taken away? keyturn audit verify, with a checkpoint that "
            "was kept, tells. While the operator itself finds rows missing (AuditTruncated) KeyturnAuditDown says so.",
            "2m",
        ),
        Alert(
            "KeyturnAuditGrows",
            "delta(keyturn_audit_head_seq[1h]) > 200000 and keyturn_audit_head_seq offset 1h > 0 and keyturn_is_leader offset 1h == 1",
            Severity.TICKET,
            "{{ $value }} rows were added to the audit trail in an hour",
            "keyturn audit query --since 5m says whose they are: mostly somebody makes or changes objects in a loop. Look at the room on "
            "the database's disk; keyturn audit prune moves the oldest rows out of it.",
        ),
    ),
    more="On a replica that stands by it stays as at its start, or the end of its last term. 0 before the first look, and where the trail "
    "is kept as log lines. While a replica runs it never falls, unless rows are lost.",
)

AUDIT_FAILURES: Final = Metric(
    "keyturn_audit_failures_total",
    Sort.COUNTER,
    "Times that the audit trail's database took nothing.",
    (
        Alert(
            "KeyturnAuditFails",
            "increase(keyturn_audit_failures_total[10m]) > 5",
            Severity.TICKET,
            "The operator's database took no rows of the audit trail {{ $value }} times",
            "The log says why at each: look at the database's connections, disk and rights.",
        ),
    ),
    more="It was away, full, or refused us.",
)

AUDIT_REFUSED: Final = Metric(
    "keyturn_audit_refused_rows_total",
    Sort.COUNTER,
    "Rows that the audit trail's database can never hold.",
    (
        Alert(
            "KeyturnAuditRowRefused",
            "increase(keyturn_audit_refused_rows_total[1h]) > 0",
            Severity.TICKET,
            "The operator's database cannot hold a row of the audit trail, so that its effect was not begun",
            "The log names the row's action and what the database said: bring its tables up to date (keyturn db upgrade), and report it "
            "where that does not help.",
        ),
    ),
    more="They were kept out so that the others go in.",
)

AUDIT_UNSIGNED: Final = Metric(
    "keyturn_audit_unsigned",
    Sort.GAUGE,
    "1 while the end of the audit trail cannot be signed, or put where its database has no access, else 0.",
    (
        Alert(
            "KeyturnAuditUnsigned",
            "keyturn_audit_unsigned == 1 and keyturn_audit_up == 1",
            Severity.PAGE,
            "The end of the audit trail is not signed",
            "Look for 'no checkpoint of the audit trail' in the log, which says why. With AuditTampered rows are not as they were written: "
            "run keyturn audit verify, and leave the database as it is. Else the ConfigMap keyturn-audit-head or the database could not "
            "be reached.",
            "5m",
        ),
    ),
    more="See [checkpoints](audit.md#checkpoints). While `keyturn_audit_up` is 0 that is what has to be mended first.",
)

AUDIT_SIGNED: Final = Metric(
    "keyturn_audit_checkpoint_age_seconds",
    Sort.GAUGE,
    "Age of the newest checkpoint that this replica knows; 0 where it knows none.",
    (
        Alert(
            "KeyturnAuditCheckpointOld",
            "keyturn_audit_checkpoint_age_seconds > 3 * 3600 and keyturn_is_leader == 1",
            Severity.TICKET,
            "The end of the audit trail was last signed {{ $value }} s ago",
            "Look for 'no checkpoint of the audit trail' in the log; what came since could be taken away unseen by who holds the keys. "
            "With --audit-checkpoint-period above 3h raise the figure.",
        ),
    ),
    more="Of those that it has signed or seen: a replica that does not lead may know none.",
)

AUDIT_SPOOL: Final = Metric(
    "keyturn_audit_spool_bytes",
    Sort.GAUGE,
    "Bytes of the audit trail that wait in the spool.",
    (
        Alert(
            "KeyturnAuditSpools",
            "keyturn_audit_spool_bytes > 0",
            Severity.PAGE,
            "Changes go on without the audit trail's database; their rows wait in a spool",
            "Bring the database back, and leave the operator's volume as it is: rows in the spool are in no chain yet. At 64 MiB it is "
            "full, and nothing is changed any more.",
            "10m",
        ),
    ),
    more="Only with `KEYTURN_AUDIT=best-effort`, while the database is away.",
)

FAILURES: Final = Metric(
    "keyturn_access_failures_total",
    Sort.COUNTER,
    "What was done with secrets and did not end well, as the audit trail tells it: denied, failed, or without an answer.",
    (
        Alert(
            "KeyturnAccessDenied",
            'sum by (action, reason) (increase(keyturn_access_failures_total{outcome="denied"}[10m])) > 50',
            Severity.INFO,
            "{{ $labels.action }} was denied {{ $value }} times ({{ $labels.reason }})",
            "keyturn audit query --outcome denied --since 1h says for which objects: a right that went missing, or somebody who tries.",
        ),
    ),
    {
        "action": "such as `provider.read` or `secret.create`",
        "outcome": "`denied`, `failure`, or `unknown` where nobody answered",
        "reason": "one of the [reasons](reasons.md), `Conflict`, `Cancelled`, `Other`",
    },
    "Each is a row of the [audit trail](audit.md#what-is-a-row), which says whose it was.",
)

TRAIL: Final = (
    FAILURES,
    AUDIT_UP,
    AUDIT_WAITING,
    AUDIT_OLDEST,
    AUDIT_HEAD,
    AUDIT_FAILURES,
    AUDIT_REFUSED,
    AUDIT_UNSIGNED,
    AUDIT_SIGNED,
    AUDIT_SPOOL,
)
