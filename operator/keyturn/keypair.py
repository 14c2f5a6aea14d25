"""Client certificates, which Python loads from files only: here without a file that anybody could find, or that outlives a crash.

A pod's root is read-only, and it has no /tmp. Says nothing of what was in them.
"""

import os
import ssl
import tempfile
from typing import IO


def load_pair(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> bool:
    """Has the context show this certificate; False where the two are no pair in PEM, or the key is encrypted."""
    with _nameless() as pair:
        pair.write(certificate.rstrip() + b"\n" + key)
        pair.flush()
        try:
            tls.load_cert_chain(f"/dev/fd/{pair.fileno()}", password=_nobody)
        except (ssl.SSLError, ValueError):
            return False
    return True


def _nobody() -> str:
    """Is asked for the password of an encrypted key: else OpenSSL would wait at a terminal.

    Gives none, not the empty one either: the key says how often that is to be hashed, which may take minutes.
    """
    raise ValueError


def _nameless() -> IO[bytes]:
    """In memory, where there is such a thing, and gone at once."""
    return os.fdopen(os.memfd_create("pair"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()
