"""The ways to log in to AWS: keys in Secrets, the operator's own identity, a tenant's ServiceAccount, and a role on top of any.

Credentials are read anew for each log-in. Keeps nothing but the operator's own chain: that is ``aws_session``.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from keyturn.decide.annotated import aws_roles
from keyturn.decide.tokenlife import due_after_s
from keyturn.model.aws import AUDIENCE, AssumedRole, KeysLogin
from keyturn.model.errors import AuthFailed, ProviderError, Rejected, Throttled, Unavailable
from keyturn.model.ids import KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount
from keyturn.ports import References, TenantTokens
from keyturn.providers.aws_channel import Channel
from keyturn.providers.aws_wire import Pass, Reply, failure

if TYPE_CHECKING:
    from keyturn.providers.aws_sdk import Chain

SESSION_S: Final = 3600
"""The life of a session, which every role allows."""
LOOK_S: Final = 60.0
"""How long the operator's own identity is taken for granted: the SDK renews it in time, where it has to be."""

_chains: Final = ThreadPoolExecutor(2, thread_name_prefix="keyturn-aws-chain")
_NO_NAME: Final = re.compile(r"[^\w+=,.@-]", re.ASCII)
_LONGEST_NAME: Final = 64
_HASH: Final = 10


class Entrance(Protocol):
    """A way to be somebody at AWS."""

    async def log_in(self, now_s: float, chance: float, *, is_anew: bool) -> Pass:
        """A pass that is new, or as new as there is. Raises a `ProviderError`.

        ``chance`` is in [0, 1). ``is_anew``: what it gave before is not taken any more.
        """

    async def close(self) -> None:
        """Gives back connections; may be called twice."""

    def __str__(self) -> str:
        """Who comes in by it."""


class Keys:
    """An access key that is kept in Secrets."""

    def __init__(self, login: KeysLogin, references: References) -> None:
        self._login = login
        self._references = references

    async def log_in(self, now_s: float, chance: float, *, is_anew: bool) -> Pass:  # noqa: ARG002  # nobody tells when it ends
        login = self._login
        key_id, secret = await self._word(login.key_id), await self._word(login.secret)
        return Pass(key_id.reveal().decode(), secret, await self._word(login.token) if login.token else None)

    async def close(self) -> None:
        """Nothing is open."""

    async def _word(self, ref: KeyRef) -> Sensitive:
        # A line's end comes along when such a thing is kept in a file, and is never part of it.
        word = (await self._references.read(ref)).reveal().strip()
        if not word or any(not 0x21 <= byte <= 0x7E for byte in word):
            raise AuthFailed(f"{ref}, key {ref.key}, holds no credential of AWS's: it is empty, or has other characters than one has")
        return Sensitive(word)

    def __str__(self) -> str:
        return f"the access key in {self._login.key_id}"


class Own:
    """The operator itself; its roles are asked for in this region."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._chain: Chain | None = None

    async def log_in(self, now_s: float, chance: float, *, is_anew: bool) -> Pass:
        found = await asyncio.get_running_loop().run_in_executor(_chains, partial(self._find, is_anew=is_anew))
        return Pass(found.key_id, found.secret, found.token, now_s + due_after_s(LOOK_S, chance, part=1))

    async def close(self) -> None:
        """The SDK closes what it opened."""

    def _find(self, *, is_anew: bool) -> Pass:
        from keyturn.providers.aws_sdk import Chain

        self._chain = self._chain or Chain(self._region)
        return self._chain.find(is_anew=is_anew)

    def __str__(self) -> str:
        return "the operator's own identity"


class Federated:
    """A ServiceAccount of this cluster, whose token AWS's STS takes for a role."""

    def __init__(self, who: ServiceAccount, role: str, tokens: TenantTokens, sts: Channel) -> None:
        self._who = who
        self._role = role
        self._tokens = tokens
        self._sts = sts

    async def log_in(self, now_s: float, chance: float, *, is_anew: bool) -> Pass:  # noqa: ARG002  # it is, always
        asked = {
            "RoleArn": self._role,
            "RoleSessionName": session_name(called(self._who)),
            "WebIdentityToken": await self._token(),
            "DurationSeconds": SESSION_S,
        }
        reply = await self._sts.ask("assume_role_with_web_identity", asked, None)
        if not reply.is_success:
            raise _refusal(reply, f"let {self._who} be the role {self._role}", "the role's trust policy and its OIDC provider")
        return _granted(reply, now_s, chance)

    async def close(self) -> None:
        await self._sts.close()

    async def _token(self) -> str:
        try:
            return (await self._tokens.abroad(self._who, AUDIENCE)).secret.reveal().decode()
        except Rejected as rejected:
            problem = str(rejected)
        raise AuthFailed(problem)

    def __str__(self) -> str:
        return f"{self._who} as the role {self._role}"


