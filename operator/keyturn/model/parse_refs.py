"""References to Secrets and ConfigMaps, from what users wrote in any provider's member to what is read.

The one place that says whose namespace a reference means.
"""

import base64
import binascii
from collections.abc import Collection
from typing import Final, overload

from keyturn.model.errors import Rejected
from keyturn.model.ids import READER, Carrier, KeyRef
from keyturn.model.reader import is_readers
from keyturn.model.sensitive import Sensitive
from keyturn.model.specs_google import ConfigMapRef, SecretRef
from keyturn.model.specs_types import CAProvider, NamedKeyRef, SecretKeyRef, ServiceAccountRef
from keyturn.model.tenant import ServiceAccount

OWN: Final = "the operator's own identity, or whose token it is given"
NOT_BUILT: Final = "is not available in this version of Keyturn"


@overload
def key_ref(field: str, ref: NamedKeyRef, namespace: str) -> KeyRef: ...
@overload
def key_ref(field: str, ref: SecretKeyRef | CAProvider, namespace: str, default: str) -> KeyRef: ...
def key_ref(field: str, ref: SecretKeyRef | CAProvider, namespace: str, default: str = "") -> KeyRef:
    """``namespace`` is the provider object's own, '' for the cluster kind, whose references name theirs or are `READER`'s.

    ``default`` is the key of a reference that may leave it out. Raises `Rejected`.
    """
    carrier = Carrier(ref.type) if isinstance(ref, CAProvider) else Carrier.SECRET
    return KeyRef(carrier, _namespace(field, ref.namespace, namespace), ref.name, ref.key or default)


def key_of(field: str, carrier: Carrier, ref: ConfigMapRef | SecretRef, key: str, namespace: str) -> KeyRef:
    """The same for a key of an object whose kind the field decides. Raises `Rejected`."""
    return KeyRef(carrier, _namespace(field, ref.namespace, namespace), ref.name, key)


def service_account(field: str, ref: ServiceAccountRef, namespace: str) -> ServiceAccount:
    """The same for a ServiceAccount."""
    return ServiceAccount(_namespace(field, ref.namespace, namespace), ref.name)


def authority(field: str, bundle: str | None, provider: CAProvider | None, namespace: str) -> Sensitive | KeyRef | None:
    """Whom to trust, from caBundle or caProvider beneath ``field``; None is the system's certificates. Raises `Rejected`."""
    if bundle:
        try:
            return Sensitive(base64.b64decode(bundle, validate=True))
        except (binascii.Error, ValueError):
            raise Rejected(f"{field}.caBundle: is not base64; encode the PEM text once more") from None
    return key_ref(f"{field}.caProvider", provider, namespace, "ca.crt") if provider else None


def check_steering(field: str, credential: KeyRef | ServiceAccount | None, references: Collection[KeyRef]) -> None:
    """Raises `Rejected` where who reads would say where, or as whom, a credential logs in that is not its own; None is nobody's."""
    if is_readers(credential):
        return
    for each in sorted(references):
        if is_readers(each):
            raise Rejected(
                f"{field}: the {each.carrier} {each.name} of whoever reads would steer the log-in by {credential or OWN};"
                " name its namespace too, or leave out that of the credential"
            )


def _namespace(field: str, named: str | None, own: str) -> str:
    if own and named not in (None, own):
        raise Rejected(f"{field}.namespace: a SecretProvider reads its own namespace only; remove it")
    return own or named or READER
