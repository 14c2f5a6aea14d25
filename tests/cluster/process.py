"""`keyturn run` as a process beside a control plane, with the rights of its ServiceAccount and no others."""

import json
import os
import re
import secrets
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from canary import issue
from cluster.waiting import eventually
from controlplane.installation import NAMESPACE, ROOT, SERVICE_ACCOUNT
from controlplane.plane import ControlPlane
from controlplane.servers import LOOPBACK, free_ports

_TOKEN_LIFE_S = 24 * 3600
_PERSONAL = (
    "KEYTURN_", "SECRETS_", "SECRET_KEY", "DATABASE_", "KUBECONFIG", "AWS_", "AZURE_", "GCP_", "GOOGLE_", "GRPC_", "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)  # fmt: skip
"""Beginnings of variables by which whoever runs the tests is somebody, or trusts somebody: a pod has none of them."""

_MASTER_KEY = f"{issue('master-key')}-{secrets.token_urlsafe(48)}"
_OWN = ("DATABASE_URL", "KEYTURN_AUDIT")
"""Who says one of these has said where the audit trail goes."""


class Operator:
    """Can be stopped, killed and started again. ``settings`` are environment variables of its own.

    Unless they say where the audit trail goes, it has a SQLite database as users have one: that of its control plane, as the trail
    of a cluster goes on from one operator to the next, also between two that run at once on this one machine.
    """

    def __init__(
        self,
        plane: ControlPlane,
        sources: Path,
        *flags: str,
        name: str = "operator",
        kubeconfig: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.sources = sources
        self.flags = flags
        self.settings = dict(settings or {})
        self.health_url = f"http://{LOOPBACK}:{free_ports(1)[0]}"
        self.pid = 0
        self._hold = plane.hold
        self.kubeconfig = kubeconfig or plane.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT, seconds=_TOKEN_LIFE_S)
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_running:
            self.stop()

    @property
    def is_running(self) -> bool:
        return self._hold.returncodes().get(self.name, 0) is None

    @property
    def returncode(self) -> int | None:
        """Of one that ended by itself; None while it runs."""
        return self._hold.returncodes().get(self.name)

    def start(self, *more_flags: str, wait: bool = True) -> None:
        """Returns when it is ready."""
        argv = [
            sys.executable,
            "-m",
            "keyturn",
            "run",
            f"--kubeconfig={self.kubeconfig}",
            f"--operator-namespace={NAMESPACE}",
            f"--file-root={self.sources}",
            f"--health-address={self.health_url.removeprefix('http://')}",
            f"--identity={self.name}",  # as a pod's name: after a kill it has its own lease back at once
            "--log-level=debug",
            *self.flags,
            *more_flags,
        ]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_PERSONAL)}
        ours = {"PYTHONPATH": str(ROOT / "operator")} | ({} if any(name in self.settings for name in _OWN) else self._database())
        self.pid = self._hold.start(self.name, argv, clean | ours | self.settings)
        if wait:
            self.wait_until_ready()

    def _database(self) -> dict[str, str]:
        keys = self._hold.folder / "master-keys"
        if not keys.exists():
            # A file, since the kernel shows the first environment of a process for as long as it lives: canaries look there.
            keys.write_text(f"made-for-tests: {_MASTER_KEY}\n")
        return {"DATABASE_URL": f"sqlite:///{self._hold.folder}/keyturn.db", "SECRET_KEYS_FILE": str(keys)}

    def wait_until_ready(self, deadline_s: float = 60) -> None:
        def is_ready() -> bool:
            assert self.is_running, f"the operator ended with {self.returncode}:\n{self.log(30)}"
            return self.readiness() == "ok"

        eventually(is_ready, deadline_s, lambda: f"ready, but: {self.readiness()}\n{self.log(30)}")

    def readiness(self) -> str:
        """What /readyz says; '' where nobody answers."""
        return self.ask("/readyz")

    def ask(self, path: str) -> str:
        """What its own listener says, '' where nobody answers."""
        try:
            with self._direct.open(self.health_url + path, timeout=5) as answer:
                return str(answer.read().decode()).strip()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.read().decode().strip()
        except OSError:
            return ""

    def metric(self, name: str, **labels: str) -> float:
        """The sum over all series of a metric that have these labels."""
        found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", self.ask("/metrics"), re.MULTILINE)
        return sum(float(value) for series, value in found if all(f'{label}="{text}"' in series for label, text in labels.items()))

    def resident_kib(self) -> int:
        """Its memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])  # type: ignore[index]  # the kernel always says so

    def stop(self) -> int:
        """Ends it as Kubernetes would; the return code."""
        return self._hold.end(self.name, signal.SIGTERM, seconds=30)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._hold.end(self.name, signal.SIGKILL)

    def freeze(self) -> None:
        """Stops the clock for it, as a starved machine would."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *more_flags: str) -> None:
        assert self.stop() == 0, self.log(30)
        self.start(*more_flags)

    @property
    def log_file(self) -> Path:
        return self._hold.folder / f"{self.name}.log"

    def log(self, lines: int = 100_000) -> str:
        """The last lines that it wrote, over all its starts."""
        return self._hold.log(self.name, lines)

    def story(self, lines: int = 60) -> str:
        """The last lines but those of the audit trail, of which a second can hold hundreds."""
        return "\n".join([line for line in self.log().splitlines() if '"logger": "keyturn.audit"' not in line][-lines:])

    def records(self) -> list[dict[str, Any]]:
        """Its log as records; what is no JSON (a traceback of the interpreter) becomes a record with level `raw`."""
        return [json.loads(line) if line.startswith("{") else {"level": "raw", "message": line} for line in self.log().splitlines()]
