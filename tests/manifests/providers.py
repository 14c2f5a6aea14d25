"""SecretProviders and ClusterSecretProviders that the API server refuses."""

from typing import Final

from manifests.bases import GOOGLE_POOL, REF
from manifests.case import ABSENT, EMPTY, TOO_LONG, Case, no_key, required, unknown_word

_AWS, _AZURE = "provider.awsSecretsManager", "provider.azureKeyVault"
_GOOGLE, _VAULT = "provider.googleSecretManager", "provider.hashicorpVault"

CASES: Final[tuple[Case, ...]] = (
    # Both provider kinds
    Case("fake", "provider.fake", {"data": [{"key": "a", "value": "b"}]}, ABSENT, "exactly one provider is needed", where="provider"),
    Case("cluster", "provider.file", ABSENT, {"path": "x"}, "keep one, and make another object for another provider", where="provider"),
    unknown_word("fake", "access", "ReadWrite"),
    *(
        Case(base, "access", "ReadOnly", "ReadWrite", "access: ReadWrite is not for env, kubernetes and a file of format JSON", where=".")
        for base in ("env", "kubernetes", "remote kubernetes", "document")
    ),
    unknown_word("file", "access", "ReadWrite"),
    Case("fake", "controllerClass", "blue", "b" * 64, *TOO_LONG),
    Case("fake", "provider", {"fake": {"data": [{"key": "a", "value": "b"}]}}, {"env": {}}, "for a ClusterSecretProvider only"),
    Case("fake", "provider", {"fake": {"data": [{"key": "a", "value": "b"}]}}, {"file": {"path": "x"}}, "make one of that kind"),
    required("fake", "provider.fake.data[0].value", "b"),
    # ClusterSecretProvider
    Case("admits", "conditions[0].namespaces[0]", "shop", "Shop", "must be the name of a namespace"),
    Case("admits", "conditions[0].namespaces", ["shop"], [], "at least one of namespaces, namespaceSelector", where="conditions[0]"),
    Case("admits", "conditions[0].namespaceSelector.matchLabels", {"a/b": "c"}, {"a//b": "c"}, "a key must be a name"),
    Case(
        "admits",
        "conditions[0].namespaceSelector.matchLabels.team",
        "shop",
        "-shop",
        "must be a label's value: letters, digits",
        where="conditions[0].namespaceSelector.matchLabels",
    ),
    Case(
        "selects",
        "conditions[0].namespaceSelector.matchExpressions[0].operator",
        "In",
        "Exists",
        "values is needed with In and NotIn and must be left out with Exists and DoesNotExist",
        where="conditions[0].namespaceSelector.matchExpressions[0]",
    ),
    unknown_word("admits", "conditions[0].access", "ReadOnly"),
    Case("env", "provider.env.prefix", "KEYTURN_SECRET_SHOP_", "KEYTURN_", "would reach the operator's own settings; let it begin with"),
    Case("env", "provider.env.prefix", "KEYTURN_SECRET_", "SECRET", "would reach the operator's own settings"),
    Case("env", "provider.env.prefix", "APP_", "AWS_S", "would reach the operator's own settings"),
    Case("env", "provider.env.prefix", "KEYTURN_SECRET_", "", *EMPTY),
    Case("env", "provider.env.prefix", "KEYTURN_SECRET_A", "KEYTURN_SECRET_A-", "must be the beginning of a variable's name"),
    Case("file", "provider.file.path", "a/..b", "a/../b", "must stay beneath the operator's root; remove every '..'"),
    Case("file", "provider.file.path", "a", "a\x00", "must stay beneath the operator's root; remove every '..'"),
    required("file", "provider.file.path", "shop"),
    unknown_word("file", "provider.file.format", "YAML"),
    # Databases
    Case("database", "provider.database.keySecretRef", REF, ABSENT, "urlSecretRef and keySecretRef are needed", where="provider.database"),
    Case("cluster database", "provider.database.urlSecretRef", ABSENT, REF, "are for a SecretProvider", where="provider.database"),
    # AWS
    required("aws", f"{_AWS}.region", "eu-west-1"),
    Case("aws", f"{_AWS}.auth", {"serviceAccountRef": {"name": "s"}}, ABSENT, "auth is needed in a SecretProvider", where=_AWS),
    Case("aws", f"{_AWS}.auth.serviceAccountRef", ABSENT, {"name": "s"}, "exactly one of serviceAccountRef", where=f"{_AWS}.auth"),
    Case("cluster aws", f"{_AWS}.externalID", ABSENT, "me", "externalID and endpoint need auth; add it", where=_AWS),
    Case("cluster aws", f"{_AWS}.endpoint", ABSENT, "https://a", "externalID and endpoint need auth; add it", where=_AWS),
    Case("aws session", f"{_AWS}.role", "arn:aws:iam::1:role/r", ABSENT, "need a role to assume; add role", where=_AWS),
    Case("aws", f"{_AWS}.endpoint", "https://a.b/c", "https://u:p@a.b", "without user, query or fragment; correct it"),
    Case(
        "aws",
        f"{_AWS}.auth.secretRef.accessKeyID.namespace",
        ABSENT,
        "other",
        "a SecretProvider reads its own namespace only: remove it",
        where=f"{_AWS}.auth.secretRef.accessKeyID",
    ),
    *(required("aws", f"{_AWS}.auth.secretRef.{name}.key", "k") for name in ("accessKeyID", "secretAccessKey")),
    no_key("aws", f"{_AWS}.auth.secretRef.sessionToken"),
    # Azure
    Case("azure", f"{_AZURE}.vaultUrl", "https://a.vault.azure.net/", "https://a.vault.azure.net.b.c", "vaultUrl must be", where=_AZURE),
    Case("azure", f"{_AZURE}.environment", "PublicCloud", "ChinaCloud", "the suffix of the environment's vaults", where=_AZURE),
    Case("azure", f"{_AZURE}.tenantId", "t", ABSENT, "authType ServicePrincipal needs tenantId, and authSecretRef", where=_AZURE),
    Case("azure", f"{_AZURE}.authSecretRef.clientSecret", REF, ABSENT, "either clientSecret or clientCertificate", where=_AZURE),
    Case(
        "azure",
        f"{_AZURE}.authSecretRef.clientCertificate",
        ABSENT,
        REF,
        "clientSecret and clientCertificate exclude each other; keep one",
        where=f"{_AZURE}.authSecretRef",
    ),
    *(no_key("azure", f"{_AZURE}.authSecretRef.{name}") for name in ("clientId", "tenantId", "clientSecret")),
    no_key("azure certificate", f"{_AZURE}.authSecretRef.clientCertificate"),
    Case("azure", f"{_AZURE}.serviceAccountRef", ABSENT, {"name": "s"}, "needs authType WorkloadIdentity; set it", where=_AZURE),
    Case("azure identity", f"{_AZURE}.serviceAccountRef", {"name": "s"}, ABSENT, "the operator's own identity serves", where=_AZURE),
    # Google
    Case("google", f"{_GOOGLE}.auth", {"workloadIdentity": {"serviceAccountRef": {"name": "s"}}}, ABSENT, "auth is needed", where=_GOOGLE),
    no_key("google", f"{_GOOGLE}.auth.secretRef.secretAccessKeySecretRef"),
    Case(
        "google",
        f"{_GOOGLE}.auth.workloadIdentity",
        ABSENT,
        {"serviceAccountRef": {"name": "s"}},
        "exactly one of secretRef, workloadIdentity and workloadIdentityFederation is needed",
        where=f"{_GOOGLE}.auth",
    ),
    Case(
        "google federation",
        f"{_GOOGLE}.auth.workloadIdentityFederation.audience",
        GOOGLE_POOL,
        ABSENT,
        "audience is needed with serviceAccountRef and awsSecurityCredentials; add it",
        where=f"{_GOOGLE}.auth.workloadIdentityFederation",
    ),
    Case(
        "google federation",
        f"{_GOOGLE}.auth.workloadIdentityFederation.credConfig",
        ABSENT,
        {"name": "c", "key": "k"},
        "exactly one of serviceAccountRef, credConfig and awsSecurityCredentials is needed",
        where=f"{_GOOGLE}.auth.workloadIdentityFederation",
    ),
    Case(
        "google config",
        f"{_GOOGLE}.auth.workloadIdentityFederation.externalTokenEndpoint",
        "http://tokens.test/a?b=c",
        "https://user:word@tokens.test/",
        "must be an https:// address without user or fragment",
    ),
    # Vault
    Case("vault", f"{_VAULT}.server", "http://v:8200/base", "v:8200", "must be an https:// address"),
    required("vault", f"{_VAULT}.auth", {"tokenSecretRef": REF}),
    unknown_word("vault", f"{_VAULT}.version", "v1"),
    Case("vault ca", f"{_VAULT}.caBundle", ABSENT, "YQ==", "caBundle and caProvider exclude each other; keep one", where=_VAULT),
    Case("vault", f"{_VAULT}.auth.jwt", ABSENT, {"secretRef": REF}, "exactly one of tokenSecretRef, appRole", where=f"{_VAULT}.auth"),
    Case(
        "vault approle", f"{_VAULT}.auth.appRole.roleRef", ABSENT, REF, "exactly one of roleId and roleRef", where=f"{_VAULT}.auth.appRole"
    ),
    no_key("vault", f"{_VAULT}.auth.tokenSecretRef"),
    no_key("vault approle", f"{_VAULT}.auth.appRole.secretRef"),
    no_key("vault rolename", f"{_VAULT}.auth.appRole.roleRef"),
    no_key("vault jwt", f"{_VAULT}.auth.jwt.secretRef"),
    no_key("vault userpass", f"{_VAULT}.auth.userPass.secretRef"),
    Case(
        "vault kubernetes",
        f"{_VAULT}.auth.kubernetes.serviceAccountRef",
        {"name": "s"},
        ABSENT,
        "exactly one of serviceAccountRef and secretRef is needed in a SecretProvider",
        where=f"{_VAULT}.auth.kubernetes",
    ),
    Case(
        "cluster vault",
        f"{_VAULT}.auth.kubernetes.secretRef",
        ABSENT,
        REF,
        "serviceAccountRef and secretRef exclude each other; keep one",
        where=f"{_VAULT}.auth.kubernetes",
    ),
    Case(
        "vault jwt",
        f"{_VAULT}.auth.jwt.kubernetesServiceAccountToken",
        ABSENT,
        {"serviceAccountRef": {"name": "s"}},
        "exactly one of secretRef and kubernetesServiceAccountToken is needed",
        where=f"{_VAULT}.auth.jwt",
    ),
    # Kubernetes
    Case(
        "kubernetes", "provider.kubernetes.server", ABSENT, {"url": "https://k"}, "auth.serviceAccount is for", where="provider.kubernetes"
    ),
    Case(
        "remote kubernetes",
        "provider.kubernetes.auth.cert",
        ABSENT,
        {"clientCert": REF, "clientKey": REF},
        "exactly one of cert, token and serviceAccount is needed",
        where="provider.kubernetes.auth",
    ),
    Case(
        "remote kubernetes ca",
        "provider.kubernetes.server.caBundle",
        ABSENT,
        "YQ==",
        "caBundle and caProvider exclude each other; keep one",
        where="provider.kubernetes.server",
    ),
)
