"""The keys of the operator's database for a command: as they were given to it, else as the operator keeps them in its namespace.

The latter in the operator's own pod, or with the variables that say where it is: `KEYTURN_OPERATOR_NAMESPACE`, `KEYTURN_KUBECONFIG`.
"""

import os
from collections.abc import Sequence

from keyturn.cli.needs import need
from keyturn.decide.defaults import OPERATOR_NAMESPACE, has_operators_keys
from keyturn.model.keys import MasterKeys
from keyturn.model.note import VerifierKey


def has_keys() -> bool:
    """Whether there are any: given, or kept."""
    from keyturn.store.custody import are_given

    return are_given() or has_operators_keys(os.environ)


async def kept_keys(*, may_make: bool) -> MasterKeys:
    """Those of the operator. Raises a `KeyturnError` where they cannot be had."""
    if not has_operators_keys(os.environ):
        return MasterKeys.of({})  # which says what to give
    need("operator", "the master key in the cluster")
    from keyturn.kube.client import Client
    from keyturn.kube.config import load
    from keyturn.kube.master_key import load as load_key

    client = Client(load(os.environ.get("KEYTURN_KUBECONFIG", ""), os.environ.get("KEYTURN_CONTEXT", "")))
    try:
        return await load_key(client, os.environ[OPERATOR_NAMESPACE].strip(), may_make=may_make)
    finally:
        await client.close()


async def master_keys() -> MasterKeys:
    """Those of a database that is filled. Raises as `kept_keys`, and as given ones are refused."""
    from keyturn.store.custody import are_given, shut, take_master_keys

    if are_given():
        return take_master_keys()
    shut()
    return await kept_keys(may_make=False)


async def audit_keys() -> Sequence[VerifierKey]:
    """The public keys by which what is signed in the audit trail is ours; none where none is at hand. Raises a `KeyturnError`."""
    from keyturn.store.audit_keys import kept_key, take_audit_keys

    if (given := take_audit_keys().public) or not has_operators_keys(os.environ):
        return given
    need("operator", "the key of the audit trail in the cluster")
    from keyturn.kube.client import Client
    from keyturn.kube.config import load
    from keyturn.kube.own_keys import OwnKeys

    client = Client(load(os.environ.get("KEYTURN_KUBECONFIG", ""), os.environ.get("KEYTURN_CONTEXT", "")))
    try:
        made = await kept_key(OwnKeys(client, os.environ[OPERATOR_NAMESPACE].strip()))
    finally:
        await client.close()
    return (made.verifier,) if made is not None else ()
