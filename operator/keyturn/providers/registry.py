"""From a provider object's spec to the provider: the only place that knows which class serves which member.

A provider's module is imported when the first object of its kind appears, so that nobody pays for
an SDK that is not used. Logs in to nothing: that is ``validate``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from keyturn.decide.address import AddressRules, check_scheme
from keyturn.decide.reach import Reach, check_file_path, check_prefix
from keyturn.model.errors import MissingExtra, Rejected
from keyturn.model.ids import Kind
from keyturn.model.order import EnvConfig, FakeConfig, FileConfig, ProviderConfig, ProviderOrder
from keyturn.model.vault import VaultConfig
from keyturn.ports import Provider, References
from keyturn.providers.guard import LOCAL, REMOTE, Guard, Observer, Pace

VAULT_TOKEN_FILE: Final = Path("/var/run/secrets/keyturn.dev/vault/token")
"""The operator's own token with audience `vault`, as deploy/ mounts it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of spec.provider: its name there, its extra ('' is the base install), and who may use it."""

    name: str
    extra: str = ""
    is_cluster_only: bool = False
    pace: Pace = LOCAL


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What providers need of the operator that they run in, and what its flags let them reach."""

    reach: Reach
    addresses: AddressRules
    references: References
    vault_token_file: Path = VAULT_TOKEN_FILE


MEMBERS: dict[type[ProviderConfig], Member] = {
    EnvConfig: Member("env", is_cluster_only=True),
    FileConfig: Member("file", is_cluster_only=True),
    FakeConfig: Member("fake"),
    VaultConfig: Member("hashicorpVault", extra="vault", pace=REMOTE),
}


def build(order: ProviderOrder, *, kind: Kind, around: Surroundings, observe: Observer | None = None) -> Provider:
    """Makes the guarded provider of an object of this kind; raises `Rejected` or `MissingExtra`."""
    member = MEMBERS[type(order.config)]
    if member.is_cluster_only and kind is not Kind.CLUSTER_SECRET_PROVIDER:
        message = f"spec.provider.{member.name} reads what belongs to the operator; only a ClusterSecretProvider may, made by an admin"
        raise Rejected(message)
    try:
        provider = _open(order.config, kind, around)
    except ModuleNotFoundError as missing:
        if not member.extra:
            raise
        raise MissingExtra(member.extra, f"spec.provider.{member.name}") from missing
    return Guard(provider, member.pace, observe=observe)


def _open(config: ProviderConfig, kind: Kind, around: Surroundings) -> Provider:
    match config:
        case EnvConfig(prefix):
            from keyturn.providers.env import EnvProvider

            check_prefix(prefix, around.reach.env_prefixes)
            return EnvProvider(prefix)
        case FileConfig(path, file_format):
            from keyturn.providers.file import FileProvider

            return FileProvider(check_file_path(path, around.reach), file_format, around.reach)
        case FakeConfig(data):
            from keyturn.providers.fake import FakeProvider

            return FakeProvider(data)
        case VaultConfig():
            from keyturn.providers.dial import Dialer
            from keyturn.providers.vault import VaultProvider

            check_scheme("spec.provider.hashicorpVault.server", config.server, around.addresses)
            # Where a server is, a tenant chooses; what an admin wrote is taken as it is.
            rules = around.addresses if kind is Kind.SECRET_PROVIDER else None
            return VaultProvider(config, around.references, Dialer(rules), around.vault_token_file)
        case _:
            assert_never(config)
