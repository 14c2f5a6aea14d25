"""An `azureKeyVault` provider as ordered: which vault, and who logs in. No value is in here, only where each is kept."""

import re
from dataclasses import dataclass
from typing import Final

from keyturn.model.ids import KeyRef
from keyturn.model.tenant import ServiceAccount

EXCHANGE: Final = "api://AzureADTokenExchange"
"""The audience of a ServiceAccount's token that Entra takes, in every cloud."""

VAULT_SUFFIXES: Final = {
    "PublicCloud": ".vault.azure.net",
    "USGovernmentCloud": ".vault.usgovcloudapi.net",
    "ChinaCloud": ".vault.azure.cn",
    "GermanCloud": ".vault.microsoftazure.de",
}

# One label: what has a dot, or another sign, would be a name that the cloud does not give away.
_NAME: Final = re.compile("[0-9a-z](?:[0-9a-z-]{0,61}[0-9a-z])?", re.ASCII)
_TENANT: Final = re.compile("[0-9A-Za-z.-]{1,253}", re.ASCII)
_CLIENT: Final = re.compile("[0-9A-Za-z-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom Entra knows: a tenant and a client of it, each as written or where it is kept."""

    tenant: str | KeyRef
    client_id: KeyRef


@dataclass(frozen=True, slots=True)
class SecretLogin:
    """A service principal by its client secret."""

    principal: Principal
    secret: KeyRef


@dataclass(frozen=True, slots=True)
class CertificateLogin:
    """A service principal by its certificate and private key, in PEM."""

    principal: Principal
    certificate: KeyRef


@dataclass(frozen=True, slots=True)
class ManagedLogin:
    """The operator's managed identity; ``client_id`` says which, where its machine has several."""

    client_id: KeyRef | None = None


@dataclass(frozen=True, slots=True)
class OwnLogin:
    """The operator's workload identity: a token in its pod, and the ids beside it where they are not given here."""

    tenant: str | KeyRef | None = None
    client_id: KeyRef | None = None


@dataclass(frozen=True, slots=True)
class TenantLogin:
    """A ServiceAccount of a tenant's, whose token is exchanged for the principal that trusts it.

    What is None here stands in its annotations.
    """

    who: ServiceAccount
    tenant: str | KeyRef | None = None
    client_id: KeyRef | None = None


AzureLogin = SecretLogin | CertificateLogin | ManagedLogin | OwnLogin | TenantLogin


@dataclass(frozen=True, slots=True)
class AzureConfig:
    """``vault`` is the vault's host, such as shop.vault.azure.net; ``environment`` the cloud that holds it."""

    vault: str
    login: AzureLogin
    environment: str = "PublicCloud"

    @property
    def is_ambient(self) -> bool:
        """Whether it logs in as the operator itself."""
        return isinstance(self.login, ManagedLogin | OwnLogin)

    @property
    def credential(self) -> KeyRef | ServiceAccount | None:
        """What proves who logs in, beside which all else only says where and as whom; None is the operator itself."""
        match self.login:
            case SecretLogin(_, proof) | CertificateLogin(_, proof) | TenantLogin(proof):
                return proof
            case ManagedLogin() | OwnLogin():
                return None

    @property
    def references(self) -> frozenset[KeyRef]:
        """Every key of a Secret that the log-in needs."""
        found: tuple[object, ...]
        match self.login:
            case SecretLogin(principal, kept) | CertificateLogin(principal, kept):
                found = (principal.tenant, principal.client_id, kept)
            case ManagedLogin(client_id):
                found = (client_id,)
            case OwnLogin(tenant, client_id) | TenantLogin(_, tenant, client_id):
                found = (tenant, client_id)
        return frozenset(ref for ref in found if isinstance(ref, KeyRef))


def vault_of(url: str, environment: str) -> str:
    """The host that a vault's URL names, in the one spelling that is used for it; '' where it is no vault of this cloud."""
    host = url.removeprefix("https://").removesuffix("/").removesuffix(":443").lower()
    name = host.removesuffix(VAULT_SUFFIXES[environment])
    return host if url.startswith("https://") and name != host and _NAME.fullmatch(name) else ""


def is_tenant(text: str) -> bool:
    """Whether it can name a tenant, and nothing else in a URL."""
    return _TENANT.fullmatch(text) is not None and text.strip(".") != ""


def is_client(text: str) -> bool:
    """Whether it can be the id of a client."""
    return _CLIENT.fullmatch(text) is not None