class Tenant:
    """A ServiceAccount as the role that it is annotated with at that time, and in the role that was ``asked`` for on top of that.

    Where it is annotated with none, it is the role that was asked for.
    """

    def __init__(self, who: ServiceAccount, asked: AssumedRole | None, tokens: TenantTokens, sts: Channel) -> None:
        self._who = who
        self._asked = asked
        self._tokens = tokens
        self._sts = sts

    async def log_in(self, now_s: float, chance: float, *, is_anew: bool) -> Pass:
        role, on_top = aws_roles(self._who, await self._tokens.annotations(self._who), self._asked)
        way_in: Entrance = Federated(self._who, role, self._tokens, self._sts)
        if on_top is not None:
            way_in = Role(way_in, on_top, called(self._who), self._sts)
        return await way_in.log_in(now_s, chance, is_anew=is_anew)

    async def close(self) -> None:
        await self._sts.close()

    def __str__(self) -> str:
        return f"{self._who} in the role {self._asked.arn}" if self._asked else f"{self._who} as the role in its annotation"


class Role:
    """A role that somebody assumes; ``name`` is what the session is called, after whom it is for."""

    def __init__(self, base: Entrance, role: AssumedRole, name: str, sts: Channel) -> None:
        self._base = base
        self._role = role
        self._name = name
        self._sts = sts

    async def log_in(self, now_s: float, chance: float, *, is_anew: bool) -> Pass:
        way_in = await self._base.log_in(now_s, chance, is_anew=is_anew)
        asked: dict[str, object] = {
            "RoleArn": self._role.arn,
            "RoleSessionName": session_name(self._name),
            "DurationSeconds": SESSION_S,
        }
        if self._role.external_id:
            asked["ExternalId"] = self._role.external_id
        if self._role.tags:
            asked["Tags"] = [{"Key": key, "Value": value} for key, value in self._role.tags]
        reply = await self._sts.ask("assume_role", asked, way_in)
        if reply.is_stranger:
            raise AuthFailed(f"AWS does not know {self._base}: it is wrong, or has ended; renew it", request_id=reply.request_id)
        if not reply.is_success:
            raise _refusal(reply, f"let {self._base} assume the role {self._role.arn}", "the role's trust policy and its external id")
        return _granted(reply, now_s, chance)

    async def close(self) -> None:
        await self._base.close()
        await self._sts.close()

    def __str__(self) -> str:
        return f"{self._base} in the role {self._role.arn}"


def called(who: ServiceAccount) -> str:
    """By a sign that is in no name, so that no other namespace and account together are called so."""
    return f"{who.namespace}@{who.name}"


def session_name(text: str) -> str:
    """As CloudTrail shows it. One that is too long ends in a hash of it all, behind a sign that is in no other."""
    name = _NO_NAME.sub("-", f"keyturn-{text}" if text else "keyturn")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - _HASH - 1]}={hashlib.sha256(name.encode()).hexdigest()[:_HASH]}"


def _granted(reply: Reply, now_s: float, chance: float) -> Pass:
    given: Mapping[str, Any] = reply.told.get("Credentials") or {}
    key_id, secret, token = (given.get(name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    if not (isinstance(key_id, str) and isinstance(secret, str) and isinstance(token, str)):
        raise Unavailable("AWS's answer to a log-in holds no credentials", request_id=reply.request_id)
    return Pass(key_id, Sensitive.of(secret), Sensitive.of(token), now_s + due_after_s(SESSION_S, chance), now_s + SESSION_S)


def _refusal(reply: Reply, what: str, look_at: str) -> ProviderError:
    """What a refused log-in means. It says nothing of any secret: least of all that one is not there."""
    error = failure(reply, what)
    if isinstance(error, Throttled | Unavailable):
        return error
    return AuthFailed(f"AWS does not {what}; check {look_at}", request_id=reply.request_id)
