"""The admin API of a server for tests, as root: engines, keys, policies, tokens, log-ins, namespaces, limits."""

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final

OURS: Final = "x-bao-tests"
"""A header of each request of the harness, by which the audit log tells it from what is tested."""

_LIMIT_S = 60.0


class BaoError(Exception):
    """The server said no to the harness, or did not come up."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Admin:
    """Calls as root."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self.url = url
        self.tls = tls
        self.root_token = ""

    def call(self, verb: str, path: str, body: Mapping[str, Any] | None = None, *, namespace: str = "", token: str = "") -> dict[str, Any]:
        """One request as root; its answer, {} where there is none. Raises `BaoError`."""
        headers = {"X-Vault-Token": token or self.root_token, OURS: "1"} | ({"X-Vault-Namespace": namespace} if namespace else {})
        request = urllib.request.Request(
            f"{self.url}/v1/{path}", method=verb, headers=headers, data=None if body is None else json.dumps(body).encode()
        )
        try:
            with urllib.request.urlopen(request, timeout=_LIMIT_S, context=self.tls) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise BaoError(f"{verb} {path}: {error.code} {error.read().decode(errors='replace')}", error.code) from None
        return dict(json.loads(text)) if text else {}

    def enable_kv(self, mount: str, version: int = 2, *, namespace: str = "") -> str:
        """Mounts a key-value engine, and gives its mount."""
        self.call("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": str(version)}}, namespace=namespace)
        # A fresh engine of version 2 says "upgrading" for a moment.
        probe = f"{mount}/config" if version == 2 else f"{mount}/probe"
        deadline = time.monotonic() + _LIMIT_S
        while (status := self._status("GET", probe, namespace)) not in {200, 404}:
            if time.monotonic() > deadline:
                raise BaoError(f"the engine at {mount} is not ready", status)
            time.sleep(0.02)
        return mount

    def put(self, mount: str, key: str, data: Mapping[str, Any], *, version: int = 2, namespace: str = "") -> int:
        """Writes a key; the version that came of it, 0 in an engine of version 1."""
        if version == 1:
            self.call("POST", f"{mount}/{key}", data, namespace=namespace)
            return 0
        return int(self.call("POST", f"{mount}/data/{key}", {"data": data}, namespace=namespace)["data"]["version"])

    def get(self, mount: str, key: str, *, namespace: str = "") -> Any:
        return self.call("GET", f"{mount}/data/{key}", namespace=namespace)["data"]

    def delete(self, mount: str, key: str, versions: Sequence[int] = ()) -> None:
        """Deletes the newest version, or some, so that they can come back."""
        if versions:
            self.call("POST", f"{mount}/delete/{key}", {"versions": list(versions)})
        else:
            self.call("DELETE", f"{mount}/data/{key}")

    def undelete(self, mount: str, key: str, versions: Sequence[int]) -> None:
        self.call("POST", f"{mount}/undelete/{key}", {"versions": list(versions)})

    def destroy(self, mount: str, key: str, versions: Sequence[int]) -> None:
        self.call("PUT", f"{mount}/destroy/{key}", {"versions": list(versions)})

    def policy(self, name: str, rules: Mapping[str, Sequence[str]], *, namespace: str = "") -> str:
        """A policy of paths and their capabilities; gives its name."""
        text = json.dumps({"path": {path: {"capabilities": list(capabilities)} for path, capabilities in rules.items()}})
        self.call("PUT", f"sys/policies/acl/{name}", {"policy": text}, namespace=namespace)
        return name

    def token(self, policies: Sequence[str], ttl: str = "1h", **more: Any) -> str:
        """A new token; ``more`` is as the API has it, such as period or explicit_max_ttl."""
        return str(self.call("POST", "auth/token/create", {"policies": list(policies), "ttl": ttl, **more})["auth"]["client_token"])

    def revoke(self, token: str) -> None:
        self.call("POST", "auth/token/revoke", {"token": token})

    def revoke_logins(self, mount: str) -> None:
        """Revokes each token that came of a log-in there."""
        self.call("PUT", f"sys/leases/revoke-prefix/auth/{mount}/login")

    def enable_auth(self, kind: str, mount: str = "", *, namespace: str = "") -> str:
        """Enables a log-in method, and gives its mount."""
        self.call("POST", f"sys/auth/{mount or kind}", {"type": kind}, namespace=namespace)
        return mount or kind

    def approle(self, mount: str, role: str, policies: Sequence[str], *, namespace: str = "", **more: Any) -> tuple[str, str]:
        """A role, whose tokens are as ``more`` says (token_ttl, token_max_ttl); its role id and a secret id."""
        path = f"auth/{mount}/role/{role}"
        self.call("POST", path, {"token_policies": list(policies), **more}, namespace=namespace)
        role_id = self.call("GET", f"{path}/role-id", namespace=namespace)["data"]["role_id"]
        return role_id, self.call("POST", f"{path}/secret-id", {}, namespace=namespace)["data"]["secret_id"]

    def user(self, mount: str, name: str, password: str, policies: Sequence[str], **more: Any) -> None:
        """A user of the method userpass."""
        self.call("POST", f"auth/{mount}/users/{name}", {"password": password, "token_policies": list(policies), **more})

    def jwt_role(self, mount: str, role: str, public_key: str, policies: Sequence[str], **more: Any) -> None:
        """A role of the method jwt for tokens of audience vault that this key signed."""
        self.call("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [public_key]})
        bound = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"]}
        self.call("POST", f"auth/{mount}/role/{role}", bound | {"token_policies": list(policies), **more})

    def kubernetes_role(
        self, mount: str, role: str, api_server: str, ca_pem: bytes, policies: Sequence[str], *, reviewer: str = "", **more: Any
    ) -> None:
        """A role of the method kubernetes, whose tokens that API server reviews; any ServiceAccount has it unless ``more`` binds it.

        ``reviewer``: the token that asks for the review; '' is the one that logs in.
        """
        config = {"kubernetes_host": api_server, "kubernetes_ca_cert": ca_pem.decode(), "disable_local_ca_jwt": True}
        self.call("POST", f"auth/{mount}/config", config | ({"token_reviewer_jwt": reviewer} if reviewer else {}))
        bound = {"bound_service_account_names": "*", "bound_service_account_namespaces": "*"}
        self.call("POST", f"auth/{mount}/role/{role}", bound | {"token_policies": list(policies), **more})

    def cert_role(self, mount: str, role: str, ca_pem: bytes, policies: Sequence[str], **more: Any) -> None:
        """A role of the method cert for each certificate of that authority."""
        self.call("POST", f"auth/{mount}/certs/{role}", {"certificate": ca_pem.decode(), "token_policies": list(policies), **more})

    def describe(self, mount: str, key: str, **metadata: str) -> None:
        """Sets the custom metadata of a key."""
        self.call("POST", f"{mount}/metadata/{key}", {"custom_metadata": metadata})

    def namespace(self, name: str) -> str:
        self.call("POST", f"sys/namespaces/{name}")
        return name

    def limit_rate(self, name: str, path: str, rate: float, interval: str = "1s") -> None:
        """From now on more is answered with 429."""
        self.call("POST", f"sys/quotas/rate-limit/{name}", {"path": path, "rate": rate, "interval": interval})

    def unlimit_rate(self, name: str) -> None:
        self.call("DELETE", f"sys/quotas/rate-limit/{name}")

    def _status(self, verb: str, path: str, namespace: str) -> int:
        try:
            self.call(verb, path, namespace=namespace)
        except BaoError as error:
            return error.status
        return 200
