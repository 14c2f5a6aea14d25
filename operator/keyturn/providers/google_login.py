"""The ways to log in to Google: a service account's key, a tenant's ServiceAccount by a pool or by its GKE cluster, an identity of AWS's.

Credentials are read anew for each log-in, and go to Google's own addresses alone. Keeps nothing: that is ``google_session``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from keyturn.decide.google_account import JWT, members
from keyturn.model.errors import AuthFailed, Rejected
from keyturn.model.google import AwsLogin, ClusterLogin, GooglePlaces, cluster_audience, is_account, token_audience
from keyturn.model.ids import KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount
from keyturn.ports import References, TenantTokens
from keyturn.providers.google_exchange import by_key, check_key, exchanged, finished, signed, with_keys
from keyturn.providers.google_http import Token, in_thread
from keyturn.providers.google_machine import whereabouts

ANNOTATION: Final = "iam.gke.io/gcp-service-account"
"""Where GKE has it written which Google service account a ServiceAccount stands in for."""


class Entrance(Protocol):
    """A way to log in, as one identity."""

    async def log_in(self) -> Token:
        """A new token. Raises a `ProviderError`."""

    def __str__(self) -> str:
        """Who comes in by it."""


@dataclass(frozen=True, slots=True)
class KeyEntrance:
    """Whoever has a service account's key, which stands in a Secret."""

    key: KeyRef
    references: References
    places: GooglePlaces
    whose: str

    async def log_in(self) -> Token:
        info = members(await self.references.read(self.key), str(self))
        check_key(info, str(self))
        return await in_thread(self.whose, lambda: by_key(self.places, info, str(self)))

    def __str__(self) -> str:
        return f"the key in {self.key} (key {self.key.key})"


@dataclass(frozen=True, slots=True)
class FederatedEntrance:
    """A ServiceAccount of this cluster, by a token that is made for Google alone and exchanged at once."""

    who: ServiceAccount
    audience: str
    tokens: TenantTokens
    places: GooglePlaces
    whose: str

    async def log_in(self) -> Token:
        subject = await _token_of(self.tokens, self.who, self.audience)
        account = await _stands_in_for(self.tokens, self.who)
        return await in_thread(self.whose, lambda: self._exchanged(subject, account))

    def _exchanged(self, subject: Sensitive, account: str) -> Token:
        first = exchanged(self.places, self.audience, JWT, subject, str(self))
        return finished(self.places, first, account, str(self))

    def __str__(self) -> str:
        return f"the token of {self.who}"


@dataclass(frozen=True, slots=True)
class ClusterEntrance:
    """A ServiceAccount of this cluster, which is GKE's and so in its project's pool."""

    login: ClusterLogin
    tokens: TenantTokens
    places: GooglePlaces
    whose: str
    clock: Callable[[], float]

    async def log_in(self) -> Token:
        login = await whereabouts(self.login, self.places, self.clock)
        subject = await _token_of(self.tokens, login.who, token_audience(login.project))
        account = await _stands_in_for(self.tokens, login.who)
        return await in_thread(self.whose, lambda: self._exchanged(login, subject, account))

    def _exchanged(self, login: ClusterLogin, subject: Sensitive, account: str) -> Token:
        audience = cluster_audience(login.project, login.location, login.cluster)
        # What the machine said is the operator's, and not told to a tenant.
        named = f"the cluster {login.cluster} at {login.location}, project {login.project}"
        where = f"{self} in {named if login is self.login else 'the cluster that the operator runs in'}"
        return finished(self.places, exchanged(self.places, audience, JWT, subject, where), account, str(self))

    def __str__(self) -> str:
        return f"the token of {self.login.who}"


@dataclass(frozen=True, slots=True)
class AwsEntrance:
    """Whoever has an access key of AWS's, by a request that it signs, and that Google sends on to AWS."""

    login: AwsLogin
    references: References
    places: GooglePlaces
    whose: str

    async def log_in(self) -> Token:
        login = self.login
        key_id, secret = await self._word(login.key_id), await self._word(login.secret)
        source = with_keys(login.region, key_id.reveal().decode("ascii"), secret, await self._token())
        return await in_thread(self.whose, lambda: signed(self.places, login.audience, source, str(self)))

    async def _token(self) -> Sensitive | None:
        try:
            kept = await self.references.read(self.login.token)
        except AuthFailed:
            # The Secret is there, since its other keys were just read: this one it does not have.
            return None
        return self._checked(kept, self.login.token) if kept else None

    async def _word(self, ref: KeyRef) -> Sensitive:
        return self._checked(await self.references.read(ref), ref)

    @staticmethod
    def _checked(kept: Sensitive, ref: KeyRef) -> Sensitive:
        # A line's end comes along when such a thing is kept in a file, and is never part of it.
        word = kept.reveal().strip()
        if not word or any(not 0x21 <= byte <= 0x7E for byte in word):
            raise AuthFailed(f"{ref}, key {ref.key}, holds no credential of AWS's: it is empty, or has other characters than one has")
        return Sensitive(word)

    def __str__(self) -> str:
        return f"the access key in {self.login.key_id}"


async def _stands_in_for(tokens: TenantTokens, who: ServiceAccount) -> str:
    """The Google service account that it names; '' where it stands for itself."""
    account = (await tokens.annotations(who)).get(ANNOTATION, "")
    if account and not is_account(account):
        raise AuthFailed(f"the annotation {ANNOTATION} of {who} is no Google service account; write NAME@PROJECT.iam.gserviceaccount.com")
    return account


async def _token_of(tokens: TenantTokens, who: ServiceAccount, audience: str) -> Sensitive:
    try:
        return (await tokens.abroad(who, audience)).secret
    except Rejected as rejected:
        problem = str(rejected)
    raise AuthFailed(problem)
