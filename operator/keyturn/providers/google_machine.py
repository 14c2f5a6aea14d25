"""Google's metadata server beside this machine: who the operator is, and which cluster it runs in."""

import json
from dataclasses import dataclass, replace
from typing import Final

from keyturn.model.errors import Unavailable
from keyturn.model.google import ClusterLogin, GooglePlaces, is_location, is_project
from keyturn.providers.google_http import Http, Token, as_token, in_thread

_ROOT: Final = "/computeMetadata/v1"
_OWN_TOKEN: Final = f"{_ROOT}/instance/service-accounts/default/token"


@dataclass(frozen=True, slots=True)
class MachineEntrance:
    """Whoever the operator is, as the metadata server of its machine says."""

    places: GooglePlaces

    async def log_in(self) -> Token:
        return await in_thread(self._asked)

    def _asked(self) -> Token:
        remedy = "does the operator run at Google? Else name auth"
        told = json.loads(_asked(self.places, _OWN_TOKEN, "the operator an identity of its own", remedy))
        return Token(as_token(told["access_token"]), float(told["expires_in"]))

    def __str__(self) -> str:
        return "the operator's own identity"


async def whereabouts(login: ClusterLogin, places: GooglePlaces) -> ClusterLogin:
    """The same with all three names, as the machine has them where the login has none. Raises a `ProviderError`."""
    if login.project and login.location and login.cluster:
        return login
    return await in_thread(lambda: _filled(login, places))


def _filled(login: ClusterLogin, places: GooglePlaces) -> ClusterLogin:
    project = login.project or _name(places, "project/project-id", "clusterProjectID")
    location = login.location or _name(places, "instance/attributes/cluster-location", "clusterLocation")
    cluster = login.cluster or _name(places, "instance/attributes/cluster-name", "clusterName")
    return replace(login, project=project, location=location, cluster=cluster)


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
