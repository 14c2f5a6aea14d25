"""Keyturn in a cluster as its own manifests install it: the kinds, the rights, and the operator as a process here.

All that is made carries one label, so exactly that can be removed again.
"""

import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.cluster import Cluster
from controlplane.errors import ControlPlaneError
from controlplane.servers import LOOPBACK, free_ports

ROOT = Path(__file__).parents[2]
NAMESPACE = "keyturn-system"
SERVICE_ACCOUNT = "keyturn"
LABEL = "keyturn.dev/made-by"
_READY_LIMIT = 60  # seconds
_TOKEN_LIFE = 24 * 3600  # seconds: the operator outside the cluster gets no other one
_WITHOUT_POD = [  # the operator runs as a process here, so nothing must run, or wait for a volume, over there
    {"target": {"kind": kind}, "patch": json.dumps({"$patch": "delete", "apiVersion": version, "kind": kind, "metadata": {"name": "any"}})}
    for kind, version in (("Deployment", "apps/v1"), ("PersistentVolumeClaim", "v1"), ("Service", "v1"))
]


@dataclass(frozen=True, slots=True)
class Installation:
    """What is made in one cluster for one run."""

    cluster: Cluster
    mark: str = field(default_factory=lambda: secrets.token_hex(4))

    def check_absent(self) -> None:
        """Raises ControlPlaneError where something that would be made is there already."""
        kinds = self.cluster.kubectl("get", "customresourcedefinitions", "--output=name").stdout.split()
        ours = [kind for kind in kinds if kind.endswith(".keyturn.dev")]
        ours += self.cluster.kubectl(
            "get", f"--kustomize={self._overlay('deploy/base')}", "--ignore-not-found", "--output=name"
        ).stdout.split()
        if ours:
            raise ControlPlaneError(f"this cluster has {', '.join(ours)} already: somebody uses Keyturn here, so nothing was touched.")

    def install(self) -> None:
        """Makes the kinds and the operator's rights; raises ControlPlaneError."""
        self.cluster.kubectl("create", f"--kustomize={self._overlay('crds')}")
        self.cluster.kubectl("create", f"--kustomize={self._overlay('deploy/base')}")
        self.cluster.kubectl(
            "wait", "--for=condition=Established", "customresourcedefinitions", f"--selector={self.selector}", "--timeout=30s"
        )

    @property
    def selector(self) -> str:
        """Chooses all that was made."""
        return f"{LABEL}={self.mark}"

    def remove(self) -> None:
        """Removes what `install` made, and nothing else; also after an install that was cut short."""
        made: list[str] = []
        for folder in ("deploy/base", "crds"):
            names = self.cluster.kubectl(
                "create", "--dry-run=client", f"--kustomize={self._overlay(folder)}", "--output=name"
            ).stdout.split()
            made += dict.fromkeys(name.partition("/")[0] for name in names)
        self.cluster.kubectl("delete", ",".join(made), "--all-namespaces", f"--selector={self.selector}", "--ignore-not-found")

    def _overlay(self, manifests: str) -> Path:
        """A folder for `kubectl --kustomize`: our manifests with the label, without the pod."""
        folder = self.cluster.folder / f"overlay-{manifests.replace('/', '-')}"
        folder.mkdir(exist_ok=True)
        overlay = {"resources": [os.path.relpath(ROOT / manifests, folder.resolve())], "labels": [{"pairs": {LABEL: self.mark}}]}
        if manifests != "crds":
            overlay["patches"] = _WITHOUT_POD
        (folder / "kustomization.yaml").write_text(json.dumps(overlay))
        return folder


class OperatorProcess:
    """`keyturn run` beside the cluster, with the rights of its ServiceAccount and no others.

    Unless it is told another one, its database is a file beside the cluster's, and the key of that a Secret that it makes.
    """

    def __init__(self, cluster: Cluster, file_root: Path, *flags: str, name: str = "operator") -> None:
        self.name = name
        self.health_url = f"http://{_health_address(flags) or f'{LOOPBACK}:{free_ports(1)[0]}'}"
        self._hold = cluster.hold
        self._kubeconfig = cluster.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT, seconds=_TOKEN_LIFE)
        ours = {name: value for name, value in os.environ.items() if not name.startswith("KEYTURN_") and name != "KUBECONFIG"}
        self._environment = {"DATABASE_URL": f"sqlite:///{cluster.folder}/keyturn.db"} | ours
        self._argv = [
            str(Path(sys.executable).with_name("keyturn")),
            "run",
            f"--kubeconfig={self._kubeconfig}",
            f"--operator-namespace={NAMESPACE}",
            f"--file-root={file_root}",
            f"--health-address={self.health_url.removeprefix('http://')}",
            f"--identity={name}",
            *flags,
        ]

    def start(self) -> None:
        """Returns when it is ready; raises ControlPlaneError with its last words when it ends instead."""
        if not Path(self._argv[0]).exists():
            raise ControlPlaneError(f"there is no {self._argv[0]}: run make setup first.")
        self._hold.start(self.name, self._argv, self._environment)
        deadline = time.monotonic() + _READY_LIMIT
        while not self._is_ready():
            if (returncode := self._hold.returncodes().get(self.name)) is not None:
                raise ControlPlaneError(f"the operator ended with {returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"the operator is not ready after {_READY_LIMIT} s:\n{self.log()}")
            time.sleep(0.05)

    def tell(self, *arguments: str) -> str:
        """What another command says that is given what the operator was given; raises ControlPlaneError where it fails."""
        where = {"KEYTURN_KUBECONFIG": str(self._kubeconfig), "KEYTURN_OPERATOR_NAMESPACE": NAMESPACE}
        done = subprocess.run(
            [self._argv[0], *arguments],
            env=self._environment | where,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ControlPlaneError(f"keyturn {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def stop(self) -> int:
        """Ends it as Kubernetes would; the return code."""
        return self._hold.end(self.name, signal.SIGTERM, seconds=30)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._hold.end(self.name, signal.SIGKILL)

    def log(self, lines: int = 30) -> str:
        """The last lines that it wrote."""
        return self._hold.log(self.name, lines)

    def _is_ready(self) -> bool:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"{self.health_url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):  # refused, or 503: not yet
            return False


def _health_address(flags: Sequence[str]) -> str:
    """Where these flags have it serve, for a client here; '' where they do not say."""
    for flag, after in itertools.pairwise((*flags, "")):
        name, _, value = flag.partition("=")
        if name == "--health-address":
            host, _, port = (value or after).rpartition(":")
            return f"{LOOPBACK if host in ('', '0.0.0.0') else host}:{port}"
    return ""
