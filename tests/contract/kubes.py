"""What the tests of the kubernetes provider stand on: a namespace and identities in a real API server, and a front before it."""

import asyncio
import base64
import itertools
import json
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import trustme
from aiohttp import web

from contract.kept import Kept
from contract.servers import Front, elsewhere
from controlplane.plane import ControlPlane
from controlplane.servers import LOOPBACK
from keyturn.decide.address import AddressRules
from keyturn.kube.client import Client
from keyturn.kube.config import ClusterConfig, Token
from keyturn.kube.tenant_tokens import TokenRequests
from keyturn.model.ids import KeyPair, KeyRef
from keyturn.model.kubernetes import OtherCluster
from keyturn.model.sensitive import Sensitive
from keyturn.model.tenant import ServiceAccount
from keyturn.providers.dial import Dialer
from keyturn.providers.kubernetes import KubernetesProvider
from keyturn.providers.kubernetes_session import Entrance, Session, Stranger, Tenant
from keyturn.providers.room import Room

Json = dict[str, Any]
Answering = Callable[[web.Request], web.Response | None]

RBAC = "rbac.authorization.k8s.io"
OPERATOR = ServiceAccount("default", "keyturn-contract")
READER = "reader"
PROSE = "kt-canary-prose"
_numbers = itertools.count(1)


def refusal(status: int, **headers: str) -> web.Response:
    """As an API server refuses, with words of its own."""
    told = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": PROSE, "reason": PROSE, "code": status}
    return web.json_response(told, status=status, headers=headers)


@dataclass(kw_only=True)
class Gate(Front):
    """Stands before the API server, and answers in its place where it is told to. ``dead`` are tokens that it takes no more."""

    plane: ControlPlane
    answering: Answering = lambda _: None
    asked: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    authority: trustme.CA = field(default_factory=trustme.CA)
    clients: trustme.CA | None = None
    """Who signs clients' certificates, where it lets nobody in without one."""

    @property
    def tokens(self) -> set[str]:
        """Those that it has seen."""
        return {headers["Authorization"] for _, _, headers in self.asked if "Authorization" in headers}

    def trusting(self) -> ssl.SSLContext:
        """What a client of it needs."""
        tls = ssl.create_default_context()
        self.authority.configure_trust(tls)
        return tls

    async def listen(self) -> None:
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(LOOPBACK).configure_cert(self.tls)
        if self.clients is not None:
            self.tls.verify_mode = ssl.CERT_REQUIRED
            self.clients.configure_trust(self.tls)
        await super().listen()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs, dict(request.headers)))
        if await self.was_silent():
            return refusal(503)
        if request.headers.get("Authorization") in self.dead:
            return refusal(401)
        if (answer := self.answering(request)) is not None:
            return answer
        headers = {name: value for name, value in request.headers.items() if name in {"Accept", "Authorization", "Content-Type"}}
        tls = ssl.create_default_context(cafile=str(self.plane.ca_file))
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, self.plane.url + request.path_qs, headers=headers, data=await request.read() or None, ssl=tls
            ) as passed,
        ):
            return web.Response(status=passed.status, body=await passed.read(), content_type="application/json")


