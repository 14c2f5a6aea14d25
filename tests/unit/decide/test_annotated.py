"""Whom annotations make of a ServiceAccount: what goes before what, and that nothing malformed reaches a cloud."""

import pytest

from keyturn.decide.annotated import aws_roles, azure_client, azure_tenant
from keyturn.model.aws import AssumedRole
from keyturn.model.errors import AuthFailed
from keyturn.model.tenant import ServiceAccount

APP = ServiceAccount("shop", "app")
ROLE, AUDIENCE = "eks.amazonaws.com/role-arn", "eks.amazonaws.com/audience"
CLIENT, TENANT = "azure.workload.identity/client-id", "azure.workload.identity/tenant-id"
OWN, SHOP = "arn:aws:iam::123456789012:role/app", "arn:aws-cn:iam::210987654321:role/teams/shop"
UUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
ODD = "kt-canary odd\r\n"

FULL = AssumedRole(SHOP, "me", (("team", "shop"),))


@pytest.mark.parametrize(
    ("noted", "asked", "roles"),
    [
        ({ROLE: OWN}, None, (OWN, None)),
        ({}, AssumedRole(SHOP), (SHOP, None)),
        ({ROLE: ""}, AssumedRole(SHOP), (SHOP, None)),
        ({ROLE: OWN}, AssumedRole(SHOP), (OWN, AssumedRole(SHOP))),
        ({ROLE: OWN}, FULL, (OWN, FULL)),
        ({ROLE: OWN, AUDIENCE: "sts.amazonaws.com", "eks.amazonaws.com/sts-regional-endpoints": "true"}, None, (OWN, None)),
        ({ROLE: OWN, AUDIENCE: ""}, None, (OWN, None)),
        ({ROLE: SHOP}, AssumedRole(SHOP), (SHOP, None)),
        ({ROLE: SHOP}, FULL, (SHOP, FULL)),
    ],
)
def test_a_token_is_for_the_annotated_role_and_the_specs_is_on_top(
    noted: dict[str, str], asked: AssumedRole | None, roles: tuple[str, AssumedRole | None]
) -> None:
    assert aws_roles(APP, noted, asked) == roles


@pytest.mark.parametrize(
    ("noted", "asked", "says"),
    [
        ({}, None, (f"annotate it with {ROLE}", "spec.provider.awsSecretsManager.role")),
        ({ROLE: ""}, None, (f"annotate it with {ROLE}", "spec.provider.awsSecretsManager.role")),
        ({CLIENT: UUID}, None, (f"annotate it with {ROLE}",)),
        ({}, AssumedRole(SHOP, "me"), ("externalID and sessionTags", f"annotation {ROLE}")),
        ({}, AssumedRole(SHOP, "", (("a", ""),)), ("externalID and sessionTags", f"annotation {ROLE}")),
        ({ROLE: ODD}, None, (f"annotation {ROLE}", "no ARN of a role")),
        ({ROLE: ODD}, AssumedRole(SHOP), (f"annotation {ROLE}", "no ARN of a role")),
        ({ROLE: f"{OWN}\n"}, None, (f"annotation {ROLE}", "no ARN of a role")),
        ({ROLE: "arn:aws:iam::123456789012:user/app"}, None, (f"annotation {ROLE}", "no ARN of a role")),
        ({ROLE: OWN, AUDIENCE: ODD}, None, (f"annotation {AUDIENCE}", "sts.amazonaws.com")),
        ({AUDIENCE: "sts.amazonaws.com,vault"}, AssumedRole(SHOP), (f"annotation {AUDIENCE}", "sts.amazonaws.com")),
    ],
)
def test_what_names_no_role_is_told_by_its_place(noted: dict[str, str], asked: AssumedRole | None, says: tuple[str, ...]) -> None:
    with pytest.raises(AuthFailed) as failed:
        aws_roles(APP, noted, asked)
    assert all(each in str(failed.value) for each in (*says, "ServiceAccount/shop/app"))
    assert "kt-canary" not in str(failed.value)


def test_ids_are_as_they_are_annotated() -> None:
    noted = {CLIENT: UUID, TENANT: "shop.example.com"}
    assert (azure_client(APP, noted), azure_tenant(APP, noted)) == (UUID, "shop.example.com")


@pytest.mark.parametrize("noted", [{}, {CLIENT: "", TENANT: ""}, {ROLE: OWN}], ids=["none", "empty", "another's"])
def test_an_id_that_is_missing_names_both_places_where_it_can_be(noted: dict[str, str]) -> None:
    with pytest.raises(AuthFailed, match=f"ServiceAccount/shop/app; annotate it with {CLIENT}, or set .*authSecretRef.clientId"):
        azure_client(APP, noted)
    with pytest.raises(AuthFailed, match=f"ServiceAccount/shop/app; annotate it with {TENANT}, or set .*azureKeyVault.tenantId"):
        azure_tenant(APP, noted)


@pytest.mark.parametrize("text", [ODD, "a/b", "x?y", "..", "ä", UUID + "/", f"{UUID}\n", "a" * 254])
def test_an_id_that_would_lead_elsewhere_is_none(text: str) -> None:
    with pytest.raises(AuthFailed, match=f"annotation {CLIENT} of ServiceAccount/shop/app is no client id") as client:
        azure_client(APP, {CLIENT: text})
    with pytest.raises(AuthFailed, match=f"annotation {TENANT} of ServiceAccount/shop/app is no id and no domain") as tenant:
        azure_tenant(APP, {TENANT: text})
    assert text not in f"{client.value} {tenant.value}"
