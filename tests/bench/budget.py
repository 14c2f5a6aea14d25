"""Every figure that is measured, in the order of the table: its key in bench.json, its budget, and what it is compared with.

The one place where budgets stand. CPU seconds and counts come first, since they can be told on a busy machine too; wall
times are reported beside their budget and fail nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Below this many objects a tick of the kernel's clock is a good part of each object's share.
ENOUGH_FOR_CPU = 500


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. ``budget`` and ``aim`` hold for 1,000 objects, and ``growth`` is added for each thousand more.

    ``by_provider``: other budgets for the providers of these names. ``is_wall``: depends on how busy the machine is.
    ``is_floor``: more is better. ``judged_from``: with fewer objects than that it is reported alone.
    """

    key: str
    title: str
    budget: float | None = None
    aim: float | None = None
    growth: float = 0.0
    by_provider: Mapping[str, float] = field(default_factory=dict)
    is_wall: bool = False
    is_floor: bool = False
    judged_from: int = 0
    digits: int = 2
    eso_default: str = ""
    eso_tuned: str = ""

    def limit(self, objects: int, provider: str) -> float | None:
        """The budget for so many objects of one provider; None where there is none."""
        budget = self.by_provider.get(provider, self.budget)
        return None if budget is None else budget + self.growth * max(0, objects - 1000) / 1000

    def is_broken(self, value: float, objects: int, provider: str) -> bool:
        """Whether the run fails by this figure."""
        return not self.why_not_judged(objects) and self.is_over(value, objects, provider)

    def why_not_judged(self, objects: int) -> str:
        """Why the run does not fail by this figure; '' where it does."""
        if self.is_wall:
            return "wall time"
        return "too few objects" if objects < self.judged_from else ""

    def is_over(self, value: float, objects: int, provider: str) -> bool:
        """Whether the value, rounded as it is shown, lies beyond the budget."""
        limit, shown = self.limit(objects, provider), round(value, self.digits)
        return limit is not None and (shown < limit if self.is_floor else shown > limit)


FIGURES = (
    Figure(
        "operator_cpu_ms_per_object",
        "operator CPU, ms per object at first sync",
        budget=5,
        aim=3,
        judged_from=ENOUGH_FOR_CPU,
        eso_default="12.9",
        eso_tuned="9.1 / 13.8",
    ),
    Figure(
        "audit_cpu_ms_per_object",
        "of that for the audit trail in SQLite on a disk, ms per object",
        budget=0.6,
        judged_from=ENOUGH_FOR_CPU,
    ),
    Figure("operator_cpu_s_start", "operator CPU of a start without objects, s"),
    Figure(
        "server_cpu_ms_per_object",
        "API server + etcd CPU, ms per object",
        budget=10,
        aim=8.5,
        judged_from=ENOUGH_FOR_CPU,
        eso_default="38.5",
        eso_tuned="26",
    ),
    Figure("provider_cpu_ms_per_object", "provider CPU, ms per object"),
    Figure(
        "ideal_objects_per_s",
        "ideal throughput on 2 cores (2 / all CPU per object), objects/s",
        budget=110,
        aim=170,
        is_floor=True,
        judged_from=ENOUGH_FOR_CPU,
        digits=0,
        eso_default="38",
        eso_tuned="57 / 50",
    ),
    Figure("api_writes_per_object", "API writes per new object", budget=2, aim=2, digits=3, eso_default="4", eso_tuned="4"),
    Figure("api_reads_per_object", "API reads per new object", budget=0, aim=0, digits=3, eso_default="3.4", eso_tuned="4"),
    Figure("api_requests_per_refresh", "API requests per unchanged refresh", budget=0, aim=0, digits=4, eso_default="4.4", eso_tuned="4.4"),
    Figure(
        "operator_cpu_ms_per_refresh",
        "operator CPU, ms per unchanged refresh",
        budget=0.8,
        judged_from=ENOUGH_FOR_CPU,
        digits=3,
        eso_tuned="7.6",
    ),
    Figure(
        "provider_calls_per_cycle",
        "provider calls per refresh cycle of all objects",
        by_provider={"file": 1, "vault": 2},
        digits=0,
        eso_default="one each",
        eso_tuned="one each",
    ),
    Figure("restart_writes", "API writes of a restart with all objects unchanged", budget=0, aim=0, digits=0, eso_default="all statuses"),
    Figure("restart_cpu_ms_per_object", "operator CPU of that restart, ms per object", judged_from=ENOUGH_FOR_CPU),
    Figure("rss_mib", "RSS, MiB", budget=110, aim=80, growth=7.5, digits=0, eso_default="151", eso_tuned="155–246 / 327"),
    Figure("rss_peak_mib", "highest RSS of a cold start, MiB", digits=0),
    Figure("rss_after_soak_mib", "RSS after all the refreshes, changes and drifts, MiB", budget=110, aim=80, growth=7.5, digits=0),
    Figure("idle_cpu_percent", "idle CPU, % of a core", budget=1, aim=0.3, judged_from=ENOUGH_FOR_CPU, eso_tuned="18 (5,000)"),
    Figure("cold_start_s", "cold start, s", budget=10, aim=7, growth=10, is_wall=True, eso_default="107", eso_tuned="20.9"),
    Figure("first_secret_s", "start → first Secret with all waiting, s", budget=2, aim=1, is_wall=True, eso_default="0.8", eso_tuned="1.1"),
    Figure("restart_ready_s", "restart → ready with all unchanged, s", is_wall=True),
    Figure("first_sync_p95_ms", "new object → its Secret p95, ms, 25 objects a second", is_wall=True, digits=0),
    Figure("first_sync_without_audit_p95_ms", "the same without an audit trail, ms", is_wall=True, digits=0),
    Figure("audit_first_sync_p95_ms", "what the audit trail adds to it, ms", budget=20, is_wall=True, digits=0),
    Figure("drift_p50_ms", "drift repair p50, ms, idle", budget=40, aim=20, is_wall=True, digits=0, eso_default="1,990", eso_tuned="27"),
    Figure("drift_p95_ms", "drift repair p95, ms, idle", budget=100, aim=45, is_wall=True, digits=0, eso_default="2,260", eso_tuned="45"),
    Figure(
        "drift_loaded_p95_ms",
        "drift repair p95, ms, while all are refreshed every 15 s",
        budget=500,
        aim=100,
        is_wall=True,
        digits=0,
        eso_tuned="21,000",
    ),
    Figure("change_worst_s", "provider change → Secret, worst, s, with an interval of 15 s", budget=15, is_wall=True, eso_tuned="> 30"),
    Figure("change_p50_s", "provider change → Secret, p50, s, with an interval of 15 s", is_wall=True),
    Figure("others_cpu_percent", "CPU that others took during the cold start, % of the machine", is_wall=True, digits=0),
)
