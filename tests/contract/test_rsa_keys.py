"""Private keys that a tenant wrote, at Google and Azure: what is none is refused at once, however long it would take to prove it."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from cryptography.x509 import load_pem_x509_certificate

from contract import azures, googles, long_keys
from contract.answers import get, read
from contract.files import all_that_hangs_on
from contract.lag import lagging
from keyturn.model.azure import CertificateLogin
from keyturn.model.errors import AuthFailed
from keyturn.model.google import KeyLogin
from keyturn.providers.rsa_keys import private_key
from keyturn.testing.azure_secrets import Rights

LAG_S = 1.0
"""Seconds. To prove a key of 16,384 bits took 26, and one hashed password 6; 4,096 bits take a third of a second."""

ROUNDS, MANY = (b"\x02\x03" + number.to_bytes(3) for number in (1_000_000, 0x7FFFFF))
"""How often a file has a password hashed, as it stands in there."""


@pytest.fixture
async def google() -> AsyncIterator[googles.Rig]:
    async with googles.rigged() as made:
        made.seed("db", b"kt-canary-db")
        yield made


@pytest.fixture
async def azure() -> AsyncIterator[azures.Rig]:
    with azures.rigged() as made:
        made.seed("db", "kt-canary-db")
        yield made
        await made.close()


def at_google(rig: googles.Rig, pem: bytes) -> KeyLogin:
    login = rig.key_login()
    told = json.loads(rig.secrets[login.key].reveal())
    rig.keep(login.key.name, json.dumps(told | {"private_key": pem.decode()}))
    return login


def at_azure(rig: azures.Rig, kept: bytes, client: str = "") -> CertificateLogin:
    return CertificateLogin(rig.principal(client), rig.keep("certificate", kept))


def refused(found: object, *says: str) -> None:
    assert isinstance(found, AuthFailed), found
    assert all(each in str(found) for each in says), found
    hanging = all_that_hangs_on(found)
    assert not any(word in hanging for word in ("kt-canary", "PRIVATE KEY", "MII"))


# -- what stood still -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8192, 16384])
async def test_a_key_that_takes_long_to_prove_holds_nobody_up(google: googles.Rig, azure: azures.Rig, bits: int) -> None:
    pem = long_keys.pem(long_keys.key(long_keys.numbers(bits)))
    certificate = long_keys.certificate(long_keys.key(long_keys.numbers(4096)))
    async with lagging() as seen:
        by_google, by_azure = await get(google.open(at_google(google, pem))), await get(azure.open(at_azure(azure, pem + certificate)))
    assert seen.worst_s < LAG_S
    refused(by_google, "the key in Secret/shop/", "RSA of 4096 bits at most")
    refused(by_azure, "Secret/shop/certificate, key value", "RSA of 4096 bits at most")
    assert google.services.asked == []
    assert azure.entra.asked == []


async def test_a_file_that_asks_for_many_hashes_holds_nobody_up_and_is_told_how_to_be_converted(azure: azures.Rig, tmp_path: Path) -> None:
    key = long_keys.key(long_keys.numbers(4096))
    (tmp_path / "pem").write_bytes(long_keys.pem(key) + long_keys.certificate(key))
    made = [
        "openssl",
        "pkcs12",
        "-export",
        "-in",
        "pem",
        "-out",
        "p12",
        "-passout",
        "pass:",
        "-keypbe",
        "NONE",
        "-certpbe",
        "NONE",
        "-iter",
        "1000000",
    ]
    await asyncio.to_thread(subprocess.run, made, cwd=tmp_path, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    kept = (tmp_path / "p12").read_bytes()
    assert ROUNDS in kept
    async with lagging() as seen:
        found = await get(azure.open(at_azure(azure, kept.replace(ROUNDS, MANY))))
    assert seen.worst_s < LAG_S
    refused(found, "Secret/shop/certificate, key value", "PKCS#12", "`openssl pkcs12 -in FILE -nodes -out FILE.pem`")
    assert azure.entra.asked == []


# -- whom it still lets in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
async def test_a_key_of_4096_bits_logs_in_in_both_forms_of_pem(google: googles.Rig, azure: azures.Rig, form: PrivateFormat) -> None:
    key = long_keys.key(long_keys.numbers(4096))
    pem, certificate = long_keys.pem(key, form), long_keys.certificate(key)
    login = at_google(google, pem)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    google.services.accounts[googles.READER] = dict.fromkeys(google.services.accounts[googles.READER], public)
    assert await read(google.open(login)) == b"kt-canary-db"
    client = azure.entra.add(certificate=certificate)
    azure.vault.rights[client] = Rights()
    for kept in (pem + certificate, certificate + pem, (certificate + pem).replace(b"\n", b"\r\n")):
        assert await read(azure.open(at_azure(azure, kept, client))) == b"kt-canary-db"


async def test_what_openssl_makes_of_a_pkcs12_file_logs_in(azure: azures.Rig, tmp_path: Path) -> None:
    key, other = (long_keys.key(long_keys.numbers(bits)) for bits in (4096, 8192))
    certificates = [long_keys.certificate(each) for each in (key, other)]
    leaf, authority = (load_pem_x509_certificate(each) for each in certificates)
    (tmp_path / "p12").write_bytes(pkcs12.serialize_key_and_certificates(b"shop", key, leaf, [authority], NoEncryption()))
    asked = ["openssl", "pkcs12", "-in", "p12", "-nodes", "-out", "pem", "-passin", "pass:"]
    await asyncio.to_thread(subprocess.run, asked, cwd=tmp_path, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    kept = (tmp_path / "pem").read_bytes()
    assert b"Bag Attributes" in kept
    client = azure.entra.add(certificate=certificates[0])
    azure.vault.rights[client] = Rights()
    assert await read(azure.open(at_azure(azure, kept, client))) == b"kt-canary-db"


# -- what is none -----------------------------------------------------------------------------------------------------------------


def test_a_key_of_two_numbers_that_are_no_primes_is_its_owners_mistake_alone() -> None:
    """To know of it is what takes long. Nobody believes what it signs."""
    assert private_key(long_keys.pem(long_keys.key(long_keys.made_of(3**640, 5**440))), "it").key_size < 4096


@pytest.mark.parametrize(
    "change",
    [
        lambda key: {"d": key.d + ((key.p - 1) * (key.q - 1) << 20)},
        lambda key: {"d": key.d + 2},
        lambda key: {"dmp1": key.dmp1 + key.p - 1},
        lambda key: {"dmq1": key.dmq1 + 2},
        lambda key: {"iqmp": key.iqmp + key.p},
        lambda key: {"p": key.p + 2},
        lambda key: {"p": 1, "q": key.p * key.q},
        lambda _: {"q": 0},
        lambda _: {"e": 1},
        lambda _: {"e": 65536},
        lambda _: {"e": (1 << 64) + 1},
        lambda key: {"n": key.public_numbers.n + 2},
        lambda _: {"n": -1},
    ],
)
def test_a_key_whose_numbers_do_not_belong_together_is_none(change: Callable[[rsa.RSAPrivateNumbers], dict[str, int]]) -> None:
    good = long_keys.numbers(4096)
    assert private_key(long_keys.pkcs1(good), "it").private_numbers() == good
    with pytest.raises(AuthFailed, match="it holds no RSA private key") as raised:
        private_key(long_keys.pkcs1(good, **change(good)), "it")
    assert "kt-canary" not in all_that_hangs_on(raised.value)


@pytest.mark.parametrize(
    ("pem", "says"),
    [
        (b"", "it holds no RSA private key of 4096 bits at most, in PEM and without a password"),
        (b"-----END PRIVATE KEY-----\nkt-canary\n-----BEGIN PRIVATE KEY-----", "it holds no RSA private key"),
        (b"-----BEGIN PRIVATE KEY-----\nkt-canary\n-----END PRIVATE KEY-----", "it holds no RSA private key"),
        (b"-----BEGIN PRIVATE KEY-----\n%b\n-----END PRIVATE KEY-----" % (b"kt-canary" * 500), "it holds a private key that is too large"),
        (b"-----BEGIN PRIVATE KEY-----\n" * 40_000, "it holds no RSA private key"),
        (ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "it holds no RSA"),
        (
            long_keys.key(long_keys.numbers(4096)).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"kt-canary")),
            "without a password",
        ),
        (
            long_keys.key(long_keys.numbers(4096)).private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"kt-canary")
            ),
            "without a password",
        ),
    ],
    ids=["none", "backwards", "prose", "long prose", "beginnings", "other", "encrypted", "encrypted of old"],
)
def test_what_is_no_such_key_is_told_without_a_word_of_it(pem: bytes, says: str) -> None:
    with pytest.raises(AuthFailed) as raised:
        private_key(pem, "it")
    refused(raised.value, says)


async def test_a_certificate_that_is_none_and_a_file_that_is_too_long_say_so(azure: azures.Rig) -> None:
    pem = long_keys.pem(long_keys.key(long_keys.numbers(4096)))
    certificate = long_keys.certificate(long_keys.key(long_keys.numbers(4096)))
    none = b"-----BEGIN CERTIFICATE-----\nkt-canary\n-----END CERTIFICATE-----"
    for kept, says in ((pem, "holds no certificate"), (pem + none, "holds no certificate"), (pem + certificate * 40, "longer than 64 KiB")):
        refused(await get(azure.open(at_azure(azure, kept))), f"Secret/shop/certificate, key value, {'is ' * ('longer' in says)}{says}")
    assert azure.entra.asked == []
