"""The TLS context towards one Vault: whom to trust, and the client certificate where there is one.

Reads nothing: the PEM texts are handed in. Says nothing of what was in them.
"""

import os
import ssl
import tempfile
from typing import IO

from keyturn.model.errors import AuthFailed
from keyturn.model.sensitive import Sensitive


def context(authority: Sensitive | None, named: str, pair: tuple[Sensitive, Sensitive] | None, pair_named: str) -> ssl.SSLContext:
    """``authority`` None trusts the system's certificates; ``pair`` is certificate and key. Raises `AuthFailed`.

    It reads files, and takes some milliseconds: not for the event loop.
    """
    is_read = False
    tls = ssl.create_default_context() if authority is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is not None:
        try:
            # Not by create_default_context, which takes an empty text for none, and trusts the system's.
            tls.load_verify_locations(cadata=authority.reveal().decode("ascii"))
            is_read = bool(tls.cert_store_stats()["x509_ca"])
        except (ssl.SSLError, ValueError):
            is_read = False
        if not is_read:
            raise AuthFailed(f"{named} holds no PEM certificate of an authority")
    if pair:
        _load(tls, *pair, pair_named)
    return tls


def _load(tls: ssl.SSLContext, certificate: Sensitive, key: Sensitive, named: str) -> None:
    is_pair = True
    # Python loads client certificates from files only; this one is in memory, where there is such a thing, and gone at once.
    with _nameless() as pair:
        pair.write(certificate.reveal().rstrip() + b"\n" + key.reveal())
        pair.flush()
        try:
            # A password is never asked for: without this an encrypted key would wait at a terminal.
            tls.load_cert_chain(f"/dev/fd/{pair.fileno()}", password="")
        except (ssl.SSLError, ValueError):
            is_pair = False
    if not is_pair:
        raise AuthFailed(f"{named}: certificate and key are no pair in PEM, or the key is encrypted")


def _nameless() -> IO[bytes]:
    """A file that nobody can find: a pod's root is read-only, and it has no /tmp."""
    return os.fdopen(os.memfd_create("pair"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()
