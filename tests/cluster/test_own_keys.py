"""Keys of the operator's own, on a real API server with the rights of its ServiceAccount: one for all replicas, whoever comes first."""

import asyncio

from controlplane.installation import NAMESPACE, SERVICE_ACCOUNT
from controlplane.plane import ControlPlane
from keyturn.kube.client import Client
from keyturn.kube.config import load
from keyturn.kube.own_keys import KEY_BYTES, OwnKeys
from keyturn.model.sensitive import Sensitive

NAME = "keyturn-fingerprint-key"


async def test_replicas_that_make_a_key_at_once_get_the_same(own_home: ControlPlane) -> None:
    clients = [Client(load(str(own_home.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT)))) for _ in range(4)]
    keepers = [OwnKeys(client, NAMESPACE) for client in clients]
    assert await keepers[0].find(NAME) is None
    made = await asyncio.gather(*(each.make(NAME) for each in keepers))
    assert made[0] is not None
    assert len(made[0]) == KEY_BYTES
    assert all(each == made[0] for each in made)
    assert await keepers[1].make(NAME, Sensitive(b"another")) == made[0], "what is there is never replaced"
    assert await keepers[2].find(NAME) == made[0]
    for client in clients:
        await client.close()
