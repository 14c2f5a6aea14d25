"""Keeps the master key of the operator's database where none was given: a Secret of its namespace, made once and never replaced."""

import base64
import secrets
from typing import Final

from keyturn.kube.client import Client
from keyturn.kube.own_keys import MEMBER, OwnKeys
from keyturn.model.keys import SECRET_KEY, KeysRefused, MasterKeys
from keyturn.model.sensitive import Sensitive

NAME: Final = "keyturn-master-key"
PREVIOUS: Final = "key-previous"
"""What the key before is filed under, while another one is brought in."""

_BYTES: Final = 48


async def load(client: Client, namespace: str, *, may_make: bool) -> MasterKeys:
    """The keys in the Secret; one is made where there is none yet and ``may_make``: what was written is under a key that is lost.

    Raises `KeysRefused`, and a `ClusterError` where the API server does not give it.
    """
    keys, where = OwnKeys(client, namespace), f"Secret/{namespace}/{NAME}"
    data = await keys.read(NAME)
    if data is None and may_make:
        await keys.make(NAME, Sensitive(base64.b64encode(secrets.token_bytes(_BYTES))))
        data = await keys.read(NAME)
    if data is None:
        told = f"the database is not empty, and {where}, which would hold its master key, is not there"
        raise KeysRefused(f"{told}: restore that Secret from a backup, or give the key as {SECRET_KEY}")
    found = {name: Sensitive(data[name].reveal().strip()) for name in (MEMBER, PREVIOUS) if name in data}
    if not found.get(MEMBER):
        raise KeysRefused(f"{where} must hold the master key of the database under {MEMBER!r}; restore it from a backup")
    return MasterKeys.kept(where, found[MEMBER], found.get(PREVIOUS))
