"""An `awsSecretsManager` provider as ordered: which region, and who logs in. No value is in here, only where each is kept."""

import re
from dataclasses import dataclass
from typing import Final

from keyturn.model.ids import KeyRef
from keyturn.model.tenant import ServiceAccount

AUDIENCE: Final = "sts.amazonaws.com"
"""Of the token that a role's trust policy asks for."""

_REGION: Final = re.compile("[a-z]{2,8}(?:-[a-z]{2,16}){1,3}-[0-9]{1,2}", re.ASCII)
_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{1,12}:role/[\w+=,.@/-]{1,512}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeysLogin:
    """An access key of an IAM user, or a temporary one with its session token."""

    key_id: KeyRef
    secret: KeyRef
    token: KeyRef | None = None


@dataclass(frozen=True, slots=True)
class OwnLogin:
    """The operator's own identity, wherever the SDK finds it."""


@dataclass(frozen=True, slots=True)
class TenantLogin:
    """A ServiceAccount of a tenant's, whose token is exchanged for a role that trusts it (IRSA): the one in its annotation, if any."""

    who: ServiceAccount


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """A role that is assumed by whoever has logged in. ``tags`` are those of its session.

    ``external_id`` '' is none, and `READER`, which AWS never takes, stands for the one of the namespace that reads.
    Beside a `TenantLogin` whose ServiceAccount is annotated with no role it is the one that the token is exchanged for.
    """

    arn: str
    external_id: str = ""
    tags: tuple[tuple[str, str], ...] = ()


AwsLogin = KeysLogin | OwnLogin | TenantLogin


@dataclass(frozen=True, slots=True)
class AwsConfig:
    """``prefix`` stands before every key; ``endpoint`` '' is the region's own."""

    region: str
    login: AwsLogin
    role: AssumedRole | None = None
    prefix: str = ""
    endpoint: str = ""

    @property
    def credential(self) -> KeyRef | ServiceAccount | None:
        """What proves who logs in, beside which all else only says where and as whom; None is the operator itself."""
        match self.login:
            case KeysLogin(_, proof) | TenantLogin(proof):
                return proof
            case OwnLogin():
                return None

    @property
    def references(self) -> frozenset[KeyRef]:
        """Every key of a Secret that the log-in needs."""
        if not isinstance(self.login, KeysLogin):
            return frozenset()
        return frozenset(ref for ref in (self.login.key_id, self.login.secret, self.login.token) if ref is not None)


def is_region(text: str) -> bool:
    """Whether it has the shape of a region's name, which becomes part of a host's: another shape must not make another host of it."""
    return _REGION.fullmatch(text) is not None


def is_role(text: str) -> bool:
    """Whether it is a role's ARN."""
    return _ROLE.fullmatch(text) is not None
