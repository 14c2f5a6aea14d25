"""What can be set: one frozen noun, made by the command line from flags and their ``KEYTURN_…`` twins."""

from dataclasses import dataclass, field


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
    allow_secret_types: frozenset[str] = field(default_factory=frozenset)
    accept_new_fingerprint_key: bool = False
    health_address: str = "0.0.0.0:8080"
    log_level: str = "info"
    workers: int = 16
    relist_s: float = 600.0
    stale_floor_s: float = 300.0
    denial_grace_s: float = 600.0
    check_period_s: float = 300.0
    conflict_window_s: float = 600.0
    stop_grace_s: float = 10.0

    @property
    def is_cluster_wide(self) -> bool:
        """Whether all namespaces are served, and so the cluster kinds."""
        return not self.namespaces
