"""Valid specs, by name, that other manifests differ from in one field."""

from collections.abc import Mapping
from typing import Any

from keyturn.model.ids import Kind

Json = dict[str, Any]

MS, SP, CSP = Kind.MANAGED_SECRET, Kind.SECRET_PROVIDER, Kind.CLUSTER_SECRET_PROVIDER

ENTRY: Json = {"secretKey": "password", "remoteRef": {"key": "shop/db"}}
REF: Json = {"name": "login", "key": "it"}
GOOGLE_POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/clusters/providers/this"
BASES: Mapping[str, tuple[Kind, Json]] = {
    "managed": (MS, {"data": [ENTRY]}),
    "from": (MS, {"dataFrom": [{"extract": {"key": "shop/app"}}]}),
    "find": (
        MS,
        {"dataFrom": [{"find": {"name": {"regexp": "^shop/"}}, "rewrite": [{"regexp": {"source": "^shop/", "target": ""}}]}]},
    ),
    "merge": (
        MS,
        {"dataFrom": [{"find": {"path": "shop/"}, "rewrite": [{"merge": {"into": "all", "strategy": "JSON"}}]}]},
    ),
    "default": (MS, {"data": [ENTRY | {"default": "x"}]}),
    "cluster ref": (MS, {"data": [ENTRY], "providerRef": {"name": "files", "kind": "ClusterSecretProvider"}}),
    "deletes": (MS, {"data": [ENTRY], "target": {"deletionPolicy": "Delete"}}),
    "strips": (MS, {"data": [ENTRY], "target": {"deletionPolicy": "Merge"}}),
    "sealed": (MS, {"data": [ENTRY], "delivery": {"mode": "Envelope", "serviceAccounts": ["shop"]}}),
    "templated": (MS, {"data": [ENTRY], "target": {"template": {"templateFrom": [{"configMap": {"name": "t", "items": [{"key": "a"}]}}]}}}),
    "fake": (SP, {"provider": {"fake": {"data": [{"key": "a", "value": "b"}]}}}),
    "cluster": (CSP, {"provider": {"fake": {"data": [{"key": "a", "value": "b"}]}}}),
    "selects": (
        CSP,
        {
            "conditions": [{"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["shop"]}]}}],
            "provider": {"fake": {"data": [{"key": "a", "value": "b"}]}},
        },
    ),
    "admits": (CSP, {"conditions": [{"namespaces": ["shop"]}], "provider": {"fake": {"data": [{"key": "a", "value": "b"}]}}}),
    "env": (CSP, {"provider": {"env": {"prefix": "KEYTURN_SECRET_"}}}),
    "file": (CSP, {"provider": {"file": {"path": "shop"}}}),
    "document": (CSP, {"provider": {"file": {"path": "app.json", "format": "JSON"}}}),
    "database": (SP, {"provider": {"database": {"urlSecretRef": REF, "keySecretRef": REF}}}),
    "cluster database": (CSP, {"provider": {"database": {}}}),
    "aws": (
        SP,
        {
            "provider": {
                "awsSecretsManager": {
                    "region": "eu-west-1",
                    "role": "arn:aws:iam::1:role/shop",
                    "auth": {"secretRef": {"accessKeyID": REF, "secretAccessKey": REF}},
                }
            }
        },
    ),
    "aws session": (
        SP,
        {
            "provider": {
                "awsSecretsManager": {
                    "region": "eu-west-1",
                    "role": "arn:aws:iam::1:role/shop",
                    "sessionTags": [{"key": "team", "value": "shop"}],
                    "auth": {"serviceAccountRef": {"name": "shop"}},
                }
            }
        },
    ),
    "cluster aws": (CSP, {"provider": {"awsSecretsManager": {"region": "eu-west-1", "role": "arn:aws:iam::1:role/shop"}}}),
    "azure": (
        SP,
        {
            "provider": {
                "azureKeyVault": {
                    "vaultUrl": "https://shop.vault.azure.net",
                    "tenantId": "t",
                    "authSecretRef": {"clientId": REF, "clientSecret": REF},
                }
            }
        },
    ),
    "azure certificate": (
        SP,
        {
            "provider": {
                "azureKeyVault": {
                    "vaultUrl": "https://shop.vault.azure.net",
                    "authSecretRef": {"clientId": REF, "tenantId": REF, "clientCertificate": REF},
                }
            }
        },
    ),
    "azure identity": (
        SP,
        {
            "provider": {
                "azureKeyVault": {
                    "vaultUrl": "https://shop.vault.azure.net",
                    "authType": "WorkloadIdentity",
                    "serviceAccountRef": {"name": "shop"},
                }
            }
        },
    ),
    "google": (
        SP,
        {"provider": {"googleSecretManager": {"projectID": "shop", "auth": {"secretRef": {"secretAccessKeySecretRef": REF}}}}},
    ),
    "google federation": (
        SP,
        {
            "provider": {
                "googleSecretManager": {
                    "projectID": "shop",
                    "auth": {"workloadIdentityFederation": {"audience": GOOGLE_POOL, "serviceAccountRef": {"name": "shop"}}},
                }
            }
        },
    ),
    "google cluster": (
        SP,
        {
            "provider": {
                "googleSecretManager": {
                    "projectID": "shop",
                    "auth": {
                        "workloadIdentity": {
                            "serviceAccountRef": {"name": "shop"},
                            "clusterProjectID": "shop",
                            "clusterLocation": "europe-west3",
                            "clusterName": "prod",
                        }
                    },
                }
            }
        },
    ),
    "google config": (
        SP,
        {
            "provider": {
                "googleSecretManager": {
                    "projectID": "shop",
                    "auth": {
                        "workloadIdentityFederation": {
                            "credConfig": {"name": "c", "key": "k"},
                            "externalTokenEndpoint": "https://tokens.test/oidc?audience=google",
                        }
                    },
                }
            }
        },
    ),
    "google aws": (
        SP,
        {
            "provider": {
                "googleSecretManager": {
                    "projectID": "shop",
                    "auth": {
                        "workloadIdentityFederation": {
                            "audience": GOOGLE_POOL,
                            "awsSecurityCredentials": {"region": "eu-west-1", "awsCredentialsSecretRef": {"name": "aws"}},
                        }
                    },
                }
            }
        },
    ),
    "vault": (
        SP,
        {"provider": {"hashicorpVault": {"server": "https://vault.vault.svc:8200", "auth": {"tokenSecretRef": REF}}}},
    ),
    "vault ca": (
        SP,
        {
            "provider": {
                "hashicorpVault": {"server": "https://v", "caProvider": {"type": "Secret", "name": "ca"}, "auth": {"tokenSecretRef": REF}}
            }
        },
    ),
    "vault approle": (
        SP,
        {"provider": {"hashicorpVault": {"server": "https://v", "auth": {"appRole": {"roleId": "shop", "secretRef": REF}}}}},
    ),
    "vault rolename": (
        SP,
        {"provider": {"hashicorpVault": {"server": "https://v", "auth": {"appRole": {"roleRef": REF, "secretRef": REF}}}}},
    ),
    "vault userpass": (
        SP,
        {"provider": {"hashicorpVault": {"server": "https://v", "auth": {"userPass": {"username": "shop", "secretRef": REF}}}}},
    ),
    "vault kubernetes": (
        SP,
        {
            "provider": {
                "hashicorpVault": {"server": "https://v", "auth": {"kubernetes": {"role": "r", "serviceAccountRef": {"name": "s"}}}}
            }
        },
    ),
    "vault jwt": (SP, {"provider": {"hashicorpVault": {"server": "https://v", "auth": {"jwt": {"secretRef": REF}}}}}),
    "cluster vault": (
        CSP,
        {
            "provider": {
                "hashicorpVault": {"server": "https://v", "auth": {"kubernetes": {"role": "r", "serviceAccountRef": {"name": "s"}}}}
            }
        },
    ),
    "kubernetes": (SP, {"provider": {"kubernetes": {"remoteNamespace": "other", "auth": {"serviceAccount": {"name": "s"}}}}}),
    "remote kubernetes": (
        SP,
        {"provider": {"kubernetes": {"server": {"url": "https://k"}, "remoteNamespace": "o", "auth": {"token": {"bearerToken": REF}}}}},
    ),
    "remote kubernetes ca": (
        SP,
        {
            "provider": {
                "kubernetes": {
                    "server": {"url": "https://k", "caProvider": {"type": "ConfigMap", "name": "ca"}},
                    "remoteNamespace": "o",
                    "auth": {"token": {"bearerToken": REF}},
                }
            }
        },
    ),
}
