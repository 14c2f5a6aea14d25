"""Why a server gave no answer, in words for whoever may know it: its own operator, and an admin who chose the server.

Told by the classes of what libraries met, by their module and name, so that none has to be imported for it; of their texts nothing is
shown. The same failure has the same words each time: they go into conditions. A tenant's server is never told of by them (``dial``).
"""

import asyncio
import errno
import logging
import os
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

TOLD_EVERY_S: Final = 60.0

SYSTEM: Final = "name that authority's file in SSL_CERT_FILE"
"""What helps where the system's authorities are trusted, or those that the environment names."""

_MOST_BENEATH: Final = 32
_BAD_NAME: Final = 62
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH; 64 is that of an address."""
_TIMES: Final = (9, 10)
"""Not yet, and not any more."""
_NO_SUCH_NAME: Final = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
_NO_WAY: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
_TUNNEL: Final = re.compile("Tunnel connection failed: ([0-9]{3})", re.ASCII)

log = logging.getLogger("keyturn.dial")


@dataclass(frozen=True, slots=True)
class Cause:
    """``is_public``: it tells of the operator's own surroundings and of public names alone, and nothing of a private network."""

    words: str
    is_public: bool = False


AUTHORITY: Final = Cause("its certificate is of no authority that is trusted here; {trust}", is_public=True)
OTHER_NAME: Final = Cause("its certificate is for another name", is_public=True)
OTHER_TIME: Final = Cause("its certificate has ended or not begun; renew it, or set this machine's clock", is_public=True)
TURNED_AWAY: Final = Cause("it ends the TLS handshake; does it want a client certificate, or another one?")
NO_TLS: Final = Cause("what listens there speaks no TLS that is taken here")
ODD_PROXY: Final = Cause("{proxy} is no http://HOST:PORT, and no other kind of proxy is used; correct it", is_public=True)
NO_SUCH_PROXY: Final = Cause("the name of the proxy in {proxy} is not known; correct it", is_public=True)
SILENT_PROXY: Final = Cause("the proxy that {proxy} names does not answer; correct it", is_public=True)
UNPAID_PROXY: Final = Cause("the proxy that {proxy} names wants a user and a password, or others; correct them", is_public=True)
CLOSED_PROXY: Final = Cause("the proxy that {proxy} names does not let us there; have it do so", is_public=True)
FAILED_PROXY: Final = Cause("the proxy that {proxy} names does not get there")
NO_SUCH_NAME: Final = Cause("its name is not known; is it spelled right?", is_public=True)
NO_NAMES: Final = Cause("its name could not be looked up")
NOBODY: Final = Cause("nobody listens there")
NO_WAY: Final = Cause("no way leads there")
TIMED_OUT: Final = Cause("nothing came back in time; let it through the firewall, or name the proxy in {proxy}")
TIMED_OUT_BEHIND: Final = Cause("nothing came back in time by the proxy that {proxy} names")
CUT: Final = Cause("the connection was cut")


def silent(server: str, error: BaseException | Cause, *, trust: str = SYSTEM, whose: str = "the server", is_direct: bool = False) -> str:
    """The message of ``server``, a URL or HOST:PORT, that gave no answer because of ``error``, with the cause where it is known."""
    cause = error if isinstance(error, Cause) else cause_of(error, server, is_direct=is_direct)
    told = f"{whose} {name}" if (name := host_of(server)) else whose
    return f"{told} gave no answer{f': {in_words(cause, server, trust)}' if cause else ''}"


def in_words(cause: Cause, server: str, trust: str = SYSTEM) -> str:
    """What is the matter, and what helps."""
    if trust == SYSTEM and (file := os.environ.get("SSL_CERT_FILE")) and not os.access(file, os.R_OK):
        trust = "the file that SSL_CERT_FILE names cannot be read"
    return cause.words.format(trust=trust, proxy=f"{_split(server).scheme.upper()}_PROXY")


def host_of(server: str) -> str:
    """Its name, with the port where that is not the scheme's own; '' where it has none."""
    parts = _split(server)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    told = f"[{host}]" if ":" in host else host
    return told if port in (None, 443 if parts.scheme == "https" else 80) else f"{told}:{port}"


