"""The default provider: the one for whoever names none. Programs and the operator are given it by the same variables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keyturn.model.ids import DEFAULT_PROVIDER, KeyRef
from keyturn.model.objects import ProviderObject
from keyturn.model.order import NOBODY, Access, Admission, EnvConfig, ProviderConfig, ProviderOrder
from keyturn.model.sensitive import Sensitive
from keyturn.model.status import ProviderStatus

EVERYBODY: Final = "*"


@dataclass(frozen=True, slots=True)
class DefaultProvider:
    """As configured. ``word`` is what `SECRETS_PROVIDER` calls it.

    ``folder`` holds all that it reads from files; ``credentials`` are those that came by variables. ``namespaces`` may use it
    through an operator: none, or each that is named, or all where `EVERYBODY` is.
    """

    word: str = "env"
    config: ProviderConfig = field(default_factory=EnvConfig)
    folder: str = ""
    credentials: Mapping[KeyRef, Sensitive] = field(default_factory=dict)
    namespaces: frozenset[str] = frozenset()

    def order(self, access: Access = Access.READ_ONLY) -> ProviderOrder:
        """What the spec of a provider object would order. It has no class: it belongs to the operator that has none."""
        admissions = (Admission(self.namespaces),) if self.namespaces else (NOBODY,)
        return ProviderOrder(self.config, access, () if EVERYBODY in self.namespaces else admissions)

    def as_object(self) -> ProviderObject:
        """As the cache holds it beside the provider objects of the cluster."""
        return ProviderObject(
            ref=DEFAULT_PROVIDER,
            uid="default",
            generation=1,
            resource_version="1",
            deleting=False,
            order=self.order(),
            status=ProviderStatus(),
        )
