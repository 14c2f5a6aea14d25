"""The canary of one test: the values that it was given, and the sinks that it is watched at."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from canary.files import FolderSink
from canary.marks import Mark, find
from canary.objects import cluster_objects, objects
from canary.sinks import FileSink, Sink, Text, page, process, processes_with
from controlplane.plane import ControlPlane
from reader import reader_of

_session: dict[str, Mark] = {}
_files: dict[Path, FileSink] = {}
_folders: dict[tuple[Path, str], FolderSink] = {}


def issue(name: str) -> str:
    """A secret value for what lives longer than a test; it is looked for until the run ends."""
    mark = Mark.new(name)
    _session[mark.core] = mark
    return mark.value


class Canary:
    """Gives values, and finds them where they must not be."""

    def __init__(self) -> None:
        self._marks: dict[str, Mark] = {}
        self._sinks: list[Sink] = []
        self._watched_files: list[FileSink] = []
        self._allowed: set[str] = set()

    def __call__(self, name: str) -> str:
        """A new secret value; its name says in a finding which one leaked."""
        mark = Mark.new(name)
        self._marks[mark.core] = mark
        return mark.value

    def watch(self, sink: Sink) -> None:
        """Anything that gives (where, text) when it is called at the end of the test."""
        self._sinks.append(sink)

    def watch_file(self, path: Path) -> None:
        """A file that others write, such as an operator's log: what no test before has looked at."""
        self._watched_files.append(_files.setdefault(path, FileSink(path)))

    def watch_folder(self, folder: Path, pattern: str = "*") -> None:
        """Files of a database, with its logs, and what is copied out of it: what of them is new."""
        self.watch(_folders.setdefault((folder, pattern), FolderSink(folder, pattern)))

    def watch_metrics(self, exposition: str | Callable[[], bytes]) -> None:
        """A URL of metrics, or what gives them."""
        if isinstance(exposition, str):
            self.watch(partial(page, exposition))
        else:
            self.watch(lambda: [("metrics", exposition().decode())])

    def watch_process(self, pid: int, *, environ: bool = True) -> None:
        """The command line and the environment of a process; without ``environ`` where the env provider reads it."""
        now = tuple(process(pid, environ=environ))  # it may be gone at the end
        self.watch(lambda: [*now, *process(pid, environ=environ)])

    def watch_operator(self, log: Path, health_url: str, *, environ: bool = True) -> None:
        """All of an operator's process: its log, its metrics, its command line and its environment."""
        self.watch_file(log)
        self.watch_metrics(f"{health_url}/metrics")
        for pid in processes_with(f"--health-address={health_url.removeprefix('http://')}"):
            self.watch_process(pid, environ=environ)

    def watch_cluster(self, plane: ControlPlane, *namespaces: str) -> None:
        """The API server's audit log, our objects of no namespace, all that stands in these, and the database of its operators."""
        reader = reader_of(plane)
        self.watch_folder(plane.hold.folder, "keyturn.db*")
        self.watch_file(plane.audit_log)
        self.watch(partial(cluster_objects, reader))
        for namespace in namespaces:
            self.watch(partial(objects, reader, namespace, self._allowed))

    def allow(self, kind: str) -> None:
        """In this test, specs of that kind may hold values: the fake provider's data stand in its spec."""
        self._allowed.add(kind)

    def leaks(self, texts: Iterable[Text]) -> Iterator[str]:
        """What leaked into these texts."""
        marks = _session | self._marks
        yield from (f"leaked into {where}: {told}" for where, text in texts for told in find(text, marks))

    def scan(self) -> Iterator[str]:
        """What leaked into the sinks."""
        yield from (told for sink in self._sinks for told in self.leaks(sink()))
        yield from self.scan_files()

    def scan_files(self) -> Iterator[str]:
        """What leaked into files since they were looked at last."""
        yield from (told for file in self._watched_files for told in self.leaks(file()))
