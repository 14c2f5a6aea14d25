"""How each server of the control plane is called, and the files that it is given."""

import base64
import json
import os
import random
import secrets
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path

from controlplane.errors import ControlPlaneError
from controlplane.programs import Programs

LOOPBACK = "127.0.0.1"
# Below the ports that the kernel gives to outgoing connections, so that none of those takes ours between two starts.
_PORTS = range(20000, 32000)
_P256_PRIVATE_KEY = bytes.fromhex("30310201010420"), bytes.fromhex("a00a06082a8648ce3d030107")
_AUDIT_POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}]}
_LARGEST_AUDIT_LOG = 2048  # MB; it must not rotate, or counts made from it would be wrong


def free_ports(count: int) -> tuple[int, ...]:
    """Ports of 127.0.0.1 on which nobody listens; raises ControlPlaneError.

    They are not reserved: somebody may still be faster, and the caller then tries again with others.
    """
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return tuple(found)
    raise ControlPlaneError(f"no {count} free ports on {LOOPBACK} between {_PORTS.start} and {_PORTS.stop}: what listens on all of them?")


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of one control plane, and where they are."""

    programs: Programs
    folder: Path
    audit: bool
    controllers: bool
    ports: tuple[int, ...] = field(default_factory=lambda: free_ports(3))
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def to_json(self) -> str:
        """For whoever attaches to the same servers."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "Servers":
        """The same again."""
        fields = json.loads(text)
        places = {
            "programs": Programs(Path(fields["programs"]["folder"])),
            "folder": Path(fields["folder"]),
            "ports": tuple(fields["ports"]),
        }
        return cls(**fields | places)

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{LOOPBACK}:{self.ports[0]}"

    @property
    def etcd_url(self) -> str:
        """The database's address; its JSON gateway is there too."""
        return f"http://{LOOPBACK}:{self.ports[1]}"

    @property
    def ca_file(self) -> Path:
        """The certificate that the API server signed for itself at its first start, with its authority."""
        return self.folder / "certs" / "apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line, written before the request is answered."""
        return self.folder / "audit.jsonl"

    @property
    def names(self) -> list[str]:
        """In the order in which they are started."""
        return ["etcd", "kube-apiserver", *(["kube-controller-manager"] if self.controllers else [])]

    def argv(self, name: str) -> list[str]:
        """How a server is called."""
        return {"etcd": self._etcd, "kube-apiserver": self._api_server, "kube-controller-manager": self._controller_manager}[name]()

    def environment(self) -> dict[str, str]:
        """What all of them get: nothing of the user's, and a soft limit on memory."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder), "GOMEMLIMIT": "1GiB"}

    def write_files(self) -> None:
        """Writes what the servers read at their start."""
        self.folder.mkdir()
        write_private(self.folder / "tokens.csv", f'{self.token},admin,admin,"system:masters"\n')
        write_private(self.folder / "service-account.key", _private_key())
        write_private(self.folder / "audit-policy.json", json.dumps(_AUDIT_POLICY))
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        write_private(self.kubeconfig, kubeconfig_text(cluster, {"token": self.token}))

    def _etcd(self) -> list[str]:
        """No fsync: the data are thrown away, and a laptop's disk would be the slowest part."""
        peers = f"http://{LOOPBACK}:{self.ports[2]}"
        return [
            self.programs["etcd"],
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        ]

    def _api_server(self) -> list[str]:
        """RBAC, tokens of ServiceAccounts, an administrator by token; no reconciling of its own address, which is a loopback one."""
        audit = [
            f"--audit-policy-file={self.folder / 'audit-policy.json'}",
            f"--audit-log-path={self.audit_log}",
            f"--audit-log-maxsize={_LARGEST_AUDIT_LOG}",
        ]
        key = self.folder / "service-account.key"
        return [
            self.programs["kube-apiserver"],
            f"--etcd-servers={self.etcd_url}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self.ports[0]}",
            f"--cert-dir={self.ca_file.parent}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
            *(audit if self.audit else []),
        ]

    def _controller_manager(self) -> list[str]:
        """It serves nothing itself, and may ask as often as a test is impatient."""
        return [
            self.programs["kube-controller-manager"],
            f"--kubeconfig={self.kubeconfig}",
            "--secure-port=0",
            f"--service-account-private-key-file={self.folder / 'service-account.key'}",
            f"--root-ca-file={self.ca_file}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]


def kubeconfig_text(cluster: dict[str, str], user: dict[str, str]) -> str:
    """A kubeconfig with one context; JSON is YAML too."""
    name = "keyturn"
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        },
        indent=2,
    )


def write_private(path: Path, text: str) -> None:
    """Replaces a file that its owner alone may read; a reader sees the old text or the new, never a part."""
    fresh = path.with_name(f".{path.name}.fresh")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.rename(path)


def _private_key() -> str:
    """A new P-256 key in PEM: any 32 random bytes are one (RFC 5915), so neither openssl nor a library is needed."""
    before, after = _P256_PRIVATE_KEY
    der = before + secrets.token_bytes(32) + after
    return f"-----BEGIN EC PRIVATE KEY-----\n{base64.encodebytes(der).decode()}-----END EC PRIVATE KEY-----\n"
