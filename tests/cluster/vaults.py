"""A shop whose values are in a real OpenBao, and the flags with which an operator may reach it."""

import base64
from typing import Any

from bao import Bao
from cluster.api import Json
from cluster.shop import Shop, condition, encoded, secret_provider
from cluster.waiting import LIMIT_S, eventually

LOOPBACK_TOO = ("--allow-addresses=public", "--allow-addresses=private", "--allow-addresses=127.0.0.0/8")
APPROLE = "approle"


class VaultShop:
    """An engine and an AppRole for one namespace; both are called as the namespace is."""

    def __init__(self, bao: Bao, shop: Shop) -> None:
        self.bao = bao
        self.shop = shop
        self.mount = bao.enable_kv(shop.namespace)
        self.auth_mount = bao.enable_auth(APPROLE, f"{APPROLE}-{shop.namespace}")
        self.policy = bao.policy(shop.namespace, {f"{self.mount}/data/app/*": ["read"]})

    def put(self, key: str, **values: str) -> int:
        """Writes a key; its version."""
        return self.bao.put(self.mount, key, values)

    def credential(self, name: str, **texts: str) -> None:
        """A Secret of the namespace, made or replaced."""
        made = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": self.shop.namespace},
            "data": encoded(**texts),
        }
        if self.shop.find(name) is None:
            self.shop.api.create(made)
        else:
            self.shop.api.merge("Secret", self.shop.namespace, name, {"data": made["data"]})

    def log_in_by_approle(self, **role: Any) -> Json:
        """The auth of a provider object, by a new secret id that is in the Secret `approle`."""
        role_id, secret_id = self.bao.approle(self.auth_mount, "app", [self.policy], **role)
        self.credential(APPROLE, id=secret_id)
        return {"appRole": {"path": self.auth_mount, "roleId": role_id, "secretRef": {"name": APPROLE, "key": "id"}}}

    def log_in_by_token(self) -> Json:
        self.credential("token", token=self.bao.token([self.policy]))
        return {"tokenSecretRef": {"name": "token", "key": "token"}}

    def provider(self, auth: Json, name: str = "vault", **more: Any) -> Json:
        """A SecretProvider; orders are for it from now on."""
        vault = {"server": self.bao.url, "path": self.mount, "caBundle": base64.b64encode(self.bao.ca_pem).decode(), "auth": auth, **more}
        made = self.shop.api.create(secret_provider(self.shop.namespace, name, {"hashicorpVault": vault}))
        self.shop.provider = {"kind": "SecretProvider", "name": name}
        return made

    def provider_ready(self, name: str = "vault", reason: str = "Valid", deadline_s: float = LIMIT_S) -> Json:
        """Waits for the provider's own Ready condition with this reason; the condition."""

        def ready() -> Json:
            return condition(self.shop.api.get("SecretProvider", self.shop.namespace, name).get("status", {}), "Ready")

        def found() -> Json | None:
            return ready() if ready().get("reason") == reason else None

        return eventually(found, deadline_s, lambda: f"{name} has {reason}: {ready()}") or {}

    def order(self, name: str, key: str = "app/db", member: str = "password", version: str = "", **spec: Any) -> None:
        """A ManagedSecret with one member of one key as its `password`."""
        remote = {"key": key, "property": member} | ({"version": version} if version else {})
        self.shop.order(name, {}, data=[{"secretKey": "password", "remoteRef": remote}], **spec)

    def ready(self) -> dict[str, Json]:
        """The Ready conditions of all, by name."""
        found = self.shop.api.items("ManagedSecret", self.shop.namespace)
        return {m["metadata"]["name"]: condition(m["status"], "Ready") for m in found}
