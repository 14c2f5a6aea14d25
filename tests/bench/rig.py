"""One measurement's cluster: control plane, provider, operator, and the objects over their namespaces."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bench import gauges
from bench.sources import FIELD, Source, source_of
from cluster.api import Api
from cluster.audit import Request, mark, requests
from cluster.process import Operator
from controlplane.errors import ControlPlaneError
from controlplane.installation import NAMESPACE, Installation
from controlplane.plane import ControlPlane
from controlplane.progress import Progress

NAMESPACES: Final = 10
LOOK_S: Final = 0.25
API_VERSION: Final = "keyturn.dev/v1alpha1"
PROVIDER: Final = "bench"
# What a line of the audit log holds that tells of a status that was taken.
_STATUS_TAKEN = (b'"userAgent":"keyturn/', b'"resource":"managedsecrets"', b'"subresource":"status"', b'"code":200')

_READS = r'^keyturn_provider_call_duration_seconds_count\{call="(?:get_many|survey)",.*\} (\S+)$'


@dataclass(slots=True)
class Rig:
    """What is measured, and short ways to act on it."""

    plane: ControlPlane
    api: Api
    source: Source
    operator: Operator
    progress: Progress
    count: int
    servers: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.servers = tuple(gauges.find(name, self.plane.folder) for name in ("etcd", "kube-apiserver"))

    @property
    def names(self) -> list[tuple[str, str]]:
        """Namespace and name of each object; the key at the source has the same name."""
        return [(namespace(n), f"app-{n:05}") for n in range(self.count)]

    def show(self, doing: str) -> None:
        self.progress.show(f"{self.source.name}, {self.count} objects: {doing}")

    def settle(self, what: str, *pids: int, limit_s: float = 60.0) -> None:
        """Waits until processes have nothing more to do."""
        gauges.settle(pids, limit_s, lambda: self.show(f"{what} comes to rest"))

    def open(self) -> None:
        """Values, namespaces and the provider object; no ManagedSecret yet."""
        self.source.fill([name for _, name in self.names], self.show)
        for n in range(NAMESPACES):
            self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(n)}})
        spec = {"provider": self.source.spec(self.api, NAMESPACE)}
        self.api.create({"apiVersion": API_VERSION, "kind": "ClusterSecretProvider", "metadata": {"name": PROVIDER}, "spec": spec})

    def order(self, interval: str) -> None:
        """Makes every ManagedSecret."""
        for done, name in enumerate(self.names):
            self.show(f"{done} made")
            self.make(name, interval)

    def make(self, name: tuple[str, str], interval: str) -> None:
        """Makes one."""
        spec = {
            "providerRef": {"kind": "ClusterSecretProvider", "name": PROVIDER},
            "refreshInterval": interval,
            "data": [{"secretKey": FIELD, "remoteRef": self.source.remote_ref(name[1])}],
        }
        metadata = {"name": name[1], "namespace": name[0]}
        self.api.create({"apiVersion": API_VERSION, "kind": "ManagedSecret", "metadata": metadata, "spec": spec})

    def refresh_every(self, interval: str) -> None:
        """Changes the interval of every ManagedSecret, and waits until each says so."""
        since = self.mark()
        for done, (where, name) in enumerate(self.names):
            self.show(f"{done} with an interval of {interval}")
            self.api.merge("ManagedSecret", where, name, {"spec": {"refreshInterval": interval}})
        self.wait_statuses(since)

    def mark(self) -> int:
        """A place in the API server's audit log."""
        return mark(self.plane)

    def wait_statuses(self, since: int, count: int = 0) -> None:
        """Returns when so many statuses were written since a mark, else as many as there are objects; asks no server for that."""
        count = count or self.count
        taken, deadline = 0, time.monotonic() + 120 + 0.2 * count
        with self.plane.audit_log.open("rb") as log:
            log.seek(since)
            rest = b""
            while taken < count:
                *lines, rest = (rest + log.read()).split(b"\n")
                taken += sum(all(part in line for part in _STATUS_TAKEN) for line in lines)
                self.show(f"{taken} synced")
                self.check_operator()
                if time.monotonic() > deadline:
                    raise ControlPlaneError(f"{taken} of {count} objects were synced in time; the operator said:\n{self.operator.story()}")
                time.sleep(LOOK_S)

    def requests(self, since: int) -> list[Request]:
        """What the operator asked for in the namespaces of the objects since a mark, by name or in a create."""
        found = requests(self.plane, since=since)
        return [r for r in found if r.namespace.startswith("bench-") and (r.name or r.verb == "create")]

    def check_operator(self) -> None:
        """Raises ControlPlaneError when it has ended."""
        if not self.operator.is_running:
            raise ControlPlaneError(f"the operator ended with {self.operator.returncode}:\n{self.operator.story(30)}")

    def rounds(self) -> int:
        """How many calls for one key or for many the operator has made to the provider, by its own account."""
        found = re.findall(_READS, self.operator.ask("/metrics"), re.MULTILINE)
        return int(sum(map(float, found)))

    def calls(self) -> int:
        """How many reads the provider was asked for by its own account, where it keeps one."""
        return self.rounds() if (calls := self.source.calls()) is None else calls

    def wait_until(self, condition: Callable[[], bool], limit_s: float, doing: str) -> None:
        """Looks every now and then. Raises ControlPlaneError when the time is up."""
        deadline = time.monotonic() + limit_s
        while not condition():
            self.show(doing)
            self.check_operator()
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"not within {limit_s:g} s: {doing}; the operator said:\n{self.operator.story()}")
            time.sleep(LOOK_S)

    def pause(self, seconds: float, doing: str) -> None:
        """Lets time pass."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.show(doing)
            time.sleep(min(left, 1.0))


def moment(request: Request) -> float:
    """When the API server got it, in seconds of the epoch."""
    return datetime.fromisoformat(request.at).timestamp()


def namespace(n: int) -> str:
    return f"bench-{n % NAMESPACES}"


@contextmanager
def rig(provider: str, count: int, progress: Progress, *flags: str, settings: Mapping[str, str] | None = None) -> Iterator[Rig]:
    """All of it, new, for as long as it is entered; the operator does not run yet."""
    progress.say("  a control plane of our own")
    with ControlPlane.run(controllers=False) as plane:
        Installation(plane).install()
        root = plane.folder / "sources"
        root.mkdir()
        with source_of(provider, root) as source, closing(Api(plane)) as api:
            yield Rig(plane, api, source, Operator(plane, root, *(flags or ("--log-level=info",)), settings=settings), progress, count)