def proxy_for(server: str) -> str:
    """The proxy that the environment has for it; '' where it is asked directly."""
    parts = _split(server)
    proxy = getproxies().get(parts.scheme, "")
    return proxy if proxy and not proxy_bypass(parts.hostname or "") else ""


def cause_of(error: BaseException, server: str, *, is_direct: bool = False) -> Cause | None:
    """Why ``server`` gave no answer; None where nothing is known. ``is_direct``: no proxy of the environment's was asked."""
    met = list(_beneath(error))
    proxy = "" if is_direct else proxy_for(server)
    if (found := _of_tls(met)) is not None:
        return found
    if proxy and (found := _of_proxy(met, proxy)) is not None:
        return found
    return _of_network(met, is_behind=bool(proxy))


def _of_tls(met: list[BaseException]) -> Cause | None:
    # aiohttp's own errors are of these classes, too, and lack what these have.
    met = [each for each in met if type(each).__module__ == "ssl"]
    for each in met:
        if isinstance(each, ssl.SSLCertVerificationError):
            if each.verify_code in (_BAD_NAME, _BAD_NAME + 2):
                return OTHER_NAME
            return OTHER_TIME if each.verify_code in _TIMES else AUTHORITY
    for each in met:
        if isinstance(each, ssl.SSLError) and not isinstance(each, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return TURNED_AWAY if "ALERT" in str(each.reason) else NO_TLS
    return None


def _of_proxy(met: list[BaseException], proxy: str) -> Cause | None:
    scheme, _, rest = proxy.rpartition("://")
    if scheme not in ("", "http") or any(_is(each, "aiohttp", "InvalidURL") for each in met):
        return ODD_PROXY
    for each in met:
        if status := _status(each):
            return {"407": UNPAID_PROXY, "403": CLOSED_PROXY}.get(status, FAILED_PROXY)
    is_at_proxy = any(_is(each, "aiohttp", "ClientProxyConnectionError") or _is(each, "urllib3", "ProxyError") for each in met)
    name = _split(f"http://{rest}").hostname
    if any(_is_unknown(each) for each in met) and (is_at_proxy or any(getattr(each, "host", None) == name for each in met)):
        return NO_SUCH_PROXY
    return SILENT_PROXY if is_at_proxy else None


def _of_network(met: list[BaseException], *, is_behind: bool) -> Cause | None:
    for each in met:
        if isinstance(each, socket.gaierror):
            return NO_SUCH_NAME if _is_unknown(each) else NO_NAMES
        if isinstance(each, ConnectionRefusedError):
            return NOBODY
        if isinstance(each, OSError) and each.errno in _NO_WAY:
            return NO_WAY
        if isinstance(each, ConnectionError | ssl.SSLEOFError) or _is(each, "aiohttp", "ServerDisconnectedError"):
            return CUT
    if any(isinstance(each, TimeoutError) for each in met):
        return TIMED_OUT_BEHIND if is_behind else TIMED_OUT
    return None


def _beneath(error: BaseException) -> Iterator[BaseException]:
    """It, and what it is made of: each library has its own place for that."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _MOST_BENEATH:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        more = (getattr(each, name, None) for name in ("os_error", "inner_exception", "reason", "__cause__", "__context__"))
        waiting += [other for other in (*more, *each.args) if isinstance(other, BaseException)]


def _is(error: BaseException, library: str, name: str) -> bool:
    return type(error).__module__.partition(".")[0] == library and type(error).__name__ == name


def _status(error: BaseException) -> str:
    """With which a proxy refused, where it did."""
    if _is(error, "aiohttp", "ClientHttpProxyError"):
        return str(getattr(error, "status", ""))
    found = _TUNNEL.search(str(error)) if type(error) is OSError else None
    return found[1] if found else ""


def _is_unknown(error: BaseException) -> bool:
    return isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME


def _split(server: str) -> SplitResult:
    try:
        return urlsplit(server if "://" in server else f"https://{server}")
    except ValueError:
        return urlsplit("https://")


class Teller:
    """Says in the operator's log why a server gave no answer, once in a while."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def tell(self, server: str, why: str) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._silent_until:
            return
        self._silent_until = now + TOLD_EVERY_S
        log.info("no answer", extra={"server": server, "why": why})
