"""What the audit trail costs: first syncs with it in a database, and the same without, each on a rig of its own.

Without: KEYTURN_AUDIT=log, and the log's level such that its lines are not written; so all that a row costs is in the difference.
A machine that others use too is not as fast at all times, by more than that is: so each comes twice, in an order that favours neither
while it grows slower or faster.
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean
from typing import Final

from bench import gauges
from bench.rig import Rig, moment, namespace, rig
from bench.run import start_empty
from bench.sight import Name
from bench.unrest import percentile
from cluster.audit import writes
from controlplane.progress import Progress

FLAGS: Final = {"with": "--log-level=info", "without": "--log-level=warning"}
PER_S: Final = 25.0
"""New objects a second in the second phase: far fewer than could be synced, so that none waits for another."""
MOST: Final = 250


def cost(provider: str, objects: int, progress: Progress, run: int) -> dict[str, float]:
    """Means of two pairs; which of the two is at both ends changes with each run."""
    outer, inner = tuple(FLAGS) if run % 2 else tuple(reversed(FLAGS))
    found = defaultdict(list)
    for turn in (outer, inner, inner, outer):
        found[turn].append(_first_syncs(turn, provider, objects, progress))
    cpu_ms, p95_ms = map(fmean, zip(*found["with"], strict=True))
    bare_cpu_ms, bare_p95_ms = map(fmean, zip(*found["without"], strict=True))
    return {
        "audit_cpu_ms_per_object": cpu_ms - bare_cpu_ms,
        "first_sync_p95_ms": p95_ms,
        "first_sync_without_audit_p95_ms": bare_p95_ms,
        "audit_first_sync_p95_ms": p95_ms - bare_p95_ms,
    }


def _first_syncs(turn: str, provider: str, objects: int, progress: Progress) -> tuple[float, float]:
    """CPU of the operator for each of ``objects`` that waited for its start, and the p95 of those that come one by one after them."""
    settings: Mapping[str, str] = {} if turn == "with" else {"KEYTURN_AUDIT": "log"}
    progress.say(f"  first syncs {turn} an audit trail in a database")
    with rig(provider, objects, progress, FLAGS[turn], settings=settings) as made:
        start_s = start_empty(made)
        made.order("1h")
        since = made.mark()
        made.operator.start(wait=False)
        made.wait_statuses(since)
        made.settle("the operator", made.operator.pid)
        cpu_ms = (gauges.cpu_s(made.operator.pid) - start_s) * 1000 / objects
        return cpu_ms, 1000 * percentile(_one_by_one(made), 0.95)


def _one_by_one(made: Rig) -> list[float]:
    """Seconds from the moment when somebody asks for an object until the operator asks for its Secret."""
    names = [(namespace(n), f"new-{n:05}") for n in range(min(made.count, MOST))]
    made.source.fill([name for _, name in names], made.show)
    since, began = made.mark(), time.monotonic()
    asked: dict[Name, float] = {}
    for n, name in enumerate(names):
        time.sleep(max(0.0, began + n / PER_S - time.monotonic()))
        made.show("objects are new, one by one")
        asked[name] = time.time()
        made.make(name, "1h")
    made.wait_statuses(since, len(names))
    written = {(each.namespace, each.name): moment(each) for each in writes(made.requests(since), "secrets") if each.verb == "create"}
    return [written[name] - asked[name] for name in names]
