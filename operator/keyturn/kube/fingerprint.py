"""Keeps the fingerprint key: a Secret of the operator's own namespace, made once and never replaced."""

import base64
import secrets
from contextlib import suppress

import msgspec

from keyturn.decide.fingerprint import KEY_BYTES, FingerprintKey
from keyturn.kube.client import METADATA, Client
from keyturn.kube.secrets import SecretCache, collection
from keyturn.model.errors import AlreadyExists, FingerprintKeyChanged
from keyturn.model.ids import SecretRef
from keyturn.model.sensitive import Sensitive

NAME = "keyturn-fingerprint-key"
_MEMBER = "key"


async def load(client: Client, namespace: str, *, may_make: bool) -> FingerprintKey:
    """The key, made where there is none yet and ``may_make``. Raises `FingerprintKeyChanged` where there is no usable one."""
    reader, ref = SecretCache(client), SecretRef(namespace, NAME)
    data = await reader.read(ref)
    if data is None and may_make:
        # Another replica may be first; its key holds.
        with suppress(AlreadyExists):
            await _make(client, namespace)
        data = await reader.read(ref)
    if data is None:
        raise FingerprintKeyChanged(f"{ref} is gone")
    try:
        return FingerprintKey.of(data[_MEMBER])
    except (KeyError, ValueError):
        raise FingerprintKeyChanged(f"{ref} must hold {KEY_BYTES} bytes under {_MEMBER!r}; restore it from a backup") from None


async def _make(client: Client, namespace: str) -> None:
    key = Sensitive(secrets.token_bytes(KEY_BYTES))
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/part-of": "keyturn"}},
        "type": "Opaque",
        "data": {_MEMBER: base64.b64encode(key.reveal()).decode()},
    }
    await client.request(
        "POST", collection(namespace), msgspec.json.encode(body), query={"fieldManager": "keyturn"}, accept=METADATA, what=f"create {NAME}"
    )
