"""A namespace that others keep Secrets in, ServiceAccounts that may read some of them, and deploy/tenant-identity."""

import json
import secrets
from typing import Any

import yaml

from cluster.api import Api, Json
from cluster.shop import Shop, condition, encoded, secret_provider
from cluster.waiting import LIMIT_S, eventually
from controlplane.installation import NAMESPACE, ROOT, SERVICE_ACCOUNT
from controlplane.plane import ControlPlane

OPERATOR = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
LIST = "keyturn-tenant-identity"
EXAMPLE = "shop"


class Tenants:
    """Other people's Secrets in ``vault``, and whom of a shop's namespace they let read them."""

    def __init__(self, api: Api, plane: ControlPlane, shop: Shop) -> None:
        self.api, self.plane, self.shop = api, plane, shop
        self.vault = f"vault-{secrets.token_hex(4)}"

    def open(self) -> "Tenants":
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.vault}})
        return self

    def close(self) -> None:
        self.api.delete("Namespace", "", self.vault)

    def put(self, name: str, **texts: str) -> None:
        """A Secret in the vault, made or changed."""
        if self.api.find("Secret", self.vault, name) is None:
            self.put_raw(name, encoded(**texts))
        else:
            self.api.merge("Secret", self.vault, name, {"data": encoded(**texts)})

    def put_raw(self, name: str, data: dict[str, str]) -> None:
        """A new one, of what is in base64."""
        self.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": self.vault}, "data": data})

    def account(self, name: str, *may_read: str, may_list: bool = False) -> None:
        """A ServiceAccount of the shop, and the right to get these Secrets of the vault."""
        namespace = self.shop.namespace
        self.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}})
        group, role = "rbac.authorization.k8s.io", f"{namespace}-{name}"
        rules: list[Json] = [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": list(may_read), "verbs": ["get"]}]
        rules += [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}] if may_list else []
        head = {"apiVersion": f"{group}/v1", "metadata": {"name": role, "namespace": self.vault}}
        self.api.create({**head, "kind": "Role", "rules": rules if may_read else rules[1:]})
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        self.api.create(
            {**head, "kind": "RoleBinding", "roleRef": {"apiGroup": group, "kind": "Role", "name": role}, "subjects": [subject]}
        )

    def provider(self, account: str, name: str = "") -> None:
        """A SecretProvider that reads the vault as this ServiceAccount; orders are for it from now on."""
        self._provide(name or account, {"remoteNamespace": self.vault, "auth": {"serviceAccount": {"name": account}}})

    def other_cluster(self, server: str, authority: str, token: str, name: str = "other") -> None:
        """One that reads the vault at a server, by a token that is kept in a Secret."""
        login = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": self.shop.namespace}}
        self.api.create({**login, "data": encoded(token=token)})
        auth = {"token": {"bearerToken": {"name": "login"}}}
        self._provide(name, {"server": {"url": server, "caBundle": authority}, "remoteNamespace": self.vault, "auth": auth})

    def _provide(self, name: str, spec: Json) -> None:
        self.api.create(secret_provider(self.shop.namespace, name, {"kubernetes": spec}))
        self.shop.provider = {"kind": "SecretProvider", "name": name}

    def order(self, name: str, *data: tuple[str, str, str], **spec: Any) -> None:
        """A ManagedSecret of (key, Secret, property)."""
        entries = [{"secretKey": key, "remoteRef": {"key": remote} | ({"property": part} if part else {})} for key, remote, part in data]
        self.shop.order(name, {}, data=entries, **spec)

    def provider_ready(self, name: str, reason: str = "Valid", deadline_s: float = LIMIT_S) -> Json:
        """Waits for the provider's own Ready condition with this reason; the condition."""

        def ready() -> Json:
            return condition(self.api.get("SecretProvider", self.shop.namespace, name).get("status", {}), "Ready")

        def found() -> Json | None:
            return ready() if ready().get("reason") == reason else None

        return eventually(found, deadline_s, lambda: f"{name} has {reason}: {ready()}") or {}

    def ask(self, *arguments: str) -> str:
        """What the API server says to the operator that asks for a token of a ServiceAccount of the shop: '' where it gives one."""
        account = [] if arguments and not arguments[0].startswith("-") else ["default"]
        asked = ["create", "token", *account, *arguments, f"--as={OPERATOR}"]
        if not any(each.startswith("--namespace") for each in arguments):
            asked.append(f"--namespace={self.shop.namespace}")
        done = self.plane.kubectl(*asked, check=False)
        return done.stderr if done.returncode else ""

    def grant(self, namespace: str, *audiences: str) -> None:
        """Has deploy/tenant-identity list one more namespace, and more audiences than it does, and waits until it is in force."""
        known = (self.api.find("ConfigMap", NAMESPACE, LIST) or {"data": {"namespaces": ""}})["data"]["namespaces"].split()
        objects = list(yaml.safe_load_all(self.plane.kubectl("kustomize", str(ROOT / "deploy" / "tenant-identity")).stdout))
        for each in objects:
            if each["kind"] == "ConfigMap":
                assert each["data"]["namespaces"].split() == [EXAMPLE]
                each["data"]["namespaces"] = "\n".join([*known, namespace])
                each["data"]["audiences"] = "\n".join([*each["data"]["audiences"].split(), *audiences])
            elif each["metadata"].get("namespace") == EXAMPLE:
                each["metadata"]["namespace"] = namespace
        bundle = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.plane.kubectl("apply", "--filename=-", input=json.dumps(bundle))
        eventually(lambda: "ValidatingAdmissionPolicy" in self.ask("--duration=3600s"), what=lambda: self.ask("--duration=3600s"))
        eventually(lambda: not self.ask("--duration=600s"), what=lambda: self.ask("--duration=600s"))
