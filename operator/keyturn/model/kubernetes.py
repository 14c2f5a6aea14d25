"""A `kubernetes` provider as ordered: which API server and namespace, and who logs in. No value is in here, only where each is kept."""

from dataclasses import dataclass

from keyturn.model.ids import KeyPair, KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount


@dataclass(frozen=True, slots=True)
class OtherCluster:
    """``login`` is where a bearer token is kept, or a client certificate; ``authority`` None trusts the system's certificates."""

    server: str
    login: KeyRef | KeyPair
    authority: Sensitive | KeyRef | None = None


@dataclass(frozen=True, slots=True)
class KubernetesConfig:
    """``namespace`` holds the Secrets. ``via`` is the ServiceAccount that reads in this cluster, or another cluster with its log-in."""

    namespace: str
    via: ServiceAccount | OtherCluster

    @property
    def credential(self) -> KeyRef | ServiceAccount | None:
        """What proves who logs in, beside which all else only says where and as whom; None is the operator itself."""
        if isinstance(self.via, ServiceAccount):
            return self.via
        return self.via.login.key if isinstance(self.via.login, KeyPair) else self.via.login

    @property
    def references(self) -> frozenset[KeyRef]:
        """Every key of a Secret or ConfigMap that the log-in or the connection needs."""
        if isinstance(self.via, ServiceAccount):
            return frozenset()
        login = self.via.login
        # No set yet: a bundle that stands in the spec has no hash.
        found = [self.via.authority, *((login.certificate, login.key) if isinstance(login, KeyPair) else (login,))]
        return frozenset(ref for ref in found if isinstance(ref, KeyRef))
