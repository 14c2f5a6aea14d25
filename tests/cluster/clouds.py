"""The three clouds under their real names, behind a company's proxy and authority, and ways for a shop's objects to log in to them.

An operator is led there by its environment alone: names, addresses and checks in the product stay what they are.
"""

import asyncio
import base64
import itertools
import ssl
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cluster.api import Api, Json
from cluster.shop import Shop, encoded, secret_provider
from contract.aws import REGION, Aws
from contract.aws_rules import RefusedError
from contract.aws_sts import Identity, Role
from contract.servers import elsewhere
from keyturn.testing.azure_cloud import LOOPBACK, Cloud
from keyturn.testing.azure_entra import Trust
from keyturn.testing.azure_secrets import Rights
from keyturn.testing.google_secrets import GoogleSecrets
from keyturn.testing.google_tokens import Pool, Signer, TokenServices

ACCOUNT: Final = "123456789012"
PROJECT: Final = "shop"
POOL: Final = "//iam.googleapis.com/projects/424242/locations/global/workloadIdentityPools/clusters/providers/this"
NAMES: Final = ("aws", "azure", "google")
_AWS: Final = (f"secretsmanager.{REGION}.amazonaws.com", f"sts.{REGION}.amazonaws.com")
_TOKENS: Final = ("oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com")
_GOOGLE: Final = "secretmanager.googleapis.com"
_LIMIT_S: Final = 20.0
_numbers = itertools.count(1)


