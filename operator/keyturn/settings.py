"""What can be set: one frozen noun, made by the command line from flags and their ``KEYTURN_…`` twins."""

from dataclasses import dataclass, field, fields

from keyturn.decide.address import PRIVATE, PUBLIC
from keyturn.decide.refresh import FULL_READ_S
from keyturn.model.audit import AuditMode
from keyturn.model.lease import Terms


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the operator. Times are in seconds; the help texts of ``keyturn run`` say what each does."""

    kubeconfig: str = ""
    context: str = ""
    namespaces: tuple[str, ...] = ()
    controller_class: str = ""
    operator_namespace: str = "keyturn-system"
    file_roots: tuple[str, ...] = ("/etc/keyturn/sources",)
    env_prefixes: tuple[str, ...] = ()
    allow_addresses: tuple[str, ...] = (PUBLIC, PRIVATE)
    allow_plain_http: bool = False
    allow_secret_types: frozenset[str] = field(default_factory=frozenset)
    accept_new_fingerprint_key: bool = False
    audit: AuditMode = AuditMode.REQUIRED
    audit_repair: bool = True
    audit_spool: str = "/var/lib/keyturn"
    audit_allow_owner: bool = False
    health_address: str = "0.0.0.0:8080"
    log_level: str = "info"
    workers: int = 32
    relist_s: float = 600.0
    stale_floor_s: float = 300.0
    denial_grace_s: float = 600.0
    check_period_s: float = 300.0
    full_read_s: float = FULL_READ_S
    conflict_window_s: float = 600.0
    reference_poll_s: float = 30.0
    stop_grace_s: float = 10.0
    stall_limit_s: float = 120.0
    dead_limit_s: float = 60.0
    audit_checkpoint_s: float = 3600.0
    identity: str = ""
    lease_duration_s: float = 10.0
    lease_renew_deadline_s: float = 7.0
    lease_retry_s: float = 2.0

    @property
    def terms(self) -> Terms:
        """The times of the lease. Raises ValueError where they contradict."""
        return Terms(self.lease_duration_s, self.lease_renew_deadline_s, self.lease_retry_s)

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of those that are not the default."""
        default = Settings()
        return tuple(each.name for each in fields(self) if getattr(self, each.name) != getattr(default, each.name))

    @property
    def is_cluster_wide(self) -> bool:
        """Whether all namespaces are served, and so the cluster kinds."""
        return not self.namespaces