@dataclass
class Cluster(Kept):
    """A namespace whose Secrets a ServiceAccount of its own may get and list, and providers that ask as that one.

    They ask at ``front``; their tokens are asked for at ``mint``.
    """

    plane: ControlPlane
    namespace: str = field(default_factory=lambda: f"contract-{secrets.token_hex(4)}")
    opened: list[KubernetesProvider] = field(default_factory=list)
    now_s: float = 1000.0

    async def start(self) -> None:
        self._stack = ExitStack()
        loop = self._stack.enter_context(elsewhere())
        self.front, self.mint = Gate(loop=loop, plane=self.plane), Gate(loop=loop, plane=self.plane)
        await self.front.listen()
        await self.mint.listen()
        token = Token(fixed=Sensitive.of(await asyncio.to_thread(self._prepare)))
        self._client = Client(ClusterConfig(self.mint.url, self.mint.trusting(), token))
        self.tokens = TokenRequests(self._client, token)

    def _prepare(self) -> str:
        self._make("/api/v1/namespaces", "Namespace", self.namespace, namespaced=False)
        self.account(READER)
        self.let()
        self._make(f"/api/v1/namespaces/{OPERATOR.namespace}/serviceaccounts", "ServiceAccount", OPERATOR.name, OPERATOR.namespace)
        admin = {"roleRef": _ref("ClusterRole", "cluster-admin"), "subjects": [_subject(OPERATOR)]}
        self._make(f"/apis/{RBAC}/v1/clusterrolebindings", "ClusterRoleBinding", OPERATOR.name, namespaced=False, **admin)
        return self.plane.new_token(OPERATOR.namespace, OPERATOR.name)

    async def stop(self) -> None:
        for provider in self.opened:
            await provider.close()
        await self._client.close()
        await self.front.leave()
        await self.mint.leave()
        self._stack.close()
        await asyncio.to_thread(self.call, "DELETE", f"/api/v1/namespaces/{self.namespace}")

    def call(self, verb: str, path: str, body: Json | None = None, *, may_fail: tuple[int, ...] = ()) -> Json:
        """As the administrator."""
        status, answer = self.plane.request(verb, path, body)
        assert status < 300 or status in may_fail, (verb, path, status, answer)
        return dict(answer) if isinstance(answer, dict) else {}

    def account(self, name: str) -> None:
        self._make(f"/api/v1/namespaces/{self.namespace}/serviceaccounts", "ServiceAccount", name)

    def let(self, *names: str, may_list: bool = True) -> None:
        """From now on the reader may get these Secrets, and all where none is named; returns when that is in force."""
        get = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]} | ({"resourceNames": list(names)} if names else {})
        rules = [get, *([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}] if may_list else [])]
        group = f"/apis/{RBAC}/v1/namespaces/{self.namespace}"
        self.call("DELETE", f"{group}/roles/{READER}", may_fail=(404,))
        self._make(f"{group}/roles", "Role", READER, rules=rules)
        self._make(f"{group}/rolebindings", "RoleBinding", READER, roleRef=_ref("Role", READER), subjects=[_subject(self.reader)])
        told = [(name, "get", True) for name in names or ("any",)] + [("", "list", may_list)]
        for name, verb, wanted in [*told, *([("none-of-them", "get", False)] if names else [])]:
            while self._may(verb, name) is not wanted:
                pass

    def _may(self, verb: str, name: str) -> bool:
        asked = {"verb": verb, "group": "", "resource": "secrets", "namespace": self.namespace, "name": name}
        user = f"system:serviceaccount:{self.namespace}:{READER}"
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": user, "resourceAttributes": asked}}
        return bool(self.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)["status"]["allowed"])

    @property
    def reader(self) -> ServiceAccount:
        return ServiceAccount(self.namespace, READER)

    def put(self, name: str, data: Mapping[str, bytes], labels: Mapping[str, str] | None = None) -> None:
        """Makes or replaces a Secret."""
        path = f"/api/v1/namespaces/{self.namespace}/secrets"
        metadata: Json = {"name": name, "labels": dict(labels or {})}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {key: _b64(value) for key, value in data.items()}}
        status, answer = self.plane.request("POST", path, body)
        if status == 409:
            self.call("PUT", f"{path}/{name}", body)
        else:
            assert status == 201, answer

    def remove(self, name: str) -> None:
        self.call("DELETE", f"/api/v1/namespaces/{self.namespace}/secrets/{name}")

    def tenant(self, account: str = READER) -> Tenant:
        """The entrance of a ServiceAccount of ours, through the front."""
        who = ServiceAccount(self.namespace, account)
        return Tenant(who, self.tokens, self.front.url, self.front.trusting(), Dialer(None, is_direct=True), chance=lambda: 0.0)

    def stranger(self, token: str = "", authority: bytes = b"", rules: AddressRules | None = None) -> Stranger:
        """The entrance of whoever has a token, of the reader's where none is given, through the front."""
        word = token or self.plane.new_token(self.namespace, READER)
        return self.at_front(self.keep(f"login-{next(_numbers)}", word), authority, rules)

    def at_front(self, login: KeyRef | KeyPair, authority: bytes = b"", rules: AddressRules | None = None) -> Stranger:
        """The same by any log-in."""
        trusted = Sensitive(authority or self.front.authority.cert_pem.bytes())
        return Stranger(OtherCluster(self.front.url, login, trusted), self, Dialer(rules, "shop"))

    def open(self, entrance: Entrance | None = None) -> KubernetesProvider:
        session = Session(entrance or self.tenant(), clock=lambda: self.now_s)
        self.opened.append(KubernetesProvider(self.namespace, session, Room(), "shop"))
        return self.opened[-1]

    def _make(self, path: str, kind: str, name: str, namespace: str = "", *, namespaced: bool = True, **more: Any) -> None:
        group = RBAC in path
        metadata = {"name": name} | ({"namespace": namespace or self.namespace} if namespaced else {})
        self.call(
            "POST", path, {"apiVersion": f"{RBAC}/v1" if group else "v1", "kind": kind, "metadata": metadata, **more}, may_fail=(409,)
        )


@asynccontextmanager
async def cluster(plane: ControlPlane) -> AsyncIterator[Cluster]:
    made = Cluster(plane)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def _ref(kind: str, name: str) -> Json:
    return {"apiGroup": RBAC, "kind": kind, "name": name}


def _subject(who: ServiceAccount) -> Json:
    return {"kind": "ServiceAccount", "name": who.name, "namespace": who.namespace}


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def spelled(data: Mapping[str, str]) -> bytes:
    """As the provider gives a Secret whose values are texts."""
    return json.dumps(dict(sorted(data.items())), ensure_ascii=False, separators=(",", ":")).encode()
