"""Which addresses are the API server's and our own, as far as it can be told at the start: no tenant's server is there.

Opens no connection. A name that nobody answers for costs a moment and never the start.
"""

import asyncio
import logging
import os
import socket
from urllib.parse import urlsplit

log = logging.getLogger("keyturn.operator")

LOOK_UP_S = 2.0


async def own_addresses(server: str) -> frozenset[str]:
    """The addresses of the API server at this URL, by every name that it has for a pod, and those of the pod itself."""
    names = {urlsplit(server).hostname or "", socket.gethostname(), os.environ.get("POD_IP", "")}
    if in_cluster := os.environ.get("KUBERNETES_SERVICE_HOST"):
        names |= {in_cluster, "kubernetes.default.svc"}
    found = await asyncio.gather(*(_addresses(name) for name in names if name))
    return frozenset().union(*found)


async def _addresses(name: str) -> frozenset[str]:
    try:
        async with asyncio.timeout(LOOK_UP_S):
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError) as error:
        log.info("no address is known", extra={"name_looked_up": name, "why": type(error).__name__})
        return frozenset()
    return frozenset(str(address[0]) for *_, address in found)
