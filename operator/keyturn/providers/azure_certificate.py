"""What a certificate's private key says to Entra: who it is, for some minutes, signed. The key itself goes nowhere.

Not by the SDK, which has the key proven before it signs, twice, and takes apart files that need minutes for it.
"""

import base64
import json
import secrets
import time
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from keyturn.model.errors import AuthFailed
from keyturn.providers.rsa_keys import block, private_key

LONGEST: Final = 64 << 10
"""Bytes of a certificate with its key, and those of its authorities."""
_LIFE_S: Final = 600


def assertion(pem: bytes, client: str, endpoint: str, where: str) -> str:
    """A token by which ``client`` logs in at ``endpoint``; ``where`` the certificate stands, in words. To be run in a thread.

    Raises `AuthFailed`.
    """
    if b"-----BEGIN" not in pem:
        # A file in PKCS#12 says how many million times its password is to be hashed, also the one that it has not.
        raise AuthFailed(
            f"{where} is not in PEM; a file in PKCS#12 (.pfx, .p12) is not taken:"
            " convert it by `openssl pkcs12 -in FILE -nodes -out FILE.pem`, and keep that instead"
        )
    if len(pem) > LONGEST:
        raise AuthFailed(f"{where} is longer than {LONGEST >> 10} KiB; keep the certificate and its private key alone")
    key = private_key(pem, where)
    thumbprint = _thumbprint(block(pem, b"CERTIFICATE"))
    if not thumbprint:
        raise AuthFailed(f"{where} holds no certificate beside its private key")
    now = int(time.time())
    claims = {"aud": endpoint, "iss": client, "sub": client, "jti": secrets.token_hex(16), "nbf": now, "exp": now + _LIFE_S}
    signed = f"{_url(json.dumps({'typ': 'JWT', 'alg': 'PS256', 'x5t#S256': thumbprint}).encode())}.{_url(json.dumps(claims).encode())}"
    digest = hashes.SHA256()
    try:
        seal = key.sign(signed.encode(), padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    except ValueError:  # such as a key of too few bits to hold a signature
        seal = b""
    if not seal:
        raise AuthFailed(f"{where} holds a private key that cannot sign")
    return f"{signed}.{_url(seal)}"


def _thumbprint(pem: bytes) -> str:
    """'' where it is no certificate."""
    try:
        return _url(x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()))
    except ValueError:
        return ""


def _url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
