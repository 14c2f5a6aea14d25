"""The operator's metrics: dashboards and alerts hang on their names and labels. No label holds a name that a tenant chose."""

from typing import Final

from keyturn.model.metric import Alert, Metric, Severity, Sort
from keyturn.model.metrics_audit import TRAIL

PHASES: Final = ("admit", "observe", "fetch", "gather", "compose", "diff", "perform", "status")
LANES: Final = ("urgent", "routine")
_SHORT: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
_LONG: Final = (0.001, 0.01, 0.1, 0.5, 1, 5, 10, 60, 300)
_TROUBLED: Final = 'keyturn_providers{reason!~"Valid|CheckedPerNamespace|Progressing"}'

SYNCS: Final = Metric(
    "keyturn_sync_duration_seconds",
    Sort.HISTOGRAM,
    "Time of one sync of a ManagedSecret, by how it ended.",
    (
        Alert(
            "KeyturnSyncsFail",
            'sum by (outcome) (rate(keyturn_sync_duration_seconds_count{outcome!="Synced"}[10m])) > 0.1',
            Severity.INFO,
            "Objects keep failing with {{ $labels.outcome }}",
            "docs/reasons.md says of each reason what to do; kubectl get managedsecrets -A, which objects it is.",
            "30m",
        ),
    ),
    {"outcome": "`Synced` or another [reason](reasons.md)"},
    buckets=_SHORT,
)

PHASE: Final = Metric(
    "keyturn_sync_phase_seconds",
    Sort.HISTOGRAM,
    "Time of one phase of a sync, waits included.",
    (
        Alert(
            "KeyturnSlowPhase",
            "histogram_quantile(0.95, sum by (phase, le) (rate(keyturn_sync_phase_seconds_bucket[10m]))) > 5",
            Severity.TICKET,
            "One sync in twenty spends more than 5 s in {{ $labels.phase }}",
            "fetch: look at the provider (keyturn_provider_call_duration_seconds); perform and status: at the API server, and at the "
            "audit trail's database (keyturn_audit_waiting_rows).",
            "15m",
        ),
    ),
    {"phase": " ".join(f"`{phase}`" for phase in PHASES)},
    "`fetch` is the provider, `perform` and `status` are the API server.",
    _SHORT,
)

WAITS: Final = Metric(
    "keyturn_queue_wait_seconds",
    Sort.HISTOGRAM,
    "How long an object waited for a worker, by the lane in which it did.",
    (
        Alert(
            "KeyturnSlowQueue",
            'histogram_quantile(0.95, sum by (le) (rate(keyturn_queue_wait_seconds_bucket{lane="urgent"}[10m]))) > 10',
            Severity.TICKET,
            "New and changed objects wait for more than 10 s",
            "Raise --workers, or look at keyturn_sync_phase_seconds for what holds the workers.",
            "15m",
        ),
    ),
    {"lane": "`urgent` (new, changed, drifted) or `routine` (refresh, retry)"},
    buckets=_LONG,
)

DEPTH: Final = Metric(
    "keyturn_queue_depth",
    Sort.GAUGE,
    "Objects that wait in a lane of the queue.",
    (
        Alert(
            "KeyturnQueueGrows",
            "min_over_time(keyturn_queue_depth[30m]) > 100",
            Severity.TICKET,
            "The {{ $labels.lane }} lane has not been short for half an hour",
            "Raise --workers or spec.refreshInterval, or look at keyturn_sync_phase_seconds for what holds the workers.",
        ),
    ),
    {"lane": "`urgent` or `routine`"},
)

OLDEST: Final = Metric(
    "keyturn_oldest_unsynced_seconds",
    Sort.GAUGE,
    "Age of the oldest ManagedSecret that is not as ordered; 0 where all are.",
    (
        Alert(
            "KeyturnObjectUnsynced",
            "max(keyturn_oldest_unsynced_seconds) > 3600",
            Severity.INFO,
            "A ManagedSecret has not been as ordered for an hour",
            "kubectl get managedsecrets -A says which, and its condition why.",
        ),
    ),
    more="It is not `Ready`, or its newest spec was not looked at. Suspended objects and those of other controller classes do not count.",
)

PROVIDERS: Final = Metric(
    "keyturn_providers",
    Sort.GAUGE,
    "Provider objects, by type and the reason of their Ready.",
    (
        Alert(
            "KeyturnProvidersNotReady",
            f"sum by (namespace, provider) ({_TROUBLED})\n  / sum by (namespace, provider) (keyturn_providers) > 0.5",
            Severity.PAGE,
            "More than half of the providers of type {{ $labels.provider }} are not ready",
            "Is the server itself down? kubectl get secretproviders -A, and clustersecretproviders, say how each fares.",
            "10m",
        ),
        Alert(
            "KeyturnProviderNotReady",
            f"max by (namespace, provider, reason) ({_TROUBLED}) > 0",
            Severity.INFO,
            "{{ $value }} of type {{ $labels.provider }} with {{ $labels.reason }}",
            "kubectl get secretproviders -A, and clustersecretproviders, say which; the condition has the remedy.",
            "1h",
        ),
    ),
    {"provider": "its type, `none` where the spec is refused", "reason": "that of its `Ready`"},
    "Those that are ready have `Valid`, or `CheckedPerNamespace` where [each namespace logs in for itself](per-namespace.md). "
    "Each replica tells the same.",
)

