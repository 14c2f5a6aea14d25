"""RSA private keys that a tenant wrote: read and signed with, without the library's own proof of them.

That proof looks whether two numbers are prime, for seconds to minutes where they are long, and nothing else of the process runs
meanwhile. What is wrong with a key that is none is its owner's alone: nobody believes its signatures. Says nothing of what was in it.
"""

from contextlib import suppress
from typing import Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from keyturn.model.errors import AuthFailed

MOST_BITS: Final = 4096
LONGEST: Final = 4 << 10
"""Bytes of a key in PEM: one of 4096 bits has 3,300."""
_LARGEST_EXPONENT: Final = 1 << 64
_KINDS: Final = (b"PRIVATE KEY", b"RSA PRIVATE KEY")


def block(pem: bytes, kind: bytes) -> bytes:
    """The first block of this kind, such as CERTIFICATE, with its first and last line; empty where there is none."""
    begin, end = (b"-----%b %b-----" % (word, kind) for word in (b"BEGIN", b"END"))
    start = pem.find(begin)
    stop = pem.find(end, start)
    return pem[start : stop + len(end)] + b"\n" if 0 <= start < stop else b""


def private_key(pem: bytes, where: str) -> RSAPrivateKey:
    """The first private key in a PEM text; ``where`` it stands, in words. To be run in a thread. Raises `AuthFailed`."""
    told = next(filter(None, (block(pem, kind) for kind in _KINDS)), b"")
    if len(told) > LONGEST:
        raise AuthFailed(f"{where} holds a private key that is too large; use RSA of {MOST_BITS} bits at most")
    with suppress(ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        found = load_pem_private_key(told, None, unsafe_skip_rsa_key_validation=True)
        if isinstance(found, RSAPrivateKey) and found.key_size <= MOST_BITS and _fits(found.private_numbers()):
            return found
    raise AuthFailed(f"{where} holds no RSA private key of {MOST_BITS} bits at most, in PEM and without a password")


def _fits(key: RSAPrivateNumbers) -> bool:
    """Whether its numbers belong together, so that none is larger than the modulus lets it be: what a signature takes is bounded."""
    p, q, d, e = key.p, key.q, key.d, key.public_numbers.e
    if p < 3 or q < 3 or p * q != key.public_numbers.n or not (p & q & e & 1 and 3 <= e < _LARGEST_EXPONENT):
        return False
    remains = (key.dmp1, key.dmq1, key.iqmp)
    return d < p * q and remains == (d % (p - 1), d % (q - 1), pow(q, -1, p)) and d * e % (p - 1) == d * e % (q - 1) == 1
