"""`python -m bench`: measures, prints the table, writes bench.json. `python -m bench publish FILE` puts it into the README."""

import argparse
import compileall
import os
import signal
import sys
import tempfile
from pathlib import Path

from bench import trail
from bench.pace import Pace
from bench.record import Measurement, measurement, merge, read, write
from bench.report import page, placed, runs, table
from bench.rig import rig
from bench.run import measure
from bench.sources import NAMES
from controlplane.build import find_or_build
from controlplane.errors import ControlPlaneError
from controlplane.installation import ROOT
from controlplane.progress import Progress

_INTERRUPTED = 128 + signal.SIGINT
_BUSY_PERCENT = 15
_KEPT = ROOT / "docs" / "bench.json"
_README = ROOT / "README.md"


def main() -> int:
    """0, or 1 when a figure that does not depend on wall time is beyond its budget, or a run failed."""
    asked = _arguments()
    if asked.command == "publish":
        publish(asked.file)
        return 0
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.default_int_handler)  # a clean end, whoever asks for it
    pace = Pace(asked.idle, asked.interval, asked.cycles, asked.drifts, asked.changes)
    path = Path(os.environ.get("BENCH_JSON") or "bench.json")
    try:
        found = bench(asked.objects, asked.runs, asked.provider, pace)
    except (ControlPlaneError, TimeoutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: interrupted; nothing is left running.", file=sys.stderr)
        return _INTERRUPTED
    write(path, [found])
    print(f"\n{found.objects} objects, {found.provider}, {runs(found)}\n\n{table(found)}\n")
    print(
        f"bench: {path} is written; to put it into the README: PYTHONPATH=tests .venv/bin/python -m bench publish {path}", file=sys.stderr
    )
    if (others := found.figures["others_cpu_percent"]) > _BUSY_PERCENT:
        print(
            f"bench: others took {others:.0f} % of the machine, which makes CPU and wall times dearer: measure again alone", file=sys.stderr
        )
    if found.broken:
        print(f"bench: beyond the budget: {', '.join(found.broken)}", file=sys.stderr)
    return 1 if found.broken else 0


def bench(objects: int, times: int, provider: str, pace: Pace) -> Measurement:
    """All runs, each on a rig of its own. Raises ControlPlaneError, TimeoutError."""
    tempfile.gettempdir()  # tries the folder by writing to it, and a Ctrl-C in the middle of that would leave the file
    find_or_build()
    compileall.compile_dir(ROOT / "operator", quiet=1)  # as an installation would: no start pays for it
    each = []
    with Progress(sys.stderr) as progress:
        for run in range(1, times + 1):
            progress.say(f"bench: run {run} of {times}, {objects} objects, {provider}")
            with rig(provider, objects, progress) as made:
                found = measure(made, pace)
            each.append(found | trail.cost(provider, objects, progress, run))
    return measurement(objects, provider, pace, each)


def publish(file: Path) -> None:
    """Takes the measurements of a file into docs/bench.json, and the figures into the README."""
    kept = merge(read(_KEPT), read(file))
    write(_KEPT, kept)
    _README.write_text(placed(_README.read_text(), page(kept)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure")
    run.add_argument("--objects", type=int, default=1000, metavar="N")
    run.add_argument("--runs", type=int, default=3)
    run.add_argument("--provider", choices=NAMES, default="vault")
    usual = Pace()
    run.add_argument("--idle", type=float, default=usual.idle_s, metavar="S", help="how long nothing happens, in seconds")
    run.add_argument("--interval", type=int, default=usual.interval_s, metavar="S", help="refreshInterval of the phases with refreshes")
    run.add_argument("--cycles", type=int, default=usual.cycles, help="how many intervals are counted")
    run.add_argument("--drifts", type=int, default=usual.drifts, help="how many edits are timed")
    run.add_argument("--changes", type=int, default=usual.changes, help="how many new values at the provider are timed")
    kept = commands.add_parser("publish", help="put a bench.json into docs/ and the README")
    kept.add_argument("file", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
