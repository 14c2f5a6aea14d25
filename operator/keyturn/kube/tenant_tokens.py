"""Tokens of tenants' ServiceAccounts, by TokenRequest: one audience, and the shortest life that there is. And their annotations.

The right to make them is granted namespace by namespace (deploy/tenant-identity). Never keeps or logs a token, and never gives
one that the API server takes to anybody but `at_home`.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from keyturn.decide.audience import LIFE_S, audiences, check_abroad, uid_of
from keyturn.kube.client import METADATA, Client
from keyturn.kube.config import Token
from keyturn.model.denial import Denial
from keyturn.model.errors import AuthFailed, ClusterError, Forbidden, NotLeading, ObjectGone, Unavailable, Unprocessable
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount, TenantToken


class _Spec(msgspec.Struct, rename="camel"):
    audiences: list[str] = []
    expiration_seconds: int = 0


class _Status(msgspec.Struct):
    token: Sensitive | None = None


class _TokenRequest(msgspec.Struct):
    """What the API server made of a request; the spec may be another one than was sent."""

    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)

    def __repr__(self) -> str:
        return f"_TokenRequest({self.spec})"


class _Metadata(msgspec.Struct):
    uid: str = ""
    annotations: dict[str, str] | None = None


class _Described(msgspec.Struct):
    """What of a ServiceAccount is looked at."""

    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


def _wrap(_: type, text: object) -> Sensitive:
    if not isinstance(text, str):
        raise NotImplementedError
    return Sensitive.of(text)


_made = msgspec.json.Decoder(_TokenRequest, dec_hook=_wrap)
_described = msgspec.json.Decoder(_Described)


@dataclass(frozen=True, slots=True)
class TokenRequests:
    """The port `TenantTokens`. ``own`` is the operator's log-in, by which it is known what audiences the API server has."""

    client: Client
    own: Token

    async def at_home(self, who: ServiceAccount) -> TenantToken:
        if not (home := self._home()):
            raise AuthFailed(
                "the operator's own log-in is no token of a ServiceAccount, so that it does not know its API server's audience;"
                " run it with one, as deploy/ does"
            )
        return await self._make(who, home[0])

    async def abroad(self, who: ServiceAccount, audience: str) -> TenantToken:
        home = self._home()
        check_abroad(audience, home)
        made = await self._make(who, audience)
        if set(audiences(made.secret)) != {audience}:
            raise AuthFailed(f"the API server gave {who} a token for others than {audience!r}; it is not used")
        return made

    async def annotations(self, who: ServiceAccount) -> Mapping[str, str]:
        with _said_of(who, lambda denial: _no_look(who, denial)):
            answer = await self.client.request("GET", _path(who), accept=METADATA, what=f"look at {who}")
        try:
            found = _described.decode(answer).metadata
        except msgspec.MsgspecError:
            found = _Metadata()
        if not found.uid:
            raise Unavailable(f"the API server's answer to a look at {who} is none")
        return found.annotations or {}

    def _home(self) -> tuple[str, ...]:
        header = self.own.header() or ""
        return audiences(Sensitive.of(header.removeprefix("Bearer ")))

    async def _make(self, who: ServiceAccount, audience: str) -> TenantToken:
        spec = {"audiences": [audience], "expirationSeconds": LIFE_S}
        body = msgspec.json.encode({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
        with _said_of(who, lambda denial: _no_token(who, audience, denial)):
            answer = await self.client.request("POST", f"{_path(who)}/token", body, what=f"make a token of {who}")
        try:
            made = _made.decode(answer)
        except (msgspec.MsgspecError, NotImplementedError):
            # Not chained: the answer hangs on it.
            made = _TokenRequest()
        if not made.status.token:
            raise Unavailable(f"the API server's answer to a request for a token of {who} holds none")
        # Where somebody gave it a longer life we do not use it for longer.
        return TenantToken(made.status.token, uid_of(made.status.token), float(min(made.spec.expiration_seconds, LIFE_S)))


@contextlib.contextmanager
def _said_of(who: ServiceAccount, forbidden: Callable[[Denial], str]) -> Iterator[None]:
    """What an API server's refusal means to whoever is to be ``who``; ``forbidden`` says what the operator lacks, and the remedy."""
    try:
        yield
    except Forbidden as error:
        raise AuthFailed(forbidden(error.denial)) from None
    except Unprocessable:
        # So an admission policy refuses whose parameters are not there.
        raise AuthFailed(forbidden(Denial.OTHER)) from None
    except ObjectGone:
        raise AuthFailed(f"there is no {who}; create it, or name another one") from None
    except NotLeading:
        raise Unavailable("another replica makes tokens of ServiceAccounts") from None
    except ClusterError as error:
        raise Unavailable(str(error), retry_after=error.retry_after) from None


def _path(who: ServiceAccount) -> str:
    return f"/api/v1/namespaces/{quote(who.namespace, safe='')}/serviceaccounts/{quote(who.name, safe='')}"


def _no_token(who: ServiceAccount, audience: str, denial: Denial) -> str:
    listed = f"list the namespace {who.namespace} in deploy/tenant-identity, or in the chart's tenantIdentity.namespaces"
    match denial:
        case Denial.RIGHT:
            why = f"it lacks the right to create serviceaccounts/token there; {listed}"
        case Denial.NAMESPACE:
            # Which it refuses of the system's, listed or not.
            why = f"its admission policy does not list that namespace, or it is one of the system's; {listed}"
        case Denial.AUDIENCE:
            why = (
                "its admission policy does not list that audience; add it to audiences in deploy/tenant-identity/list.yaml,"
                " or to the chart's tenantIdentity.audiences"
            )
        case _:
            why = (
                "an admission policy refuses it; apply deploy/tenant-identity as a whole, with its ConfigMap,"
                " or let the cluster's other policies allow it"
            )
    return f"the operator may not make a token of {who} for the audience {audience}: {why}"


def _no_look(who: ServiceAccount, denial: Denial) -> str:
    told = f"the operator may not read the annotations of {who}"
    if denial is not Denial.RIGHT:
        return f"{told}: the API server refuses it by another rule than its roles; let that allow it"
    return (
        f"{told}: it lacks the right to get serviceaccounts there; list the namespace"
        f" {who.namespace} in deploy/tenant-identity, and apply that anew where it was listed before it held this right"
    )
