"""What the env and file providers may reach on the operator's own machine: nothing, unless a rule here lets it.

Both read with the operator's own rights, so a wrong prefix or path would hand out the operator's
keys, tokens or database. Decides on text alone; that links do not lead elsewhere is watched where
files are opened (``providers/beneath.py``).
"""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.model.errors import Rejected

ENV_PREFIX = "KEYTURN_SECRET_"
FILE_ROOT = "/etc/keyturn/sources"

# The operator's settings, its SDKs', its interpreter's and its loader's. A flag may admit further
# prefixes, yet never one that meets these.
_OWN_PREFIXES = (
    "KEYTURN_", "SECRETS_", "DATABASE_", "AUDIT_", "OIDC_",
    "AWS_", "AZURE_", "MSI_", "IDENTITY_", "GOOGLE_", "GCP_", "CLOUDSDK_", "VAULT_", "BAO_", "KUBERNETES_", "KUBE", "PG",
    "PYTHON", "LD_", "LC_", "SSL_", "OTEL_", "GRPC_",
)  # fmt: skip
_OWN_NAMES = (
    "SECRET_KEY", "PATH", "HOME", "USER", "HOSTNAME", "LANG", "TZ", "TMPDIR", "PWD", "SHELL",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    *(name for scheme in ("HTTP", "HTTPS", "ALL", "NO") for name in (f"{scheme}_PROXY", f"{scheme}_PROXY".lower())),
)  # fmt: skip
_OWN_FOLDERS = ("/proc", "/sys", "/dev", "/run/secrets", "/var/run/secrets", "/var/lib/keyturn", "/etc/kubernetes")


@dataclass(frozen=True, slots=True)
class Reach:
    """What the operator's flags open to the env and file providers, and folders that they never open.

    ``is_own``: it is no operator but a program that reads what its own user may read, so that no prefix and no folder is closed.
    """

    env_prefixes: tuple[str, ...] = ()
    file_roots: tuple[str, ...] = (FILE_ROOT,)
    closed_folders: tuple[str, ...] = ()
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A path of a file provider: the root that holds it, and the way from there, without ``.`` and ``..``."""

    root: str
    inner: tuple[str, ...]

    @property
    def path(self) -> str:
        return posixpath.join(self.root, *self.inner)


def check_prefix(prefix: str, allowed: Sequence[str] = (), field: str = "spec.provider.env.prefix") -> None:
    """Raises `Rejected` unless every variable that starts with ``prefix``, as written in ``field``, is meant to be given away."""
    admitted = [ENV_PREFIX, *(other for other in allowed if other)]
    if not prefix.startswith(tuple(admitted)):
        what = "must not be empty" if not prefix else f"{prefix!r} is not allowed"
        raise Rejected(f"{field}: {what}; start it with {' or '.join(admitted)}")
    if "=" in prefix or not prefix.isprintable():
        raise Rejected(f"{field}: no variable can start with {prefix!r}; use letters, digits and underscores")
    if not prefix.startswith(ENV_PREFIX) and _meets_own_settings(prefix):
        raise Rejected(f"{field}: {prefix!r} reaches the operator's own settings; start it with {ENV_PREFIX}")


def _meets_own_settings(prefix: str) -> bool:
    return any(name.startswith(prefix) for name in _OWN_NAMES) or any(
        prefix.startswith(own) or own.startswith(prefix) for own in _OWN_PREFIXES
    )


def check_file_path(path: str, reach: Reach) -> Place:
    """Finds the place that ``path`` means; raises `Rejected` where that is not beneath a root, or is closed.

    A relative path counts from the first root; an absolute one must lie beneath any of them.
    """
    field = "spec.provider.file.path"
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if not path or ".." in parts or not path.isprintable():
        raise Rejected(f"{field}: {path!r} is no plain path; name a file or folder beneath {' or '.join(reach.file_roots)}, without '..'")
    place = _place(path, tuple(parts), reach.file_roots)
    if place is None:
        raise Rejected(f"{field}: {path!r} is not beneath {' or '.join(reach.file_roots) or 'any root'}; the flag --file-root adds roots")
    if is_closed(place.path, reach):
        raise Rejected(f"{field}: {path!r} reaches folders of the system or of the operator; choose a folder of its own for sources")
    return place


def _place(path: str, parts: tuple[str, ...], roots: Sequence[str]) -> Place | None:
    if not path.startswith("/"):
        return Place(roots[0], parts) if roots else None
    for root in sorted(roots, key=len, reverse=True):  # the innermost: it confines most
        root_parts = tuple(part for part in root.split("/") if part)
        if parts[: len(root_parts)] == root_parts:
            return Place(root, parts[len(root_parts) :])
    return None


def is_closed(folder: str, reach: Reach) -> bool:
    """Says that ``folder`` lies in, or holds, a folder that no provider may read."""
    return not reach.is_own and any(_holds(closed, folder) or _holds(folder, closed) for closed in (*_OWN_FOLDERS, *reach.closed_folders))


def _holds(outer: str, inner: str) -> bool:
    outer = posixpath.normpath(outer).rstrip("/")
    return f"{posixpath.normpath(inner)}/".startswith(f"{outer}/")
