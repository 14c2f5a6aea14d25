"""RSA keys of any length without a search for primes: made of two that RFC 3526 and RFC 7919 tell by formulas. Nobody's secret."""

import base64
import datetime as dt
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

EXPONENT: Final = 65537
_ADDED: Final = {2048: (124476, 560316), 4096: (240904, 5736041), 8192: (4743158, 10965728)}
"""By the bits of a prime: what the two documents add to the digits of pi and of e."""


@cache
def numbers(bits: int) -> rsa.RSAPrivateNumbers:
    """A key of twice 2048, 4096 or 8192 bits."""
    size = bits // 2
    to_pi, to_e = _ADDED[size]
    p = 2**size - 2 ** (size - 64) - 1 + 2**64 * (_pi(size - 130) + to_pi)
    q = 2**size - 2 ** (size - 64) - 1 + 2**64 * (_e(size - 130) + to_e)
    return made_of(p, q)


def made_of(p: int, q: int) -> rsa.RSAPrivateNumbers:
    d = pow(EXPONENT, -1, (p - 1) * (q - 1))
    parts = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *parts, rsa.RSAPublicNumbers(EXPONENT, p * q))


def key(found: rsa.RSAPrivateNumbers) -> rsa.RSAPrivateKey:
    return found.private_key(unsafe_skip_rsa_key_validation=True)


def pem(found: rsa.RSAPrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return found.private_bytes(Encoding.PEM, form, NoEncryption())


def pkcs1(found: rsa.RSAPrivateNumbers, **changed: int) -> bytes:
    """The same by hand, since no library writes numbers that do not belong together."""
    public = found.public_numbers
    parts = {"n": public.n, "e": public.e, "d": found.d, "p": found.p, "q": found.q, "dmp1": found.dmp1, "dmq1": found.dmq1}
    body = b"".join(_integer(number) for number in (0, *(parts | {"iqmp": found.iqmp} | changed).values()))
    return b"-----BEGIN RSA PRIVATE KEY-----\n%b-----END RSA PRIVATE KEY-----\n" % base64.encodebytes(_framed(0x30, body))


def _integer(number: int) -> bytes:
    return _framed(2, number.to_bytes(number.bit_length() // 8 + 1, signed=True))


def _framed(tag: int, body: bytes) -> bytes:
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8)
    return bytes([tag, *([len(body)] if len(body) < 0x80 else [0x80 | len(length), *length])]) + body


def certificate(found: rsa.RSAPrivateKey) -> bytes:
    """One of its own, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(name, name, found.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1))
    return made.sign(found, hashes.SHA256()).public_bytes(Encoding.PEM)


def _e(bits: int) -> int:
    """So many binary digits of e behind the point, and those before it."""
    total = term = 1 << (bits + 64)
    count = 1
    while term := term // count:
        total, count = total + term, count + 1
    return total >> 64


def _pi(bits: int) -> int:
    """The same of pi, by Machin's formula."""
    return 4 * (4 * _arctan(5, bits + 64) - _arctan(239, bits + 64)) >> 64


def _arctan(of: int, bits: int) -> int:
    """The arc tangent of 1/of."""
    total = term = (1 << bits) // of
    count, sign = 3, -1
    while term := term // (of * of):
        total, count, sign = total + sign * (term // count), count + 2, -sign
    return total
