"""Keeps the fingerprint key: a Secret of the operator's own namespace, made once and never replaced."""

from typing import Final

from keyturn.decide.fingerprint import KEY_BYTES, FingerprintKey
from keyturn.kube.client import Client
from keyturn.kube.own_keys import MEMBER, OwnKeys
from keyturn.model.errors import FingerprintKeyChanged

NAME: Final = "keyturn-fingerprint-key"


async def load(client: Client, namespace: str, *, may_make: bool) -> FingerprintKey:
    """The key, made where there is none yet and ``may_make``. Raises `FingerprintKeyChanged` where there is no usable one."""
    keys, where = OwnKeys(client, namespace), f"Secret/{namespace}/{NAME}"
    key = await keys.find(NAME)
    if key is None and may_make:
        key = await keys.make(NAME)
    if key is None:
        raise FingerprintKeyChanged(f"{where} is gone")
    try:
        return FingerprintKey.of(key)
    except ValueError:
        raise FingerprintKeyChanged(f"{where} must hold {KEY_BYTES} bytes under {MEMBER!r}; restore it from a backup") from None
