"""Names, keys, addresses, references and selectors: the small words of which all specs are made."""

import re
from typing import Annotated, Literal

from pydantic import Field, GetPydanticSchema
from pydantic_core import core_schema

from keyturn.model import durations
from keyturn.model.ids import Kind
from keyturn.model.specs_base import Rule, Spec, pattern

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DATA_KEY = re.compile("[-._a-zA-Z0-9]{1,253}")

Text = Annotated[str, Field(min_length=1, max_length=253)]
Subdomain = Annotated[
    str,
    Field(min_length=1, max_length=253),
    pattern(rf"{_LABEL}([.]{_LABEL})*", "must be a DNS name: lower-case letters, digits, '-' and '.'; rename it"),
]
NamespaceName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    pattern(_LABEL, "must be the name of a namespace: lower-case letters, digits and '-'; rename it"),
]
Url = Annotated[
    str,
    Field(min_length=1, max_length=2048),
    pattern("https?://[^/?#@ ]+(/[^?#@ ]*)?", "must be an https:// address without user, query or fragment; correct it"),
]
TokenUrl = Annotated[
    str,
    Field(min_length=1, max_length=2048),
    pattern("https?://[^/?#@ ]+(/[^?#@ ]*([?][^#@ ]*)?)?", "must be an https:// address without user or fragment; correct it"),
]
PemBundle = Annotated[str, Field(min_length=1, max_length=262_144, json_schema_extra={"format": "byte"})]


def is_data_key(key: str) -> bool:
    """Whether Kubernetes takes it as a key of a Secret."""
    return _DATA_KEY.fullmatch(key) is not None and key != "." and not key.startswith("..")


DataKey = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Rule(
        "self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",
        "must be a valid Secret key: letters, digits, '-', '_' and '.', not '.' and not beginning with '..'; rename it",
        is_data_key,
    ),
]


def _as_duration(_source: object, _handler: object) -> core_schema.CoreSchema:
    return core_schema.no_info_plain_validator_function(durations.seconds)


_FORM = f"self.matches('^({durations.PATTERN})$')"
# Digits are counted first: duration() overflows with a text that nobody understands.
_LONG = "self.matches('[0-9]{6}[.0-9]*h|[0-9]{8}[.0-9]*m([^s]|$)')"
CEL_IS_DURATION = f"type(self) == string && {_FORM} && !{_LONG}"

Duration = Annotated[
    float,
    GetPydanticSchema(_as_duration, lambda _schema, _handler: {"x-kubernetes-int-or-string": True, "maxLength": 64}),
    Rule(
        f"type(self) == int ? self == 0 : {_FORM}",
        f"is not a duration, or a number without a unit; {durations.REMEDY}",
        lambda _seconds: True,
    ),
    Rule(
        f"type(self) == int || !{_FORM} || (!{_LONG} && duration(self) <= duration('87600h'))",
        "is longer than ten years; write at most 87600h",
        lambda _seconds: True,
    ),
]
"""Seconds. The form is `durations.seconds`' business on our side, so the two rules hold by then."""


class SecretKeyRef(Spec):
    """One key of a Kubernetes Secret that holds a credential, where there is a key that it mostly has."""

    name: Subdomain
    """Name of the Secret."""

    key: DataKey | None = None
    """Key within the Secret. Default: the one that the description of the field with this reference names."""

    namespace: NamespaceName | None = None
    """Namespace of the Secret, for a ClusterSecretProvider only. Left out: the namespace of the ManagedSecret that is being
    synced. A SecretProvider always means its own namespace and must leave it out."""

    rules = (
        Rule(
            "!has(self.__namespace__)",
            "namespace is for a ClusterSecretProvider; a SecretProvider reads its own namespace only: remove it",
            lambda ref: ref.namespace is None,
            Kind.SECRET_PROVIDER,
        ),
    )


class NamedKeyRef(SecretKeyRef):
    """One key of a Kubernetes Secret that holds a credential."""

    key: DataKey
    """Key within the Secret."""


class ServiceAccountRef(Spec):
    """A ServiceAccount whose short-lived token logs in, so that the provider decides by tenant."""

    name: Subdomain
    """Name of the ServiceAccount."""

    namespace: NamespaceName | None = None
    """Namespace of the ServiceAccount, for a ClusterSecretProvider only. Left out: the namespace of the ManagedSecret that is
    being synced. A SecretProvider always means its own namespace and must leave it out."""

    rules = SecretKeyRef.rules


class CAProvider(Spec):
    """Where the certificates of the authority that signed the server's certificate are kept."""

    type: Literal["Secret", "ConfigMap"]
    """Kind of the object that holds them: Secret or ConfigMap."""

    name: Subdomain
    """Name of the Secret or ConfigMap."""

    key: DataKey | None = None
    """Key within it, holding PEM. Default: ca.crt."""

    namespace: NamespaceName | None = None
    """Namespace of the object, for a ClusterSecretProvider only. Left out: the namespace of the ManagedSecret that is being
    synced, where the credential is of that namespace too. A SecretProvider always means its own namespace and must leave it out."""

    rules = SecretKeyRef.rules


LABEL_VALUE = "([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
LabelValue = Annotated[
    str,
    Field(max_length=63),
    pattern(LABEL_VALUE, "must be a label's value: letters, digits, '-', '_' and '.', a letter or digit at both ends; correct it"),
]
LabelKey = Annotated[
    str,
    Field(min_length=1, max_length=317),
    pattern(
        rf"({_LABEL}([.]{_LABEL})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?",
        "a key must be a name of at most 63 letters, digits, '-', '_' and '.', after an optional DNS name and '/'; rename it",
    ),
]


class SelectorExpression(Spec):
    """One requirement on a label."""

    key: LabelKey
    """The label that the requirement is about."""

    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """In and NotIn compare with values; Exists and DoesNotExist take none."""

    values: list[LabelValue] | None = Field(default=None, max_length=32)
    """Values to compare with, for In and NotIn."""

    rules = (
        Rule(
            "self.operator in ['In', 'NotIn'] == (has(self.values) && self.values.size() > 0)",
            "values is needed with In and NotIn and must be left out with Exists and DoesNotExist",
            lambda e: (e.operator in ("In", "NotIn")) == bool(e.values),
        ),
    )


class LabelSelector(Spec):
    """Labels that an object must have. Both parts must hold; an empty selector matches everything."""

    match_labels: dict[LabelKey, LabelValue] | None = Field(default=None, max_length=32)
    """Labels with exactly these values."""

    match_expressions: list[SelectorExpression] | None = Field(default=None, max_length=16)
    """Requirements, all of which must hold."""
