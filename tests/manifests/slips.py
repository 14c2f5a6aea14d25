"""What the API server accepts and the operator refuses: features that are not built yet, and what no schema can know.

Beside them stand the values that ask for nothing, which are accepted although their feature is not built.
"""

from dataclasses import dataclass
from typing import Final

from keyturn.model.ids import Kind
from manifests.bases import BASES, GOOGLE_POOL, Json
from manifests.case import put

_NOT_BUILT = "is not available in this version of Keyturn"
_FAKE = {"key": "a", "value": "b"}
_CLUSTER = "provider.googleSecretManager.auth.workloadIdentity"
_FEDERATION = "provider.googleSecretManager.auth.workloadIdentityFederation"
_AUDIENCE = f"{_FEDERATION}.audience"
_ITEM = {"configMap": {"name": "t", "items": [{"key": "a"}]}}


@dataclass(frozen=True, slots=True)
class Slip:
    """``says`` are words of our parser's message, which names ``where``, or the path itself."""

    base: str
    path: str
    value: object
    says: str = _NOT_BUILT
    where: str = ""

    @property
    def kind(self) -> Kind:
        return BASES[self.base][0]

    @property
    def spec(self) -> Json:
        return put(BASES[self.base][1], self.path, self.value)

    @property
    def named(self) -> str:
        return f"spec.{self.where or self.path}"

    def __str__(self) -> str:
        return f"{self.base}: {self.path}={str(self.value)[:24]}"


SLIPS: Final[tuple[Slip, ...]] = (
    Slip("from", "suspend", False, where="dataFrom"),
    Slip("managed", "delivery", {"mode": "Envelope", "serviceAccounts": ["shop"]}, where="delivery.mode"),
    Slip("managed", "rollout.restart", "Auto"),
    Slip("managed", "rollout.restart", "Always"),
    Slip("managed", "target.creationPolicy", "Merge", f"{_NOT_BUILT}; use Owner or Orphan"),
    Slip("managed", "target.creationPolicy", "CreateOrMerge"),
    Slip("managed", "target.creationPolicy", "None"),
    Slip("managed", "target.deletionPolicy", "Merge", f"{_NOT_BUILT}; use Retain or Delete"),
    Slip("managed", "target.immutable", True),
    Slip("managed", "target.template.data", {"DSN": "postgresql://{{ password }}@db"}),
    Slip("managed", "target.template.templateFrom", [_ITEM]),
    Slip("managed", "target.template.metadata.labels", {"rev": "{{ revision }}"}, where="target.template.metadata.labels[rev]"),
    Slip("managed", "target.template.metadata.annotations", {"a/b": "{% x %}"}, where="target.template.metadata.annotations[a/b]"),
    Slip("managed", "data[0].remoteRef.metadataPolicy", "Fetch", f"{_NOT_BUILT}; use None"),
    Slip("fake", "provider.fake.data", [_FAKE, _FAKE], "is there twice; remove one of the two", "provider.fake.data[1]"),
    Slip(
        "admits",
        "conditions[0].namespaceRegexes",
        ["^a", "("],
        "is not a regular expression; correct it",
        "conditions[0].namespaceRegexes[1]",
    ),
    Slip(
        "admits",
        "conditions[0].namespaceRegexes",
        ["^a", "(a+)+$"],
        "begin it with ^, repeat less, and repeat no group that has repetitions or alternatives in it",
        "conditions[0].namespaceRegexes[1]",
    ),
    Slip("azure", "provider.azureKeyVault.vaultUrl", "http://shop.vault.azure.net", "a vault answers by https alone"),
    Slip("azure", "provider.azureKeyVault.vaultUrl", "https://a.b.vault.azure.net", "is no vault of this cloud"),
    Slip("azure", "provider.azureKeyVault.tenantId", "a/b", "is no id and no domain of a tenant"),
    Slip("google", "provider.googleSecretManager.projectID", "shop/secrets/x", "is no id or number of a project"),
    Slip("google", "provider.googleSecretManager.location", "evil.test/", "is no region of Google Cloud"),
    *(
        Slip("google federation", _AUDIENCE, audience, "is not the full name of a pool's provider")
        for audience in ("//iam", "https://kubernetes.default.svc", "vault", f"{GOOGLE_POOL}/../x")
    ),
    Slip("google cluster", f"{_CLUSTER}.clusterProjectID", "123456789012", "is no id of a project"),
    Slip("google cluster", f"{_CLUSTER}.clusterLocation", "evil.test/", "is no region or zone of Google Cloud"),
    Slip("google cluster", f"{_CLUSTER}.clusterName", "prod/../x", "cannot be a cluster's name"),
    Slip("google config", _AUDIENCE, "vault", "is none that Google's token service has"),
    Slip("google federation", f"{_FEDERATION}.externalTokenEndpoint", "https://tokens.test", "is for credConfig alone"),
    Slip("google aws", f"{_FEDERATION}.awsSecurityCredentials.region", "evil.test/", "is no region of AWS"),
    Slip("aws", "provider.awsSecretsManager.region", "eu-west-1.evil.test/", "is no region of AWS"),
    Slip("aws", "provider.awsSecretsManager.role", "shop", "is no ARN of a role"),
    Slip("aws", "provider.awsSecretsManager.prefix", "a b", "has characters that no name of a secret has"),
    Slip(
        "cluster vault",
        "provider.hashicorpVault",
        {"server": "https://v", "auth": {"kubernetes": {"role": "r"}}, "caProvider": {"type": "ConfigMap", "name": "ca"}},
        "the ConfigMap ca of whoever reads would steer the log-in by the operator's own identity",
    ),
)

ASK_NOTHING: Final[tuple[Slip, ...]] = (
    Slip("managed", "dataFrom", []),
    Slip("managed", "delivery", {"mode": "Plain"}),
    Slip("managed", "delivery", {}),
    Slip("managed", "rollout.restart", "None"),
    Slip("managed", "suspend", False),
    Slip("managed", "target.immutable", False),
    Slip("managed", "target.adopt", False),
    Slip("managed", "target.template.data", {}),
    Slip("managed", "target.template.templateFrom", []),
    Slip("managed", "target.template.mergePolicy", "Merge"),
    Slip("managed", "target.template.mergePolicy", "Replace"),
    Slip("managed", "target.template.metadata", {"labels": {}, "annotations": {}}),
    Slip("managed", "data[0].remoteRef.metadataPolicy", "None"),
    Slip("cluster", "conditions", []),
)
