"""Where the API server is and who we are there: from a pod's ServiceAccount or from a kubeconfig file.

Reads files once, but a token file for each use (cached a minute), since bound tokens are rotated.
"""

import base64
import binascii
import os
import ssl
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from keyturn.keypair import load_pair
from keyturn.model.errors import KeyturnError
from keyturn.model.sensitive import Sensitive

POD_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_CACHE_S = 60.0
IN_POD = "in-cluster"
"""The context's name where it is the pod's own."""


class NoCluster(KeyturnError):
    """There is no usable way to an API server; the message says what was looked at."""

    retry = False


@dataclass(slots=True)
class Token:
    """A bearer token: fixed, or in a file that others keep fresh."""

    fixed: Sensitive | None = None
    file: Path | None = None
    _read: Sensitive | None = None
    _until: float = 0.0

    def header(self) -> str | None:
        """The Authorization header's value, None without a token."""
        if self.file is not None and time.monotonic() >= self._until:
            try:
                self._read = Sensitive(self.file.read_bytes().strip())
            except OSError:
                # On its way out and in: what was read last may still hold, and a 401 has us look again.
                if self._read is None:
                    raise
            self._until = time.monotonic() + TOKEN_CACHE_S
        token = self.fixed or self._read
        return f"Bearer {token.reveal().decode('ascii')}" if token else None

    def authorize(self, headers: MutableMapping[str, str]) -> str | None:
        """Puts the header in, and gives it back."""
        header = self.header()
        if header:
            headers["Authorization"] = header
        return header

    def expire(self) -> None:
        """Reads the file anew at the next use: the server refused what we have."""
        self._until = 0.0


@dataclass(slots=True)
class ClusterConfig:
    """One API server and one identity."""

    server: str
    tls: ssl.SSLContext
    token: Token = field(default_factory=Token)
    namespace: str = ""
    context: str = ""
    faceless: ssl.SSLContext | None = None
    """The same trust without our certificate, for whoever logs in as somebody else. None where ``tls`` shows none."""


def load(kubeconfig: str = "", context: str = "") -> ClusterConfig:
    """From the named kubeconfig, else from the pod that we run in. Raises `NoCluster`.

    ``~/.kube/config`` is never used unless it is named: an operator must not start on a cluster by accident.
    """
    if kubeconfig:
        return _from_kubeconfig(Path(kubeconfig), context)
    if os.environ.get("KUBERNETES_SERVICE_HOST") and (POD_FOLDER / "token").exists():
        return _from_pod()
    raise NoCluster("no cluster: not in a pod, and no --kubeconfig FILE (or KEYTURN_KUBECONFIG) was given")


def _from_pod() -> ClusterConfig:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    tls = ssl.create_default_context(cafile=str(POD_FOLDER / "ca.crt"))
    namespace = (POD_FOLDER / "namespace").read_text().strip()
    return ClusterConfig(server, tls, Token(file=POD_FOLDER / "token"), namespace, IN_POD)


def _from_kubeconfig(path: Path, context: str) -> ClusterConfig:
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise NoCluster(f"kubeconfig {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise NoCluster(f"kubeconfig {path}: this is no YAML") from None
    if not isinstance(raw, dict):
        raise NoCluster(f"kubeconfig {path}: this is no kubeconfig")
    name = context or raw.get("current-context") or ""
    chosen = _named(raw, "contexts", "context", name, path)
    cluster = _named(raw, "clusters", "cluster", chosen.get("cluster", ""), path)
    user = _named(raw, "users", "user", chosen.get("user", ""), path)
    if "exec" in user or "auth-provider" in user:
        raise NoCluster(
            f"kubeconfig {path}: user {chosen.get('user')} logs in by a plug-in; give it a token, tokenFile or client certificate"
        )
    server = str(cluster.get("server", "")).rstrip("/")
    if not _is_https(server):
        raise NoCluster(f"kubeconfig {path}: the server of context {name} must be https://HOST or https://HOST:PORT")
    tls, faceless = _tls(cluster, user, path), _tls(cluster, {}, path)
    return ClusterConfig(server, tls, _token(user, path), str(chosen.get("namespace", "")), name, faceless)


def _is_https(server: str) -> bool:
    try:
        parts = urlsplit(server)
        return parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number, or too large
        return False


def _named(raw: Mapping[str, Any], plural: str, singular: str, name: str, path: Path) -> Mapping[str, Any]:
    items = raw.get(plural)
    listed = items if isinstance(items, list) else ()
    found = next((item.get(singular) for item in listed if isinstance(item, dict) and item.get("name") == name), None)
    if not isinstance(found, dict):
        raise NoCluster(f"kubeconfig {path}: there is no {singular} {name!r}")
    return found


def _token(user: Mapping[str, Any], path: Path) -> Token:
    if not user.get("tokenFile") and not user.get("token"):
        return Token()
    token = Token(file=_beside(path, user["tokenFile"])) if user.get("tokenFile") else Token(fixed=Sensitive.of(str(user["token"])))
    try:
        token.header()  # so that a wrong one is told at once, and not by the first request
    except OSError as error:
        raise NoCluster(f"kubeconfig {path}: tokenFile: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NoCluster(f"kubeconfig {path}: the token is none: it holds other characters than ASCII") from None
    return token


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], path: Path) -> ssl.SSLContext:
    ca = _material(cluster, "certificate-authority", path)
    try:
        tls = ssl.create_default_context(cadata=ca.decode("ascii") if ca else None)
    except (ssl.SSLError, UnicodeDecodeError):
        raise NoCluster(f"kubeconfig {path}: certificate-authority holds no PEM certificate") from None
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    certificate, key = _material(user, "client-certificate", path), _material(user, "client-key", path)
    if certificate and key and not load_pair(tls, certificate, key):
        raise NoCluster(f"kubeconfig {path}: client-certificate and client-key are no pair in PEM")
    return tls


def _material(section: Mapping[str, Any], name: str, path: Path) -> bytes:
    try:
        if section.get(f"{name}-data"):
            return base64.b64decode(section[f"{name}-data"], validate=True)
        return _beside(path, section[name]).read_bytes() if section.get(name) else b""
    except (binascii.Error, ValueError):
        raise NoCluster(f"kubeconfig {path}: {name}-data is no base64") from None
    except OSError as error:
        raise NoCluster(f"kubeconfig {path}: {name}: {error.strerror}") from None


def _beside(path: Path, named: object) -> Path:
    return path.parent / str(named)