CALLS: Final = Metric(
    "keyturn_provider_call_duration_seconds",
    Sort.HISTOGRAM,
    "Time of one call to a provider, by its type, the call and the class of its result.",
    (
        Alert(
            "KeyturnProviderSlow",
            'histogram_quantile(0.95, sum by (provider, le) (rate(keyturn_provider_call_duration_seconds_bucket{result="OK"}[10m]))) > 5',
            Severity.TICKET,
            "One call in twenty to {{ $labels.provider }} takes more than 5 s",
            "Look at that server and the way to it; a call ends after 10 s, and what it was for fails with ProviderUnavailable.",
            "15m",
        ),
    ),
    {"provider": "its type", "call": "such as `get_many`", "result": "`OK` or the class of the error"},
    buckets=_SHORT,
)

WRITES: Final = Metric(
    "keyturn_cluster_writes_total",
    Sort.COUNTER,
    "Writes to the API server, by what was written.",
    (
        Alert(
            "KeyturnWritesHot",
            "sum by (what) (rate(keyturn_cluster_writes_total[10m])) > 20",
            Severity.TICKET,
            "More than 20 writes a second of {{ $labels.what }}",
            "Does another controller undo our writes? keyturn audit query --since 1h names the field managers of each repair.",
            "30m",
        ),
    ),
    {"what": "`status`, `secret-create`, `secret-apply`, `secret-strip`, `secret-replace`, `secret-delete`"},
)

EVENTS_DROPPED: Final = Metric(
    "keyturn_events_dropped_total",
    Sort.COUNTER,
    "Events for people that were not posted.",
    (
        Alert(
            "KeyturnEventsDropped",
            "increase(keyturn_events_dropped_total[1h]) > 100",
            Severity.TICKET,
            "Kubernetes events of Keyturn are lost; conditions and the audit trail are complete",
            "Look for objects that flap (KeyturnSyncsFail), and in the log for an API server that takes no events.",
        ),
    ),
    more="No record is lost with them.",
)

LOOP_LAG: Final = Metric(
    "keyturn_event_loop_lag_seconds",
    Sort.GAUGE,
    "How late the event loop was, at most, in the last minute.",
    (
        Alert(
            "KeyturnLoopLags",
            "max_over_time(keyturn_event_loop_lag_seconds[10m]) > 2",
            Severity.PAGE,
            "The operator was held up for {{ $value }} s",
            "Mostly it has too little CPU: raise its limit. The log names the place in the code where it stood still.",
        ),
    ),
)

TASKS: Final = Metric(
    "keyturn_tasks",
    Sort.GAUGE,
    "Tasks of the event loop: growth without more objects is a leak.",
    (
        Alert(
            "KeyturnTasksGrow",
            "min_over_time(keyturn_tasks[1h]) > 2 * max_over_time(keyturn_tasks[1h] offset 1d) + 100",
            Severity.TICKET,
            "{{ $value }} tasks, far more than a day ago",
            "Report a leak with the log; a new pod helps meanwhile.",
        ),
    ),
    more="Some dozens, and more with each provider object.",
)

LEADER: Final = Metric(
    "keyturn_is_leader",
    Sort.GAUGE,
    "1 while this replica does the work, else 0.",
    (
        Alert(
            "KeyturnNobodyLeads",
            "(sum by (namespace, job) (keyturn_is_leader) != 1) or absent(keyturn_is_leader)",
            Severity.PAGE,
            "No replica works, or more than one believes to",
            "See /readyz and the log of each, and the Lease keyturn of the operator's namespace.",
            "2m",
        ),
    ),
)

BUILD: Final = Metric(
    "keyturn_build_info",
    Sort.GAUGE,
    "1, with the version of this replica.",
    (
        Alert(
            "KeyturnVersionsDiffer",
            "count by (namespace) (count by (namespace, version) (keyturn_build_info)) > 1",
            Severity.TICKET,
            "Replicas of different versions run",
            "A rollout is stuck: kubectl -n keyturn-system rollout status deployment/keyturn.",
            "1h",
        ),
    ),
    {"version": "that of the package"},
)

METRICS: Final = (
    *(SYNCS, PHASE, WAITS, DEPTH, OLDEST, PROVIDERS, CALLS, WRITES, EVENTS_DROPPED),
    *TRAIL,
    *(LOOP_LAG, TASKS, LEADER, BUILD),
)
