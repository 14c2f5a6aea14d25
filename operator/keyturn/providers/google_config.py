"""Log-ins by a configuration of an external account: a tenant's in a ConfigMap, and the operator's own credentials file.

Where a token comes from is somebody's choice, so that it is fetched here, by our dialer, and never by google-auth. Where it goes is not.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, assert_never

from keyturn.decide.google_account import asked_for, external_account, members, subject_in
from keyturn.model.errors import AuthFailed, Unavailable
from keyturn.model.google import ConfigLogin, ExternalAccount, FromAws, FromFile, FromUrl, GooglePlaces
from keyturn.model.ids import KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.ports import References
from keyturn.providers.dial import Answer, Dialer
from keyturn.providers.google_exchange import by_key, check_key, exchanged, finished, signed
from keyturn.providers.google_http import Token, in_thread
from keyturn.providers.tls import context

_URL: Final = re.compile(r"(https?://[^/?#@\s]+)([^#\s]*)", re.IGNORECASE)
_LARGEST: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class ConfigEntrance:
    """Whoever a configuration in a ConfigMap says, by a token from the one address that the provider object names."""

    login: ConfigLogin
    references: References
    dialer: Dialer
    places: GooglePlaces
    whose: str

    async def log_in(self) -> Token:
        account = external_account(members(await self.references.read(self.login.config), str(self)), str(self))
        source = asked_for(account, self.login.endpoint, str(self))
        subject = await _fetched(source, account.subject_type, self.dialer, "the server that externalTokenEndpoint names")
        return await in_thread(
            self.whose, partial(_traded, self.places, account, self.login.audience or account.audience, subject, str(self))
        )

    def __str__(self) -> str:
        return f"key {self.login.config.key} of {self.login.config}"


@dataclass(frozen=True, slots=True)
class FileEntrance:
    """Whoever the operator's own credentials file says. It is an admin's: it may name files and servers beside the operator."""

    file: KeyRef
    references: References
    dialer: Dialer
    places: GooglePlaces
    whose: str

    async def log_in(self) -> Token:
        told = members(await self.references.read(self.file), str(self))
        match told.get("type"):
            case "service_account":
                check_key(told, str(self))
                return await in_thread(self.whose, lambda: by_key(self.places, told, str(self)))
            case "external_account":
                return await self._as_external(external_account(told, str(self)))
        raise AuthFailed(f"{self} holds neither a service account's key nor an external account's configuration, as JSON with its type")

    async def _as_external(self, account: ExternalAccount) -> Token:
        match account.source:
            case FromAws(urls):
                return await in_thread(self.whose, partial(_signed, self.places, account, {"credential_source": dict(urls)}, str(self)))
            case FromUrl():
                subject = await _fetched(account.source, account.subject_type, self.dialer, "the server that its credential_source names")
            case FromFile():
                subject = await _read(account.source, account.subject_type, "the file that its credential_source names")
            case other:
                assert_never(other)
        return await in_thread(self.whose, partial(_traded, self.places, account, account.audience, subject, str(self)))

    def __str__(self) -> str:
        return f"what {self.file.key} names"


def _traded(places: GooglePlaces, account: ExternalAccount, audience: str, subject: Sensitive, where: str) -> Token:
    first = exchanged(places, audience, account.subject_type, subject, where)
    return finished(places, first, account.account, where, account.length_s)


def _signed(places: GooglePlaces, account: ExternalAccount, source: Mapping[str, Any], where: str) -> Token:
    return finished(places, signed(places, account.audience, source, where), account.account, where, account.length_s)


async def _fetched(source: FromUrl, subject_type: str, dialer: Dialer, whose: str) -> Sensitive:
    """The token that a server gives. Of a tenant's that gives none nothing is told: it may be somebody else's."""

    def knows(answer: Answer) -> bool:
        return answer.status == 200 and subject_in(answer.body, source.member, subject_type) is not None

    parts = _URL.fullmatch(source.url)
    if parts is None:
        raise AuthFailed(f"{whose} has no address of a server; write https://HOST/PATH")
    line = dialer.open(parts[1], await asyncio.to_thread(context, None, "", None, ""))
    path = parts[2] if parts[2].startswith("/") else f"/{parts[2]}"
    found = None
    try:
        answer = await line.send("GET", path, headers=dict(source.headers), knows=knows)
        if answer.status == 200:
            found = subject_in(answer.body, source.member, subject_type)
    except Unavailable:
        pass
    finally:
        await line.close()
    if found is None:
        raise Unavailable(f"{whose} gave no token")
    return found


async def _read(source: FromFile, subject_type: str, whose: str) -> Sensitive:
    try:
        found = subject_in(await asyncio.to_thread(_beginning, Path(source.path)), source.member, subject_type)
    except OSError:
        found = None
    if found is None:
        raise AuthFailed(f"{whose} holds no token")
    return found


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST)
