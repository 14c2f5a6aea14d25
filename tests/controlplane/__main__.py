"""`python -m controlplane build|run|demo`: the commands behind `make`."""

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from controlplane.build import find_or_build
from controlplane.cluster import Cluster, kind_cluster, named_cluster
from controlplane.demo import demo, keyturn_in
from controlplane.errors import ControlPlaneError
from controlplane.plane import ControlPlane
from controlplane.screen import Screen

_INTERRUPTED = 128 + signal.SIGINT


def main() -> int:
    """The exit code."""
    asked = _arguments(sys.argv[1:])
    screen = Screen()
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.default_int_handler)  # a clean end, whoever asks for it
    started = time.monotonic()
    try:
        if asked.command == "build":
            print(find_or_build().folder)
            return 0
        with _cluster(asked, screen) as cluster:
            if asked.command == "demo":
                demo(cluster, screen)
            else:
                run(cluster, screen, *asked.flags)
        screen.heading(f"Done in {time.monotonic() - started:.1f} s, and nothing is left running.")
    except ControlPlaneError as error:
        screen.failure(str(error))
        return 1
    except KeyboardInterrupt:
        screen.heading("Interrupted; nothing is left running.")
        return _INTERRUPTED
    return 0


def run(cluster: Cluster, screen: Screen, *flags: str) -> None:
    """A cluster with an operator that runs with these flags until Ctrl-C; raises ControlPlaneError when a part of it ends by itself."""
    sources = cluster.folder / "sources"
    sources.mkdir()
    with keyturn_in(cluster, sources, screen, *flags) as (_, operator):
        try:
            screen.heading("Until Ctrl-C:")
            screen.command(f"export KUBECONFIG={cluster.kubeconfig}")
            screen.command("kubectl create namespace shop && kubectl apply -f deploy/examples/fake.yaml")
            screen.note(f"A kubectl that fits is {cluster.program}; each of the other examples says at its top what it needs")
            screen.note(f"The file provider reads below {sources}")
            screen.note(f"The operator tells of itself at {operator.health_url}/readyz and {operator.health_url}/metrics")
            screen.note(f"The operator writes to {cluster.folder}/operator.log")
            while not (ended := [name for name, returncode in cluster.hold.returncodes().items() if returncode is not None]):
                time.sleep(1)
        except KeyboardInterrupt:
            return
        raise ControlPlaneError(f"{ended[0]} has ended:\n{cluster.hold.log(ended[0])}")


@contextmanager
def _cluster(asked: argparse.Namespace, screen: Screen) -> Iterator[Cluster]:
    if asked.kubeconfig:
        with named_cluster(asked.kubeconfig, asked.context) as named:
            yield named
    elif asked.kind:
        with kind_cluster() as kind:
            yield kind
    else:
        find_or_build()
        with ExitStack() as stack:
            with screen.step("a control plane of our own is up"):
                plane = stack.enter_context(ControlPlane.run())
            yield plane


def _arguments(given: list[str]) -> argparse.Namespace:
    # Not left to argparse, which takes no list of such words behind an option.
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(prog="controlplane", description=__doc__, usage="%(prog)s [options] build|run|demo [-- FLAG ...]")
    parser.add_argument("command", choices=["build", "run", "demo"])
    parser.add_argument("--kubeconfig", type=Path, help="a cluster that is there already; without it, a control plane of our own")
    parser.add_argument("--context", help="one of the kubeconfig's contexts")
    parser.add_argument("--kind", action="store_true", help="a cluster made by kind")
    asked = parser.parse_args(given[:cut], argparse.Namespace(flags=given[cut + 1 :]))
    if asked.flags and asked.command != "run":
        parser.error("flags of the operator, after --, are for run alone")
    if asked.context and not asked.kubeconfig:
        parser.error("--context needs --kubeconfig")
    return asked


if __name__ == "__main__":
    sys.exit(main())
