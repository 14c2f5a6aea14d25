"""One run over all figures, phase by phase, on one rig.

What is waited for is read from logs and from the kernel, so that looking costs those nothing who are measured.
"""

import os
import time
from typing import Final

from bench import gauges, unrest
from bench.pace import Pace
from bench.rig import Rig, moment
from cluster.audit import writes

CORES: Final = 2
OURS: Final = ("secrets", "managedsecrets")
Figures = dict[str, float]


def measure(rig: Rig, pace: Pace) -> Figures:
    """Every figure of budget.py once; the operator runs at the end."""
    start_s = start_empty(rig)
    found = {"operator_cpu_s_start": start_s} | cold_start(rig, start_s)
    idle = idle_share(rig, pace.idle_s)
    found |= {"idle_cpu_percent": 100 * idle, "rss_mib": gauges.rss_mib(rig.operator.pid)}
    found |= unrest.drift_idle(rig, pace)
    found |= restart(rig, start_s)
    rig.refresh_every(f"{pace.interval_s}s")
    found |= refreshes(rig, pace, idle)
    found |= unrest.changes(rig, pace)
    found |= unrest.drift_loaded(rig, pace)
    return found | {"rss_after_soak_mib": gauges.rss_mib(rig.operator.pid)}


def start_empty(rig: Rig) -> float:
    """Seconds of CPU of a start that has nothing to do."""
    rig.open()
    rig.operator.start()  # the first one makes the database
    rig.operator.restart()
    rig.settle("an operator without objects", rig.operator.pid)
    spent_s = gauges.cpu_s(rig.operator.pid)
    rig.operator.stop()
    return spent_s


def cold_start(rig: Rig, start_s: float) -> Figures:
    """The operator comes, and all objects are there already."""
    rig.order("1h")
    rig.settle("the API server", *rig.servers)
    since, servers_s, provider_s = rig.mark(), gauges.cpu_s(*rig.servers), gauges.cpu_s(*rig.source.pids)
    began, machine_s, harness_s = time.time(), gauges.machine_s(), time.process_time()
    rig.operator.start(wait=False)
    rig.wait_statuses(since)
    rig.settle("the operator", rig.operator.pid)
    machine_s, harness_s, lasted_s = gauges.machine_s() - machine_s, time.process_time() - harness_s, time.time() - began
    operator_ms = (gauges.cpu_s(rig.operator.pid) - start_s) * 1000 / rig.count
    servers_ms = (gauges.cpu_s(*rig.servers) - servers_s) * 1000 / rig.count
    provider_ms = (gauges.cpu_s(*rig.source.pids) - provider_s) * 1000 / rig.count
    ours_s = (operator_ms + servers_ms + provider_ms) * rig.count / 1000 + start_s + harness_s
    asked = rig.requests(since)
    return {
        "operator_cpu_ms_per_object": operator_ms,
        "server_cpu_ms_per_object": servers_ms,
        "provider_cpu_ms_per_object": provider_ms,
        "ideal_objects_per_s": 1000 * CORES / (operator_ms + servers_ms + provider_ms),
        "api_writes_per_object": len(writes(asked)) / rig.count,
        "api_reads_per_object": (len(asked) - len(writes(asked))) / rig.count,
        "rss_peak_mib": gauges.peak_mib(rig.operator.pid),
        "others_cpu_percent": 100 * max(0.0, machine_s - ours_s) / (lasted_s * (os.cpu_count() or 1)),
        "first_secret_s": min(map(moment, writes(asked, "secrets"))) - began,
        "cold_start_s": max(map(moment, writes(asked, "managedsecrets"))) - began,
    }


def idle_share(rig: Rig, seconds: float) -> float:
    """The share of a core that the operator takes while nothing happens."""
    before_s, began = gauges.cpu_s(rig.operator.pid), time.monotonic()
    rig.pause(seconds, "nothing happens")
    return (gauges.cpu_s(rig.operator.pid) - before_s) / (time.monotonic() - began)


def restart(rig: Rig, start_s: float) -> Figures:
    """A stop and a start where nothing has changed."""
    rig.operator.stop()
    since, began = rig.mark(), time.monotonic()
    rig.operator.start()
    ready_s = time.monotonic() - began
    rig.settle("the operator after its restart", rig.operator.pid)
    return {
        "restart_ready_s": ready_s,
        "restart_writes": len(writes(rig.requests(since), *OURS)),
        "restart_cpu_ms_per_object": (gauges.cpu_s(rig.operator.pid) - start_s) * 1000 / rig.count,
    }


def refreshes(rig: Rig, pace: Pace, idle: float) -> Figures:
    """Cycles of all objects in which nothing has changed. ``idle``: the share of a core that goes without them too."""
    unrest.await_refresh(rig, pace)
    since, asked, began = rig.mark(), rig.calls(), time.monotonic()
    before_s = gauges.cpu_s(rig.operator.pid)
    rig.pause(pace.cycles * pace.interval_s, f"all are refreshed every {pace.interval_s} s, and nothing has changed")
    busy_s = gauges.cpu_s(rig.operator.pid) - before_s - idle * (time.monotonic() - began)
    refreshed = rig.count * pace.cycles
    return {
        "operator_cpu_ms_per_refresh": max(0.0, busy_s) * 1000 / refreshed,
        "api_requests_per_refresh": len(rig.requests(since)) / refreshed,
        "provider_calls_per_cycle": (rig.calls() - asked) / pace.cycles,
    }
