"""How each log-in method of Vault is spoken: what is sent, and the token that comes of it.

Credentials are read anew for each log-in, and go into bodies and headers alone. Keeps nothing: that is ``vault_session``.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

import msgspec

from keyturn.decide.tokenlife import FOREVER, Life
from keyturn.model.errors import AuthFailed, Invalid
from keyturn.model.ids import KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount
from keyturn.model.vault import AppRoleLogin, CertLogin, JwtLogin, TokenLogin, UserPassLogin, VaultLogin
from keyturn.ports import References, TenantTokens
from keyturn.providers.dial import Answer
from keyturn.providers.vault_wire import Auth, encode, failure, unwrap

AUDIENCE: Final = "vault"
"""Of tokens that log ServiceAccounts in: Vault's own word for itself, which no API server takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """Who we are at Vault. ``is_ours``: it came of a log-in here, so that we renew it, and revoke it in the end."""

    secret: Sensitive
    life: Life = FOREVER
    is_ours: bool = True

    @property
    def due_at_s(self) -> float:
        return self.life.due_at_s

    @property
    def ends_at_s(self) -> float:
        """No later: a Vault that is away when it is to renew a token lets nobody in by it either."""
        return self.life.due_at_s


@dataclass(frozen=True, slots=True)
class Letter:
    """A log-in that is ready to be sent."""

    path: str
    body: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Letter({self.path})"


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes log-ins, from what they refer to as it is now."""

    references: References
    token_file: Path
    tokens: TenantTokens | None = None

    async def static(self, login: TokenLogin) -> Token:
        """The token that others made. Raises a `ProviderError`."""
        token = _as_token(await self.references.read(login.token))
        if token is None:
            raise AuthFailed(f"{login.token}, key {login.token.key}, holds no token: it is empty, or has other characters than a token has")
        return Token(token, is_ours=False)

    async def letter(self, login: AppRoleLogin | JwtLogin | UserPassLogin | CertLogin) -> Letter:
        """What to POST. Raises a `ProviderError`."""
        mount = _encoded(login.mount, "the mount of the log-in method")
        match login:
            case AppRoleLogin(role_id=role, secret_id=secret):
                body = {"role_id": role if isinstance(role, str) else await self._word(role), "secret_id": await self._word(secret)}
                return Letter(f"auth/{mount}/login", body)
            case JwtLogin(role=role, token=token):
                jwt = await self._jwt(token)
                return Letter(f"auth/{mount}/login", {"jwt": jwt} | ({"role": role} if role else {}))
            case UserPassLogin(username=username, password=password):
                return Letter(f"auth/{mount}/login/{_encoded(username, 'the user')}", {"password": await self._text(password)})
            case CertLogin():
                return Letter(f"auth/{mount}/login", {})
            case _:
                assert_never(login)

    async def _jwt(self, token: KeyRef | ServiceAccount | None) -> str:
        match token:
            case KeyRef():
                return await self._word(token)
            case ServiceAccount():
                if self.tokens is None:
                    raise AuthFailed(f"the operator's cluster makes tokens of {token}, and here is no operator; use another log-in")
                return (await self.tokens.abroad(token, AUDIENCE)).secret.reveal().decode()
            case None:
                return await self._own()

    async def _text(self, ref: KeyRef) -> str:
        return _decoded(await self.references.read(ref), f"{ref}, key {ref.key},")

    async def _word(self, ref: KeyRef) -> str:
        # A line's end comes along when such a thing is kept in a file, and is never part of it.
        return (await self._text(ref)).strip()

    async def _own(self) -> str:
        try:
            read = Sensitive(await asyncio.to_thread(self.token_file.read_bytes))
        except OSError:
            read = None
        if not read:
            raise AuthFailed("the operator has no token of its own for Vault; mount one with audience vault, or name a secretRef")
        return _decoded(read, "the operator's own token").strip()


def body_of(letter: Letter) -> bytes:
    """The letter's body as it is sent."""
    return msgspec.json.encode(letter.body)


def entry(answer: Answer, login: VaultLogin) -> Auth:
    """What a log-in gave. Raises `AuthFailed` where it was refused, another `ProviderError` where it could not be judged."""
    envelope = unwrap(answer)
    if answer.status in {400, 401, 403, 404}:
        problem = f"Vault refuses the log-in by {named(login)}; check credentials, mount and namespace"
        raise AuthFailed(problem, request_id=envelope.request_id)
    if answer.status != 200:
        raise failure(answer, envelope, "the log-in")
    if (auth := envelope.auth) is None or (token := _as_token(auth.client_token)) is None:
        raise AuthFailed(f"the log-in by {named(login)} gave no token; does it ask for a second factor?", request_id=envelope.request_id)
    return Auth(token, auth.lease_duration, auth.renewable)


def named(login: VaultLogin) -> str:
    """A log-in in words: its method and mount, or where its token is kept."""
    match login:
        case TokenLogin(token):
            return f"the token in {token}"
        case AppRoleLogin(mount=mount):
            return f"AppRole at auth/{mount}"
        case JwtLogin(mount=mount, role=role):
            return f"JWT at auth/{mount}" + (f", role {role}" if role else "")
        case UserPassLogin(mount=mount, username=username):
            return f"user {username} at auth/{mount}"
        case CertLogin(mount=mount):
            return f"client certificate at auth/{mount}"
        case _:
            assert_never(login)


def _as_token(value: Sensitive) -> Sensitive | None:
    """The token without white space around it; None for what no header takes, and what its refusal would quote."""
    word = value.reveal().strip()
    return Sensitive(word) if word and all(0x21 <= byte <= 0x7E for byte in word) else None


def _encoded(path: str, what: str) -> str:
    try:
        return encode(path, what)
    except Invalid as invalid:
        problem = str(invalid)
    raise AuthFailed(problem)


def _decoded(value: Sensitive, source: str) -> str:
    try:
        return value.reveal().decode()
    except UnicodeDecodeError:
        problem = f"{source} holds no text"
    raise AuthFailed(problem)
