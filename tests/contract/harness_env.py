"""The bench of the env provider: an environment, as a process would be started with it."""

import os
from collections.abc import Mapping

from keyturn.model.material import CURRENT, Cap
from keyturn.ports import Provider
from keyturn.providers.env import EnvProvider
from keyturn.testing.provider_suite import Bench, Need, Who

PREFIX = "KEYTURN_SECRET_"
_NO_SERVER = "there is no server: the environment is in the process"


class EnvBench(Bench):
    """Variables of a process."""

    lacks: Mapping[Cap | Need, str] = {
        Cap.VERSIONS: "a variable has no versions",
        Cap.STAGE: "a variable has no versions",
        Cap.TAGS: "a variable has no tags",
        Cap.SURVEY: "all is in memory, so a read costs nothing",
        Cap.PUT: "the environment is for reading",
        Need.CHANGE: "a process keeps the environment that it was started with",
        Need.SOFT_DELETE: "a variable is there or not",
        Need.DISABLE: "a variable is there or not",
        Need.DENY: "a process may read all of its environment",
        Need.BINARY: "no variable holds a NUL",
        Need.OVERSIZE: "the system limits the size of a variable",
        **dict.fromkeys((Need.LOG_IN, Need.EXPIRY, Need.THROTTLE, Need.HANG, Need.FAIL, Need.REFUSE, Need.LOSE), _NO_SERVER),
    }

    def __init__(self) -> None:
        self._environ = {b"PATH": b"/bin", b"KEYTURN_OTHER": b"kt-canary-other"}

    async def open(self, who: Who = Who.OURS) -> Provider:
        return EnvProvider(PREFIX, dict(self._environ))

    async def seed(self, key: str, data: bytes, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> str:
        self._environ[os.fsencode(PREFIX + key)] = data
        return ""
