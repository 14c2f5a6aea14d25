"""Tenants' own identities in this cluster, by which a provider decides who may read."""

from dataclasses import dataclass

from keyturn.model.sensitive import Sensitive


@dataclass(frozen=True, slots=True, order=True)
class ServiceAccount:
    """A ServiceAccount by name; it says nothing of which incarnation."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"ServiceAccount/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class TenantToken:
    """A token of a ServiceAccount. ``uid`` is the incarnation's that it was made for, ``length_s`` the life that it was given."""

    secret: Sensitive
    uid: str
    length_s: float
