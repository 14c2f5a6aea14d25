"""What helps where Entra, or a machine's metadata service, refuses a log-in: by Entra's number, and by where the ids stand. Pure.

Nothing of what was sent, and nothing that Entra writes beside its number, is in the words.
"""

from typing import Final

from keyturn.decide.annotated import AZURE_CLIENT, AZURE_TENANT
from keyturn.model.azure import EXCHANGE, AzureLogin, CertificateLogin, ManagedLogin, OwnLogin, SecretLogin, TenantLogin
from keyturn.model.ids import Carrier, KeyRef

_TENANT: Final = frozenset({"AADSTS90002", "AADSTS900023", "AADSTS900021", "AADSTS50059"})
_CLIENT: Final = frozenset({"AADSTS700016", "AADSTS7000229"})
_TRUST: Final = frozenset({"AADSTS70021", "AADSTS700211", "AADSTS700212", "AADSTS700213"})
_OTHERS: Final = {
    "AADSTS7000215": "it is none of the application's; store a client secret's value there, and not its id",
    "AADSTS7000222": "it has ended; make another one, and store that there",
    "AADSTS700027": "the application does not know this certificate; upload it there, or store the one that it knows",
    "AADSTS700024": "its time is over or has not begun; set the clocks of the machine that made it and of this one",
    "AADSTS7000112": "the application is disabled; enable it",
    "AADSTS50013": "its signature is not of the issuer's keys; that issuer has to be this cluster's, and its keys public",
    "AADSTS50166": "the issuer's keys cannot be fetched or used; they have to be public, and the cluster has to sign by RS256",
}


def remedy(code: str, login: AzureLogin) -> str:
    """What whoever refuses this log-in by ``code``, '' for none, wants to be mended."""
    if isinstance(login, ManagedLogin):
        if login.client_id:
            return f"assign that identity to the operator's machines, or correct its client id in {_place(login.client_id)}"
        return "assign one to the operator's machines, or name one by its client id, in authSecretRef.clientId or AZURE_CLIENT_ID"
    if code in _TENANT:
        return f"there is no such tenant; correct the tenant's id in {_tenant_place(login)}"
    if code in _CLIENT:
        return (
            f"the tenant has no application of this client id; correct it in {_client_place(login)},"
            f" or the tenant's in {_tenant_place(login)}"
        )
    if code in _TRUST and isinstance(login, OwnLogin | TenantLogin):
        return (
            "the application has no federated credential for it; add one with this cluster's issuer,"
            f" the subject {_subject(login)} and the audience {EXCHANGE}"
        )
    return _OTHERS.get(code, "correct or renew it")


def _subject(login: OwnLogin | TenantLogin) -> str:
    if isinstance(login, OwnLogin):
        return "system:serviceaccount:NAMESPACE:NAME of the operator's ServiceAccount"
    return f"system:serviceaccount:{login.who.namespace}:{login.who.name}"


def _tenant_place(login: SecretLogin | CertificateLogin | OwnLogin | TenantLogin) -> str:
    if isinstance(login, SecretLogin | CertificateLogin):
        # Both ids of the default provider stand in its variables.
        named, beside = login.principal.tenant, login.principal.client_id.carrier is Carrier.ENVIRONMENT
        written = "AZURE_TENANT_ID" if beside else "tenantId"
        return _place(named) if isinstance(named, KeyRef) else written
    if isinstance(login.tenant, KeyRef):
        return _place(login.tenant)
    if login.tenant:
        return "tenantId"
    return "AZURE_TENANT_ID" if isinstance(login, OwnLogin) else f"the annotation {AZURE_TENANT}"


def _client_place(login: SecretLogin | CertificateLogin | OwnLogin | TenantLogin) -> str:
    match login:
        case SecretLogin(principal) | CertificateLogin(principal):
            return _place(principal.client_id)
        case OwnLogin(_, client_id):
            return _place(client_id) if client_id else "AZURE_CLIENT_ID"
        case TenantLogin(_, _, client_id):
            return _place(client_id) if client_id else f"the annotation {AZURE_CLIENT}"


def _place(kept: KeyRef) -> str:
    return kept.key if kept.carrier is Carrier.ENVIRONMENT else f"{kept}, key {kept.key}"
