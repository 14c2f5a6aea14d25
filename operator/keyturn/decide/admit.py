"""Who may use which provider, and which Secrets a ManagedSecret may aim at (rules of trust)."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from keyturn.model.errors import ProviderNotAllowed, Rejected
from keyturn.model.ids import SecretRef
from keyturn.model.objects import ProviderObject
from keyturn.model.order import Admission, Order, ProviderOrder, Selector

OWN_PREFIX = "keyturn-"
TYPES = frozenset(
    {
        "Opaque",
        "kubernetes.io/tls",
        "kubernetes.io/dockerconfigjson",
        "kubernetes.io/dockercfg",
        "kubernetes.io/basic-auth",
        "kubernetes.io/ssh-auth",
    }
)
"""Secret types that anybody may ask for. Others can carry rights (a ServiceAccount's token), so a flag adds them."""

NEVER_TYPES = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "helm.sh/")


@dataclass(frozen=True, slots=True)
class Limits:
    """What this operator instance allows, by its settings."""

    operator_namespace: str
    extra_types: frozenset[str] = frozenset()
    serves_cluster_kinds: bool = True


def check_target(namespace: str, order: Order, limits: Limits) -> SecretRef:
    """The Secret that the order aims at; `Rejected` where no ManagedSecret may write it."""
    name, kind = order.target.name, order.target.type
    if namespace == limits.operator_namespace:
        raise Rejected(
            f"a ManagedSecret in the operator's own namespace {namespace} is refused; move it to the namespace that uses the Secret"
        )
    if name.startswith(OWN_PREFIX):
        raise Rejected(f"spec.target.name {name!r}: names that start with {OWN_PREFIX} are the operator's own; choose another")
    if kind.startswith(NEVER_TYPES) or kind not in TYPES | limits.extra_types:
        allowed = ", ".join(sorted(TYPES | limits.extra_types))
        raise Rejected(f"spec.target.template.type {kind!r} is not allowed; use one of {allowed}")
    return SecretRef(namespace, name)


def class_of(provider: ProviderOrder) -> str:
    """The operator instance that serves it; no class means the one without a class."""
    return provider.controller_class or "default"


def is_of_class(providers: Collection[ProviderOrder], own: str) -> bool:
    """Whether an object that draws on these providers is ours to look at; without any, it is."""
    return not providers or (own or "default") in {class_of(provider) for provider in providers}


def check_class(providers: Collection[ProviderOrder]) -> None:
    """`Rejected` where providers of several classes are mixed: no one operator could serve them all."""
    classes = sorted({class_of(provider) for provider in providers})
    if len(classes) > 1:
        raise Rejected(f"spec: the providers are of the controller classes {', '.join(classes)}; use providers of one class")


def check_admission(provider: ProviderOrder, provider_name: str, namespace: str, labels: Mapping[str, str] | None) -> None:
    """`ProviderNotAllowed` unless the provider's conditions admit the namespace."""
    if provider.admissions and not any(admits(item, namespace, labels) for item in provider.admissions):
        raise ProviderNotAllowed(
            f"{provider_name} does not admit namespace {namespace}; its owner adds it to spec.conditions, or use another provider"
        )


def check_default(found: ProviderObject | None, namespace: str) -> ProviderObject:
    """The default provider; `ProviderNotAllowed` unless an admin opened it to the namespace, by name: its labels count for nothing."""
    if found is not None and not isinstance(found.order, Rejected):
        admissions = found.order.admissions
        if not admissions or any(admits(item, namespace, None) for item in admissions):
            return found
    raise ProviderNotAllowed(
        f"the default provider is not open to namespace {namespace}; name another one in spec.providerRef,"
        " or have an admin add the namespace to SECRETS_PROVIDER_NAMESPACES of the operator"
    )


def admits(item: Admission, namespace: str, labels: Mapping[str, str] | None) -> bool:
    """Whether one of the item's three ways to name a namespace fits; labels that are not known yet (None) fit no selector."""
    return (
        namespace in item.namespaces
        or (item.selector is not None and labels is not None and selects(item.selector, labels))
        or any(_has(namespace, pattern) for pattern in item.regexes)
    )


@lru_cache(maxsize=16_384)
def _has(namespace: str, pattern: str) -> bool:
    """Whether the pattern is found in the name. Asked for each object: the parser sees to it that one answer comes soon."""
    return _regex(pattern).search(namespace) is not None


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    """A label selector as Kubernetes reads it: all must hold; an empty one selects everything."""
    return selector.labels.items() <= labels.items() and all(_holds(key, op, values, labels) for key, op, values in selector.expressions)


def _holds(key: str, operator: str, values: Collection[str], labels: Mapping[str, str]) -> bool:
    match operator:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    # The parser admits the four only; whatever else would come must not open a door.
    return False
