"""What helps where Entra refuses a log-in is told with the place where it is to be mended."""

import pytest

from keyturn.model.azure import AzureLogin, CertificateLogin, ManagedLogin, OwnLogin, Principal, SecretLogin, TenantLogin
from keyturn.model.ids import Carrier, KeyRef
from keyturn.model.tenant import ServiceAccount
from keyturn.providers.azure_refusal import remedy

READER = ServiceAccount("shop", "reader")
TENANT, CLIENT, PROOF = (KeyRef(Carrier.SECRET, "shop", "login", key) for key in ("tenant", "client", "proof"))
IN_ENVIRONMENT, OUTSIDE = (KeyRef(Carrier.ENVIRONMENT, "", "", name) for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"))


@pytest.mark.parametrize(
    ("login", "tenant", "client"),
    [
        (SecretLogin(Principal("t", CLIENT), PROOF), "tenantId", "Secret/shop/login, key client"),
        (CertificateLogin(Principal(TENANT, CLIENT), PROOF), "Secret/shop/login, key tenant", "Secret/shop/login, key client"),
        (SecretLogin(Principal("t", IN_ENVIRONMENT), OUTSIDE), "AZURE_TENANT_ID", "AZURE_CLIENT_ID"),
        (OwnLogin(), "AZURE_TENANT_ID", "AZURE_CLIENT_ID"),
        (OwnLogin("t", CLIENT), "tenantId", "Secret/shop/login, key client"),
        (TenantLogin(READER, "t", CLIENT), "tenantId", "Secret/shop/login, key client"),
        (TenantLogin(READER, TENANT), "Secret/shop/login, key tenant", "the annotation azure.workload.identity/client-id"),
        (TenantLogin(READER), "the annotation azure.workload.identity/tenant-id", "the annotation azure.workload.identity/client-id"),
    ],
    ids=str,
)
def test_an_id_that_entra_does_not_know_is_told_with_where_it_stands(login: AzureLogin, tenant: str, client: str) -> None:
    assert remedy("AADSTS90002", login).endswith(f"correct the tenant's id in {tenant}")
    assert f"correct it in {client}, or the tenant's in {tenant}" in remedy("AADSTS700016", login)


@pytest.mark.parametrize("code", ["AADSTS70021", "AADSTS700211", "AADSTS700212", "AADSTS700213"])
def test_what_no_federated_credential_fits_is_told_with_what_one_has_to_say(code: str) -> None:
    says = "the subject system:serviceaccount:shop:reader and the audience api://AzureADTokenExchange"
    assert says in remedy(code, TenantLogin(READER))
    assert "of the operator's ServiceAccount" in remedy(code, OwnLogin())


def test_a_machine_without_an_identity_is_told_how_it_gets_one() -> None:
    assert "assign one to the operator's machines, or name one by its client id" in remedy("", ManagedLogin())
    assert "correct its client id in Secret/shop/login, key client" in remedy("", ManagedLogin(CLIENT))


def test_a_number_of_which_nothing_is_known_is_no_reason_to_guess() -> None:
    assert remedy("AADSTS99999", TenantLogin(READER)) == remedy("", TenantLogin(READER)) == "correct or renew it"
