"""From a provider object's spec to the provider: the only place that knows which class serves which member.

A provider's module is imported when the first object of its kind appears, so that nobody pays for
an SDK that is not used. Logs in to nothing: that is ``validate``.
"""

from dataclasses import dataclass
from typing import assert_never

from keyturn.decide.reach import Reach, check_file_path, check_prefix
from keyturn.model.errors import MissingExtra, Rejected
from keyturn.model.ids import Kind
from keyturn.model.order import EnvConfig, FakeConfig, FileConfig, ProviderConfig, ProviderOrder
from keyturn.ports import Provider
from keyturn.providers.guard import LOCAL, Guard, Observer, Pace


@dataclass(frozen=True, slots=True)
class Member:
    """A member of spec.provider: its name there, its extra ('' is the base install), and who may use it."""

    name: str
    extra: str = ""
    is_cluster_only: bool = False
    pace: Pace = LOCAL


MEMBERS: dict[type[ProviderConfig], Member] = {
    EnvConfig: Member("env", is_cluster_only=True),
    FileConfig: Member("file", is_cluster_only=True),
    FakeConfig: Member("fake"),
}


def build(order: ProviderOrder, *, kind: Kind, reach: Reach, observe: Observer | None = None) -> Provider:
    """Makes the guarded provider of an object of this kind; raises `Rejected` or `MissingExtra`."""
    member = MEMBERS[type(order.config)]
    if member.is_cluster_only and kind is not Kind.CLUSTER_SECRET_PROVIDER:
        message = f"spec.provider.{member.name} reads what belongs to the operator; only a ClusterSecretProvider may, made by an admin"
        raise Rejected(message)
    try:
        provider = _open(order.config, reach)
    except ModuleNotFoundError as missing:
        if not member.extra:
            raise
        raise MissingExtra(member.extra, f"spec.provider.{member.name}") from missing
    return Guard(provider, member.pace, observe=observe)


def _open(config: ProviderConfig, reach: Reach) -> Provider:
    match config:
        case EnvConfig(prefix):
            from keyturn.providers.env import EnvProvider

            check_prefix(prefix, reach.env_prefixes)
            return EnvProvider(prefix)
        case FileConfig(path, file_format):
            from keyturn.providers.file import FileProvider

            return FileProvider(check_file_path(path, reach), file_format, reach)
        case FakeConfig(data):
            from keyturn.providers.fake import FakeProvider

            return FakeProvider(data)
        case _:
            assert_never(config)
