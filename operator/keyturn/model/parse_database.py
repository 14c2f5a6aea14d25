"""The `database` member, from what users wrote to a `DatabaseConfig`."""

from typing import Final

from keyturn.model.database import DatabaseConfig, OtherDatabase
from keyturn.model.parse_refs import key_ref
from keyturn.model.specs_provider import Database

FIELD: Final = "spec.provider.database"


def parse_database(spec: Database, namespace: str) -> DatabaseConfig:
    """``namespace`` is the provider object's own, '' for the cluster kind, which names no reference. Raises `Rejected`."""
    if spec.url_secret_ref is None or spec.key_secret_ref is None:
        return DatabaseConfig()
    url = key_ref(f"{FIELD}.urlSecretRef", spec.url_secret_ref, namespace, "url")
    return DatabaseConfig(OtherDatabase(url, key_ref(f"{FIELD}.keySecretRef", spec.key_secret_ref, namespace, "key")))
