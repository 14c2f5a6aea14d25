"""Where a server may be that a tenant chose: which addresses the operator connects to on somebody else's behalf.

The operator stands where its tenants do not: beside the API server, the node's metadata service and its
own listeners. Decides on addresses and on text alone; names are looked up, and connections made, in
``providers/dial.py``, which asks here about each address before it connects to that one and no other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from keyturn.model.errors import Rejected

PUBLIC: Final = "public"
PRIVATE: Final = "private"

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

# `is_private` of the standard library holds far more: loopback, link-local, the nets for examples.
_PRIVATE: Final = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # of carriers, and of many a cluster's pods and services
        "fc00::/7",
    )
)

# No word opens these. `is_global` of the standard library denies most of them, in some versions of Python and not in others.
_REFUSED: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host: Linux takes 0.0.0.0 for loopback
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, with the metadata services of most clouds
        "100.100.100.200/32",  # Alibaba Cloud's metadata service
        "168.63.129.16/32",  # Azure's, that looks public
        "192.0.0.0/24",  # protocols' own; Oracle Cloud's metadata service
        "192.88.99.0/24",  # relays to IPv6
        "192.0.2.0/24",  # examples, as the next two
        "198.51.100.0/24",
        "203.0.113.0/24",
        "198.18.0.0/15",  # benchmarks
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "::/96",  # unspecified, loopback, and IPv4 in a form that nobody uses
        "64:ff9b:1::/48",  # a translator's own: where IPv4 is in it, only its owner knows
        "100::/64",  # discards
        "2001::/23",  # protocols' own, with Teredo
        "2001:db8::/32",  # examples, as the next
        "3fff::/20",
        "5f00::/16",  # segments of a route
        "fd00:ec2::/32",  # metadata services: Amazon's,
        "fd20:ce::254/128",  # Google's,
        "fd00:c1::a9fe:a9fe/128",  # Oracle's,
        "fd00:42::42/128",  # Scaleway's
        "fe80::/10",  # link-local
        "fec0::/10",  # its forerunner
        "ff00::/8",  # multicast
    )
)

_TRANSLATED: Final = IPv6Network("64:ff9b::/96")

# The path is what ASCII prints, but for '#', '?' and the backslash, which some take for a slash.
_SERVER: Final = re.compile(
    r"""(?P<scheme>https?)://(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<host>[a-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?(?:/[!"$->@-\[\]-~]*)?""",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Where tenants' servers may be.

    ``allowed`` are the words `public` and `private`, and networks in CIDR notation; what a network names
    is open, whatever it is. ``own`` are the addresses of the API server and of this pod, which no word opens.
    """

    allowed: tuple[str, ...] = (PUBLIC, PRIVATE)
    own: frozenset[str] = field(default_factory=frozenset)
    allow_plain_http: bool = False


def may_dial(address: str, rules: AddressRules) -> bool:
    """Says that a connection may go to this address. What is no plain address, a name or `127.1`, is refused."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return _may_dial(found, rules)


def _may_dial(address: _Address, rules: AddressRules) -> bool:
    if any(address in network for network in _networks(rules)):
        return True
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:  # means something on one link only
            return False
        if address.ipv4_mapped is not None:  # for the kernel it is that one
            return _may_dial(address.ipv4_mapped, rules)
        inner = _translated(address)
        if inner is not None and not _may_dial(inner, rules):
            return False
    if any(address in network for network in _REFUSED) or address in {ip_address(own) for own in rules.own}:
        return False
    is_private = any(address in network for network in _PRIVATE)
    return (is_private and PRIVATE in rules.allowed) or (not is_private and address.is_global and PUBLIC in rules.allowed)


def _networks(rules: AddressRules) -> list[_Network]:
    return [ip_network(allowed) for allowed in rules.allowed if allowed not in {PUBLIC, PRIVATE}]


def _translated(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a translator or a relay on the way would turn it into."""
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _TRANSLATED else address.sixtofour


def check_scheme(field: str, server: str, rules: AddressRules) -> None:
    """Raises `Rejected` unless ``server``, as written in ``field``, is the plain URL of a host, with TLS where no flag frees it."""
    found = _SERVER.fullmatch(server)
    if found is None or not 1 <= int(found["port"] or 443) <= 65535:
        # Without the text: who wrote a password into it does not want to read it in a status.
        raise Rejected(f"{field}: is no plain URL of a server; write https://HOST or https://HOST:PORT, without user, query and fragment")
    if found["scheme"].lower() != "https" and not rules.allow_plain_http:
        raise Rejected(f"{field}: http would send the log-in in clear; use https, or start the operator with --allow-plain-http")


def sends_in_clear(server: str) -> bool:
    """Says that what is sent to this URL of a server can be read on a network: it has no TLS, and is not of this machine."""
    found = _SERVER.fullmatch(server)
    if found is None or found["scheme"].lower() == "https":
        return False
    host = found["six"] or found["host"].lower()
    try:
        return host != "localhost" and not ip_address(host).is_loopback
    except ValueError:
        return True


def parse_allowed(words: Sequence[str]) -> tuple[str, ...]:
    """What ``AddressRules.allowed`` holds, from the command line's words. Raises `ValueError` that says which word is wrong."""
    return tuple(word if word in {PUBLIC, PRIVATE} else _network(word) for word in words)


def _network(word: str) -> str:
    try:
        loose = ip_network(word, strict=False)
    except ValueError:
        raise ValueError(f"{word!r} is neither {PUBLIC}, nor {PRIVATE}, nor a network such as 10.0.0.0/8 or fd00::/8") from None
    if "/" in word and loose.network_address != ip_address(word.partition("/")[0]):
        raise ValueError(f"{word!r} is an address within a network; write {loose} for all of it")
    return str(loose)
