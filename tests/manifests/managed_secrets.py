"""ManagedSecrets that the API server refuses."""

from typing import Final

from manifests.bases import ENTRY
from manifests.case import ABSENT, EMPTY, TOO_LONG, Case, required, unknown_word

_LONG = "a" * 254
_TEMPLATE = "target.template"

CASES: Final[tuple[Case, ...]] = (
    # Which values.
    Case("managed", "data", [ENTRY], [], "at least one entry in data or dataFrom is needed; add one", where="."),
    Case("managed", "data[0].secretKey", "a.b", "a b", "must be a valid Secret key"),
    Case("managed", "data[0].secretKey", ".x", "..x", "not beginning with '..'; rename it"),
    Case("managed", "data[0].secretKey", _LONG[1:], _LONG, *TOO_LONG),
    Case("managed", "data[0].secretKey", "5", 5, "must be of type string", "must be a string; put it in quotes"),
    Case("managed", "data[1]", ENTRY | {"secretKey": "other"}, ENTRY, "Duplicate value", "both write the key password; rename or remove"),
    required("managed", "data[0].secretKey", "password"),
    required("managed", "data[0].remoteRef", {"key": "k"}),
    required("managed", "data[0].remoteRef.key", "k"),
    Case("managed", "data[0].remoteRef.key", "k", "", *EMPTY),
    unknown_word("managed", "data[0].remoteRef.decodingStrategy", "Base64URL"),
    unknown_word("managed", "data[0].remoteRef.metadataPolicy", "None"),
    Case("default", "data[0].optional", False, True, "optional and default exclude each other; remove one of them", where="data[0]"),
    Case("managed", "providerRef.name", "vault", "Vault", "must be a DNS name: lower-case letters, digits, '-' and '.'; rename it"),
    required("cluster ref", "providerRef.name", "vault"),
    unknown_word("cluster ref", "providerRef.kind", "SecretProvider"),
    unknown_word("managed", "secretType", "api_key"),
    # How often.
    unknown_word("managed", "refreshPolicy", "OnChange"),
    Case("managed", "refreshInterval", "1h30m", "90", "write a Go duration such as 90s, 1h30m or 720h"),
    Case("managed", "refreshInterval", 0, 3600, "a number without a unit; write a Go duration", "a bare number has no unit; write"),
    Case("managed", "refreshInterval", "1s", "999ms", "must be at least 1s, or 0 for once; write 1s or more"),
    Case("managed", "refreshInterval", "0.5h", "0.5s", "must be at least 1s, or 0 for once; write 1s or more"),
    Case("managed", "refreshInterval", "87600h", "87601h", "is longer than ten years; write at most 87600h"),
    Case("managed", "refreshInterval", "720h", "999999999h999999999h", "is longer than ten years; write at most 87600h"),
    Case("managed", "refreshInterval", "0", True, "must be", "is not a duration; write a Go duration"),
    Case("managed", "suspend", True, "yes", "must be of type boolean", "must be true or false"),
    # Many values from one entry.
    Case("from", "dataFrom[0].find", ABSENT, {"path": "x"}, "exactly one of extract and find is needed; keep one", where="dataFrom[0]"),
    Case("find", "dataFrom[0].find", {"tags": {"team": "shop"}}, {}, "at least one of path, name and tags is needed"),
    unknown_word("from", "dataFrom[0].extract.conversionStrategy", "Unicode"),
    Case(
        "find",
        "dataFrom[0].rewrite[0].transform",
        ABSENT,
        {"template": "x"},
        "exactly one of regexp, transform and merge is needed; keep one",
        where="dataFrom[0].rewrite[0]",
    ),
    Case(
        "merge",
        "dataFrom[0].rewrite[0].merge.strategy",
        "JSON",
        "Extract",
        "into is needed with strategy JSON, and only there; add it, or remove it",
        where="dataFrom[0].rewrite[0].merge",
    ),
    # The Secret.
    Case("managed", "target.name", "app.db", "app_db", "must be a DNS name: lower-case letters, digits, '-' and '.'; rename it"),
    Case("managed", "target.name", "keyturn", "keyturn-x", "names that begin with keyturn- are the operator's own; choose another name"),
    Case("managed", "target.name", _LONG[1:], _LONG, *TOO_LONG),
    unknown_word("managed", "target.creationPolicy", "Orphan"),
    unknown_word("managed", "target.deletionPolicy", "Retain"),
    Case(
        "deletes", "target.creationPolicy", "Orphan", "Merge", "deletionPolicy Delete needs creationPolicy Owner or Orphan", where="target"
    ),
    Case(
        "strips",
        "target.creationPolicy",
        "CreateOrMerge",
        "None",
        "deletionPolicy Merge needs a creationPolicy that writes",
        where="target",
    ),
    Case("managed", "target.adopt", True, "true", "must be of type boolean", "must be true or false"),
    Case("managed", f"{_TEMPLATE}.type", "kubernetes.io/tls", "kubernetes.io/service-account-token", "use Opaque or another type"),
    Case("managed", f"{_TEMPLATE}.type", "kubernetes.io/tls", "bootstrap.kubernetes.io/token", "use Opaque or another type"),
    Case("managed", f"{_TEMPLATE}.type", "Opaque", "helm.sh/release.v1", "this type is never written"),
    *(
        Case(
            "managed",
            f"{_TEMPLATE}.metadata.{part}",
            {good: "x"},
            {bad: "x"},
            "cannot be set; remove them",
            where=f"{_TEMPLATE}.metadata.{part}",
        )
        for part, good, bad in (
            ("labels", "keyturn.example/owner", "keyturn.dev/managed"),
            ("labels", "app.kubernetes.io/name", "app.kubernetes.io/managed-by"),
            ("labels", "app.kubernetes.io/part-of", "app.kubernetes.io/instance"),
            ("annotations", "argoproj.io/sync", "argocd.argoproj.io/tracking-id"),
            ("labels", "fluxcd.io/name", "kustomize.toolkit.fluxcd.io/name"),
            ("annotations", "helm.example/release", "meta.helm.sh/release-name"),
            ("annotations", "helmet.sh/keep", "helm.sh/resource-policy"),
            ("annotations", "kubernetes.io/description", "kubectl.kubernetes.io/last-applied-configuration"),
        )
    ),
    Case(
        "managed",
        f"{_TEMPLATE}.metadata.labels",
        {"shop.example/a": "x"},
        {"shop.example/a/b": "x"},
        "a key must be a name of at most 63 letters",
    ),
    Case("managed", f"{_TEMPLATE}.metadata.annotations", {"a": "x"}, {"a b": "x"}, "after an optional DNS name and '/'; rename it"),
    Case(
        "managed",
        f"{_TEMPLATE}.metadata.labels.team",
        "shop",
        "the shop",
        "must be a label's value of at most 63 characters, or a template",
        where=f"{_TEMPLATE}.metadata.labels",
    ),
    Case("managed", f"{_TEMPLATE}.data", {"a.b": "x"}, {"a b": "x"}, "must be a valid Secret key"),
    unknown_word("managed", f"{_TEMPLATE}.mergePolicy", "Merge"),
    Case(
        "templated",
        f"{_TEMPLATE}.templateFrom[0].literal",
        ABSENT,
        "a: b",
        "exactly one of configMap, secret and literal is needed; keep one",
        where=f"{_TEMPLATE}.templateFrom[0]",
    ),
    Case(
        "templated",
        f"{_TEMPLATE}.templateFrom[0].configMap.items",
        [{"key": "a"}],
        [],
        "should have at least 1 items",
        "must not be empty",
    ),
    Case("sealed", "delivery.mode", "Envelope", "Plain", "serviceAccounts is needed with mode Envelope, and only there", where="delivery"),
    unknown_word("managed", "rollout.restart", "None"),
)
