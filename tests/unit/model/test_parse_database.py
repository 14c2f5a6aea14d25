"""The `database` member: whose database it is, and where its URL and key are kept."""

from typing import Any

import pytest

from keyturn.model.database import DatabaseConfig, OtherDatabase
from keyturn.model.errors import Rejected
from keyturn.model.ids import Carrier, KeyRef, Kind
from keyturn.model.parse import parse_provider

BOTH = {"urlSecretRef": {"name": "db"}, "keySecretRef": {"name": "db", "key": "master"}}


def parsed(member: dict[str, Any], kind: Kind = Kind.SECRET_PROVIDER) -> Any:
    return parse_provider(kind, {"provider": {"database": member}}, "shop" if kind is Kind.SECRET_PROVIDER else "")


def test_a_tenant_names_its_url_and_its_key() -> None:
    url, key = KeyRef(Carrier.SECRET, "shop", "db", "url"), KeyRef(Carrier.SECRET, "shop", "db", "master")
    order = parsed(BOTH)
    assert order.config == DatabaseConfig(OtherDatabase(url, key))
    assert order.references == {url, key}


def test_the_cluster_kind_means_the_operators_own() -> None:
    order = parsed({}, Kind.CLUSTER_SECRET_PROVIDER)
    assert order.config == DatabaseConfig()
    assert order.references == frozenset()


@pytest.mark.parametrize("member", [{}, {"urlSecretRef": {"name": "db"}}, {"keySecretRef": {"name": "db"}}])
def test_a_tenant_cannot_mean_the_operators_own(member: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match="urlSecretRef and keySecretRef are needed in a SecretProvider"):
        parsed(member)


@pytest.mark.parametrize("member", [BOTH, {"urlSecretRef": {"name": "db", "namespace": "shop"}}])
def test_the_cluster_kind_names_no_other(member: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match="are for a SecretProvider"):
        parsed(member, Kind.CLUSTER_SECRET_PROVIDER)


def test_a_tenant_reads_its_own_namespace_alone() -> None:
    with pytest.raises(Rejected, match="its own namespace only"):
        parsed({**BOTH, "keySecretRef": {"name": "keyturn-master-key", "namespace": "keyturn-system"}})
