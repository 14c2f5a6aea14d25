"""A client's certificate on its way to OpenSSL: through memory, and by no file that has a name."""

import base64
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from keyturn.keypair import load_pair
from keyturn.kube import config
from keyturn.model.errors import AuthFailed
from keyturn.model.sensitive import Sensitive
from keyturn.providers.tls import context

opened: list[object] = []
_is_heard = False


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _is_heard and event in {"open", "os.mkdir", "os.link", "os.rename", "os.symlink", "tempfile.mkstemp", "tempfile.mkdtemp"}:
        opened.append(arguments[0])


@pytest.fixture
def heard() -> Iterator[list[object]]:
    """What is opened or made meanwhile; a file without a name is its number."""
    global _is_heard  # noqa: PLW0603  # Python keeps a hook for good
    if not opened:
        sys.addaudithook(_hear)
    opened.clear()
    _is_heard = True
    yield opened
    _is_heard = False


Loading = Callable[[bytes, bytes, Path], object]


def by_vault(certificate: bytes, key: bytes, _: Path) -> object:
    try:
        return context(None, "caBundle", (Sensitive(certificate), Sensitive(key)), "the client certificate")
    except AuthFailed as refused:
        return str(refused)


def by_kubeconfig(certificate: bytes, key: bytes, folder: Path) -> object:
    user = {name: base64.b64encode(pem).decode() for name, pem in (("client-certificate-data", certificate), ("client-key-data", key))}
    whole = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "c", "user": user}],
    }
    (folder / "kubeconfig").write_text(json.dumps(whole))
    try:
        return config.load(str(folder / "kubeconfig"))
    except config.NoCluster as refused:
        return str(refused)


@pytest.mark.parametrize("load", [by_vault, by_kubeconfig])
def test_no_file_holds_a_key(load: Loading, heard: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))  # a pod has no such folder either
    leaf = trustme.CA().issue_cert("app.shop.svc")
    certificate, key = leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()
    (tmp_path / "kubeconfig").touch()
    heard.clear()
    assert not isinstance(load(certificate, key, tmp_path), str)
    assert "no pair in PEM" in str(load(certificate, b"kt-canary-no-key", tmp_path))
    named = {str(path) for path in heard if not isinstance(path, int)}
    assert named <= {str(tmp_path / "kubeconfig")}
    assert len(heard) > len(named)


def test_an_encrypted_key_is_no_pair_and_asks_nobody_for_a_password(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", None)
    leaf = trustme.CA().issue_cert("app.shop.svc")
    key = leaf.private_key_pem.bytes()
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

    locked = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"kt-canary-password")
    )
    tls = ssl.create_default_context()
    assert not load_pair(tls, leaf.cert_chain_pems[0].bytes(), locked)
    assert load_pair(tls, leaf.cert_chain_pems[0].bytes(), key)


@pytest.mark.parametrize("order", [1, -1])
def test_a_key_that_says_how_often_no_password_is_to_be_hashed_holds_no_thread(order: int, tmp_path: Path):
    leaf = trustme.CA().issue_cert("app.shop.svc")
    certificate = leaf.cert_chain_pems[0].bytes()
    (tmp_path / "key").write_bytes(leaf.private_key_pem.bytes())
    made = ["openssl", "pkcs8", "-topk8", "-in", "key", "-iter", "1000000", "-passout", "pass:kt-canary", "-outform", "DER"]
    told = subprocess.run(made, cwd=tmp_path, check=True, stdin=subprocess.DEVNULL, capture_output=True).stdout
    few, many = (number.to_bytes(3) for number in (1_000_000, 0x7FFFFF))
    assert few in told
    body = base64.encodebytes(told.replace(few, many))
    locked = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n%b-----END ENCRYPTED PRIVATE KEY-----\n" % body
    began_s = time.perf_counter()
    assert not load_pair(ssl.create_default_context(), *(certificate, locked)[::order])
    assert time.perf_counter() - began_s < 1  # it was 3, and may be minutes
