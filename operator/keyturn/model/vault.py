"""A `hashicorpVault` provider as ordered: which server, which engine, and who logs in. No value is in here, only where each is kept."""

from dataclasses import dataclass

from keyturn.model.ids import KeyPair, KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount


@dataclass(frozen=True, slots=True)
class TokenLogin:
    """A token that others made; it is used as it is, and renewed by nobody here."""

    token: KeyRef


@dataclass(frozen=True, slots=True)
class AppRoleLogin:
    mount: str
    role_id: str | KeyRef
    secret_id: KeyRef


@dataclass(frozen=True, slots=True)
class JwtLogin:
    """The auth methods kubernetes and jwt, which speak alike.

    ``token`` is made for each log-in where it is a ServiceAccount's; None is the operator's own, projected into its pod.
    """

    mount: str
    role: str
    token: KeyRef | ServiceAccount | None


@dataclass(frozen=True, slots=True)
class UserPassLogin:
    mount: str
    username: str
    password: KeyRef


@dataclass(frozen=True, slots=True)
class CertLogin:
    mount: str
    pair: KeyPair


VaultLogin = TokenLogin | AppRoleLogin | JwtLogin | UserPassLogin | CertLogin


@dataclass(frozen=True, slots=True)
class VaultConfig:
    """``mount`` '' means that the first part of each key is the engine's; ``authority`` None is the system's certificates.

    ``namespace`` holds the engine, ``login_namespace`` the auth method; '' is the root namespace.
    """

    server: str
    login: VaultLogin
    mount: str = ""
    engine: int = 2
    namespace: str = ""
    login_namespace: str = ""
    authority: Sensitive | KeyRef | None = None
    client: KeyPair | None = None

    @property
    def credential(self) -> KeyRef | ServiceAccount | None:
        """What proves who logs in, beside which all else only says where and as whom; None is the operator itself."""
        match self.login:
            case TokenLogin(proof) | JwtLogin(_, _, proof) | AppRoleLogin(_, _, proof) | UserPassLogin(_, _, proof):
                return proof
            case CertLogin(_, pair):
                return pair.key

    @property
    def references(self) -> frozenset[KeyRef]:
        """Every key of a Secret or ConfigMap that the log-in or the connection needs."""
        # No set yet: a bundle that stands in the spec has no hash.
        found: list[KeyRef | ServiceAccount | str | Sensitive | None] = [self.authority]
        if self.client:
            found += [self.client.certificate, self.client.key]
        match self.login:
            case TokenLogin(token) | JwtLogin(_, _, token):
                found.append(token)
            case AppRoleLogin(_, role_id, secret_id):
                found += [role_id, secret_id]
            case UserPassLogin(_, _, password):
                found.append(password)
            case CertLogin(_, pair):
                found += [pair.certificate, pair.key]
        return frozenset(ref for ref in found if isinstance(ref, KeyRef))
