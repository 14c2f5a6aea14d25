"""The TLS context towards a server that somebody chose: whom to trust, and the client certificate where there is one.

Says nothing of what was in the PEM texts.
"""

import asyncio
import ssl
from functools import lru_cache

from keyturn.keypair import load_pair
from keyturn.model.errors import AuthFailed
from keyturn.model.ids import KeyPair, KeyRef
from keyturn.model.sensitive import Sensitive
from keyturn.ports import References

LONGEST_AUTHORITY = 64 << 10
"""In bytes. OpenSSL reads them in one piece, and nothing else of the process runs meanwhile."""


def context(authority: Sensitive | None, named: str, pair: tuple[Sensitive, Sensitive] | None, pair_named: str) -> ssl.SSLContext:
    """``authority`` None trusts the system's certificates; ``pair`` is certificate and key. Raises `AuthFailed`.

    It reads files, and takes some milliseconds: not for the event loop. Who trusts the same has the same one, where there is
    no client certificate: each would cost as much memory as what it trusts, and the system's trust is near a megabyte.
    """
    if authority is not None and len(authority) > LONGEST_AUTHORITY:
        raise AuthFailed(f"{named} is longer than {LONGEST_AUTHORITY >> 10} KiB; keep the certificates of the server's authority alone")
    trusted = None if authority is None else authority.reveal()
    tls = _trusting(trusted) if pair else _shared(trusted)
    if tls is None:
        raise AuthFailed(f"{named} holds no PEM certificate of an authority")
    if pair and not load_pair(tls, *(each.reveal() for each in pair)):
        raise AuthFailed(f"{pair_named}: certificate and key are no pair in PEM, or the key is encrypted")
    return tls


async def context_of(references: References, trusted: KeyRef | Sensitive | None, field: str, pair: KeyPair | None) -> ssl.SSLContext:
    """The same for what a config refers to; ``field`` is where it names whom to trust. Raises a `ProviderError`."""
    read = references.read
    source = f"{trusted}, key {trusted.key}," if isinstance(trusted, KeyRef) else "caBundle"
    authority = await _authority(references, trusted, field) if isinstance(trusted, KeyRef) else trusted
    client = (await read(pair.certificate), await read(pair.key)) if pair else None
    return await asyncio.to_thread(context, authority, source, client, "the client certificate")


async def _authority(references: References, ref: KeyRef, field: str) -> Sensitive:
    """Whom to trust: no credential, and told by the field, so that nobody looks for one."""
    try:
        return await references.read(ref)
    except AuthFailed as missing:
        problem = f"{field}: {missing}"
    raise AuthFailed(problem)


def _trusting(authority: bytes | None) -> ssl.SSLContext | None:
    """A context that trusts these authorities alone, or the system's; None where the text holds none."""
    if authority is None:
        return ssl.create_default_context()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Not by create_default_context, which takes an empty text for none, and trusts the system's.
        tls.load_verify_locations(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return None
    return tls if tls.cert_store_stats()["x509_ca"] else None


_shared = lru_cache(maxsize=256)(_trusting)
