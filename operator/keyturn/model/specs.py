"""The spec of a ManagedSecret, as users write it. `parse` turns it into an `Order`.

Every field of the API is here, also those whose feature comes later: a schema grows by nothing but
optional fields, and `parse` refuses what is not built. No model holds a default other than None:
what was left out is told from what was written, and defaults are said in the descriptions.
"""

from typing import Annotated, Literal

from pydantic import Field

from keyturn.model.specs_base import Rule, Spec
from keyturn.model.specs_sources import DataEntry, DataFrom, ProviderRefSpec
from keyturn.model.specs_target import TargetSpec
from keyturn.model.specs_types import CEL_IS_DURATION, Duration, Subdomain


class Delivery(Spec):
    """How the values stand in the Secret."""

    mode: Literal["Plain", "Envelope"] | None = None
    """Plain: as they are. Envelope: sealed, to be opened only by pods of the listed ServiceAccounts; not in this version.
    Default: Plain."""

    service_accounts: list[Subdomain] | None = Field(default=None, max_length=64)
    """ServiceAccounts of the same namespace whose pods may open the envelopes; not in this version."""

    rules = (
        Rule(
            "(has(self.serviceAccounts) && self.serviceAccounts.size() > 0) == (has(self.mode) && self.mode == 'Envelope')",
            "serviceAccounts is needed with mode Envelope, and only there; add it, or remove it",
            lambda delivery: bool(delivery.service_accounts) == (delivery.mode == "Envelope"),
        ),
    )


class Rollout(Spec):
    """What happens to the workloads that use the Secret."""

    restart: Literal["None", "Auto", "Always"] | None = None
    """None: nothing. Auto: Deployments, StatefulSets and DaemonSets that use the Secret in their environment or by a subPath
    mount are restarted when its data change. Always: those with plain volume mounts too. Auto and Always are not in this
    version. Default: None."""


class ManagedSecretSpec(Spec):
    """Which provider values become which Kubernetes Secret."""

    provider_ref: ProviderRefSpec | None = None
    """Provider of all values that name none of their own. Left out: the operator's default provider, for the namespaces that
    its administrator lists."""

    secret_type: (
        Literal[
            "api_key",
            "database_credential",
            "encryption_key",
            "oauth_secret",
            "webhook_secret",
            "certificate",
            "private_key",
        ]
        | None
    ) = None
    """What kind of secret it is, for rotation periods and policies, which are not in this version. It changes nothing about the
    Kubernetes Secret."""

    refresh_policy: Literal["Periodic", "OnChange", "CreatedOnce"] | None = None
    """Periodic: fetched every refreshInterval. OnChange: fetched when the spec changes. CreatedOnce: fetched to create the
    Secret, and never again while it stands. Default: Periodic."""

    refresh_interval: (
        Annotated[
            Duration,
            Rule(
                f"!({CEL_IS_DURATION}) || duration(self) == duration('0s') || duration(self) >= duration('1s')",
                "must be at least 1s, or 0 for once; write 1s or more",
                lambda interval_s: interval_s == 0 or interval_s >= 1,
            ),
        ]
        | None
    ) = None
    """How old a value may become before it is fetched again, as a Go duration such as 90s, 1h30m or 720h; at least 1s. 0 means
    once, and again at each change of the spec. Default: 1h."""

    data: list[DataEntry] | None = Field(
        default=None, max_length=1000, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["secretKey"]}
    )
    """Keys of the Secret, one by one."""

    data_from: list[DataFrom] | None = Field(default=None, max_length=64)
    """Sources that give many keys each. Not in this version: name each key in data."""

    target: TargetSpec | None = None
    """The Secret to write. Left out: a Secret of the ManagedSecret's own name, which goes with it."""

    delivery: Delivery | None = None
    """How the values stand in the Secret. Left out: as they are."""

    rollout: Rollout | None = None
    """What happens to the workloads that use the Secret when its data change. Left out: nothing."""

    suspend: bool | None = None
    """Whether everything rests: nothing is fetched, written or repaired until it is false again. Default: false."""

    rules = (
        Rule(
            "(has(self.data) && self.data.size() > 0) || (has(self.dataFrom) && self.dataFrom.size() > 0)",
            "at least one entry in data or dataFrom is needed; add one",
            lambda spec: bool(spec.data or spec.data_from),
        ),
    )
