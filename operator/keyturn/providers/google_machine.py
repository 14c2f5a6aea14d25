"""Google's metadata server beside this machine: who the operator is, and which cluster it runs in."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from keyturn.model.errors import ProviderError, Unavailable
from keyturn.model.google import ClusterLogin, GooglePlaces, is_location, is_project
from keyturn.providers.fair_threads import Threads
from keyturn.providers.google_http import Http, Token, as_token, in_thread

_ROOT: Final = "/computeMetadata/v1"
_OWN_TOKEN: Final = f"{_ROOT}/instance/service-accounts/default/token"

KEPT_S: Final = 60.0
"""How long the machine's word on its cluster holds, for all who ask."""
FAILED_S: Final = 15.0
"""The same where there was none: a machine that has just started may have it soon."""

# Of the one machine there is one answer, so one thread asks: while that waits, log-ins that need nothing of the machine have theirs.
_THREAD: Final = Threads("keyturn-google-machine", 1)
_told: dict[tuple[GooglePlaces, str], tuple[str | ProviderError, float]] = {}
"""By place and path: what was told, and until when it holds. The thread's alone."""


@dataclass(frozen=True, slots=True)
class MachineEntrance:
    """Whoever the operator is, as the metadata server of its machine says."""

    places: GooglePlaces
    whose: str

    async def log_in(self) -> Token:
        return await in_thread(self.whose, self._asked)

    def _asked(self) -> Token:
        remedy = "a machine has an identity at Google alone; elsewhere set auth, or GOOGLE_APPLICATION_CREDENTIALS"
        what = "this machine an identity of its own; give its ServiceAccount, or the machine itself, a Google service account"
        told = json.loads(_asked(self.places, _OWN_TOKEN, what, remedy))
        return Token(as_token(told["access_token"]), float(told["expires_in"]))

    def __str__(self) -> str:
        return "the operator's own identity"


async def whereabouts(login: ClusterLogin, places: GooglePlaces, clock: Callable[[], float]) -> ClusterLogin:
    """The same with all three names, as the machine has them where the login has none. Raises a `ProviderError`."""
    if login.project and login.location and login.cluster:
        return login
    return await in_thread(login.who.namespace, lambda: _filled(login, places, clock), _THREAD)


def _filled(login: ClusterLogin, places: GooglePlaces, clock: Callable[[], float]) -> ClusterLogin:
    project = login.project or _known(places, "project/project-id", "clusterProjectID", clock)
    location = login.location or _known(places, "instance/attributes/cluster-location", "clusterLocation", clock)
    cluster = login.cluster or _known(places, "instance/attributes/cluster-name", "clusterName", clock)
    return replace(login, project=project, location=location, cluster=cluster)


def _known(places: GooglePlaces, path: str, field: str, clock: Callable[[], float]) -> str:
    found, until_s = _told.get((places, path), ("", 0.0))
    if clock() >= until_s:
        try:
            found, kept_s = _name(places, path, field), KEPT_S
        except ProviderError as error:
            found, kept_s = error.with_traceback(None), FAILED_S
        _told[places, path] = found, clock() + kept_s
    if isinstance(found, ProviderError):
        # One for each: raising one object in many tasks would chain their tracebacks.
        raise copy.copy(found)
    return found


def _name(places: GooglePlaces, path: str, field: str) -> str:
    remedy = f"name the cluster by {field} in the provider's spec"
    found = _asked(places, f"{_ROOT}/{path}", f"this machine the name of its cluster; {remedy}", remedy).strip()
    if not (is_project if field == "clusterProjectID" else is_location)(found):
        raise Unavailable(f"the metadata server's answer holds no name of a cluster; {remedy}")
    return found


def _asked(places: GooglePlaces, path: str, what: str, remedy: str) -> str:
    with Http(places, what, machines=remedy) as http:
        answer = http(f"{places.metadata}{path}", headers={"Metadata-Flavor": "Google"})
    if answer.headers.get("Metadata-Flavor") != "Google":
        raise Unavailable(f"no metadata server of Google's answers; {remedy}")
    return str(answer.data.decode())