class Clouds:
    """An AWS account, an Azure tenant with the vault `shop`, and a Google project; each holds the same keys."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.azure = self._stack.enter_context(Cloud())
        self.vault = self.azure.vault("shop")
        self._loop = self._stack.enter_context(elsewhere())
        self.aws = Aws(loop=self._loop, tls=self.serving(*_AWS))
        self.services = TokenServices()
        self.google = GoogleSecrets(self.services.who, project=PROJECT)
        self.there(self._start())
        self.azure.beyond |= dict.fromkeys(_AWS, self.aws.port) | dict.fromkeys(_TOKENS, self._tokens_port) | {_GOOGLE: self.google.port}
        return self

    def __exit__(self, *_: object) -> None:
        self.there(self._stop())
        self._stack.close()

    def there(self, job: Coroutine[Any, Any, Any]) -> Any:
        """Has something done where the servers are."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(job, self._loop)
        return future.result(_LIMIT_S)

    def settings(self, folder: Path) -> dict[str, str]:
        """The environment of an operator that comes here; ``folder`` is for the authority's certificate."""
        trusted = folder / "authority.pem"
        self.azure.authority.cert_pem.write_to_path(trusted)
        return self.azure.environment(trusted) | {"AWS_EC2_METADATA_DISABLED": "true"}

    def put(self, cloud: str, key: str, value: str) -> None:
        """A new version of a key, made by somebody else."""
        match cloud:
            case "aws":
                self.there(self._put_aws(key, value))
            case "azure":
                self.vault.put(key, value)
            case "google":
                if key not in self.google.held.secrets:
                    self.google.held.create(key, {}, {})
                self.google.held.add(key, value.encode())

    def know(self, api: Api) -> None:
        """Whoever has a token of this cluster's is known from now on by the keys that it publishes, as each cloud asks for them."""
        issuer = str(api.call("GET", "/.well-known/openid-configuration")["issuer"])
        keys = {each["kid"]: _public(each) for each in api.call("GET", "/openid/v1/jwks")["keys"]}
        [self.issuer_pem] = pems = [key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for key in keys.values()]
        self.issuer = issuer
        self.azure.entra.takes_es256 = True  # by which this cluster signs, and few others do
        self.azure.entra.issuers[issuer] = dict(keys)
        self.services.pools[POOL] = Pool(issuer, dict(zip(keys, pems, strict=True)))

    async def _start(self) -> None:
        await self.aws.start()
        leaf = self.azure.authority.issue_cert(_GOOGLE)
        await self.google.start(leaf.private_key_pem.bytes(), b"".join(each.bytes() for each in leaf.cert_chain_pems))
        self._runner = web.AppRunner(self.services.app(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0, ssl_context=self.serving(*_TOKENS)).start()
        [(_, self._tokens_port)] = [address[:2] for address in self._runner.addresses]

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self.google.stop()
        await self.aws.stop()

    async def _put_aws(self, key: str, value: str) -> None:
        made = {"SecretString": value, "ClientRequestToken": f"seeded-{next(_numbers):032d}"}
        try:
            await self.aws.do("DescribeSecret", SecretId=key)
        except RefusedError:
            await self.aws.do("CreateSecret", Name=key, **made)
        else:
            await self.aws.do("PutSecretValue", SecretId=key, **made)

    def serving(self, *hosts: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.azure.authority.issue_cert(*hosts).configure_cert(context)
        return context


class CloudShop:
    """SecretProviders of a shop at each cloud, by credentials that the shop keeps or by ServiceAccounts of its own."""

    def __init__(self, clouds: Clouds, shop: Shop) -> None:
        self.clouds, self.shop = clouds, shop

    def credential(self, name: str, **texts: str) -> None:
        """A Secret of the namespace, made or replaced."""
        namespace = self.shop.namespace
        if self.shop.find(name) is None:
            metadata = {"name": name, "namespace": namespace}
            self.shop.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded(**texts)})
        else:
            self.shop.api.merge("Secret", namespace, name, {"data": encoded(**texts)})

    def renew(self, cloud: str) -> None:
        """Puts a new credential into the cloud's Secret; all earlier ones are worth nothing from now on."""
        match cloud:
            case "aws":
                key_id, secret = f"AKIASHOP{next(_numbers):012d}", self.shop.value("aws-secret")
                self.clouds.aws.sts.identities = {key_id: Identity(secret, f"arn:aws:iam::{ACCOUNT}:user/shop")}
                self.credential("login-aws", id=key_id, secret=secret)
            case "azure":
                entra = self.clouds.azure.entra
                entra.clients.clear()
                entra.expire()
                client = entra.add(secret=(secret := self.shop.value("azure-secret")))
                self.clouds.vault.rights = {client: Rights()}
                self.credential("login-azure", client=client, secret=secret)
            case "google":
                services, email = self.clouds.services, f"reader-{next(_numbers)}@{PROJECT}.iam.gserviceaccount.com"
                services.accounts.clear()
                services.end_all()
                self.clouds.google.grants.clear()
                self.clouds.google.grant(email, "accessor")
                self.credential("login-google", key=services.key_of(email, Signer(), "https://oauth2.googleapis.com/token"))

    def by_credential(self, cloud: str) -> Json:
        """The provider member that logs in by what `renew` keeps."""
        match cloud:
            case "aws":
                keys = {"accessKeyID": {"name": "login-aws", "key": "id"}, "secretAccessKey": {"name": "login-aws", "key": "secret"}}
                return {"awsSecretsManager": {"region": REGION, "auth": {"secretRef": keys}}}
            case "azure":
                auth = {"clientId": {"name": "login-azure", "key": "client"}, "clientSecret": {"name": "login-azure", "key": "secret"}}
                return {"azureKeyVault": self._vault | {"authSecretRef": auth}}
            case _:
                ref = {"secretAccessKeySecretRef": {"name": "login-google", "key": "key"}}
                return {"googleSecretManager": {"projectID": PROJECT, "auth": {"secretRef": ref}}}

    def by_account(self, cloud: str, account: str) -> Json:
        """The one that logs in as a ServiceAccount of the shop, in the same words for each but its name."""
        ref = {"serviceAccountRef": {"name": account}}
        match cloud:
            case "aws":
                return {"awsSecretsManager": {"region": REGION, "role": role_of(account), "auth": ref}}
            case "azure":
                auth = {"clientId": {"name": f"login-azure-{account}", "key": "client"}}
                return {"azureKeyVault": self._vault | {"authType": "WorkloadIdentity", **ref, "authSecretRef": auth}}
            case _:
                federation = {"audience": POOL, **ref}
                return {"googleSecretManager": {"projectID": PROJECT, "auth": {"workloadIdentityFederation": federation}}}

    def trust(self, cloud: str, account: str, *keys: str) -> None:
        """Has the cloud let a ServiceAccount of the shop read these keys."""
        subject = f"system:serviceaccount:{self.shop.namespace}:{account}"
        match cloud:
            case "aws":
                self.clouds.aws.sts.roles[role_of(account)] = Role(issuer=self.clouds.issuer_pem, subject=subject, reads=frozenset(keys))
            case "azure":
                client = self.clouds.azure.entra.add(trust=Trust(self.clouds.issuer, subject))
                self.clouds.vault.rights[client] = Rights(keys=frozenset(keys))
                self.credential(f"login-azure-{account}", client=client)
            case "google":
                for key in keys:
                    self.clouds.google.grant(f"principal:{POOL}/subject/{subject}", "accessor", key)

    def provider(self, name: str, member: Mapping[str, Any]) -> None:
        """A SecretProvider; orders are for it from now on."""
        self.shop.api.create(secret_provider(self.shop.namespace, name, dict(member)))
        self.shop.provider = {"kind": "SecretProvider", "name": name}

    @property
    def _vault(self) -> Json:
        return {"vaultUrl": f"https://{self.clouds.vault.host}", "tenantId": self.clouds.azure.entra.tenant}


def role_of(account: str) -> str:
    """The role that trusts a ServiceAccount."""
    return f"arn:aws:iam::{ACCOUNT}:role/{account}"


def _public(told: Mapping[str, Any]) -> EllipticCurvePublicKey:
    x, y = (int.from_bytes(base64.urlsafe_b64decode(told[name] + "=="), "big") for name in ("x", "y"))
    return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
