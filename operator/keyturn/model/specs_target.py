"""The Secret that a ManagedSecret describes: its name, its ownership, its template."""

from typing import Annotated, Literal

from pydantic import Field

from keyturn.model.specs_base import Rule, Spec, one_of, pattern
from keyturn.model.specs_types import LABEL_VALUE, DataKey, LabelKey, Subdomain

RESERVED_NAME = "keyturn-"
FORBIDDEN_TYPES = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token")
FORBIDDEN_TYPE_PREFIX = "helm.sh/"
TRACKING_KEYS = ("app.kubernetes.io/managed-by", "app.kubernetes.io/instance")
TRACKING_PREFIXES = (
    "keyturn.dev/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "helm.sh/",
    "meta.helm.sh/",
    "kubectl.kubernetes.io/",
)


def is_forbidden_type(secret_type: str) -> bool:
    """Types that hold credentials of the cluster itself, or another tool's state: no flag allows them."""
    return secret_type in FORBIDDEN_TYPES or secret_type.startswith(FORBIDDEN_TYPE_PREFIX)


def is_tracking(key: str) -> bool:
    """Whether a label or annotation key is ours or a GitOps tool's, which would take the Secret for its own."""
    return key in TRACKING_KEYS or key.startswith(TRACKING_PREFIXES)


def _cel_list(words: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


SecretName = Annotated[
    Subdomain,
    Rule(
        f"!self.startsWith('{RESERVED_NAME}')",
        "names that begin with keyturn- are the operator's own; choose another name",
        lambda name: not name.startswith(RESERVED_NAME),
    ),
]
SecretType = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Rule(
        f"!(self in {_cel_list(FORBIDDEN_TYPES)}) && !self.startsWith('{FORBIDDEN_TYPE_PREFIX}')",
        "this type is never written, since the cluster or Helm trusts what such a Secret holds; use Opaque or another type",
        lambda secret_type: not is_forbidden_type(secret_type),
    ),
]
MetadataKey = Annotated[
    LabelKey,
    Rule(
        f"!(self in {_cel_list(TRACKING_KEYS)}) && !{_cel_list(TRACKING_PREFIXES)}.exists(p, self.startsWith(p))",
        "keys of Keyturn and of the tools that track objects (keyturn.dev/, managed-by, instance, Argo CD, Flux, Helm, kubectl)"
        " cannot be set; remove them",
        lambda key: not is_tracking(key),
    ),
]
TemplateText = Annotated[str, Field(max_length=65_536)]
TemplatedLabelValue = Annotated[
    str,
    Field(max_length=1024),
    Rule(
        f"self.contains('{{{{') || self.matches('^({LABEL_VALUE})$')",
        "must be a label's value of at most 63 characters, or a template that gives one; correct it",
        lambda value: "{{" in value or _LABEL_VALUE.holds(value),
    ),
]
_LABEL_VALUE = pattern(LABEL_VALUE, "")


class TemplateMetadata(Spec):
    """Labels and annotations that the Secret gets. Nothing is ever copied from the ManagedSecret to the Secret."""

    labels: dict[MetadataKey, TemplatedLabelValue] | None = Field(default=None, max_length=64)
    """Labels to set. Values may be templates that see names and the revision, never a secret value; templates are not in this
    version."""

    annotations: dict[MetadataKey, Annotated[str, Field(max_length=16_384)]] | None = Field(default=None, max_length=64)
    """Annotations to set. Values may be templates that see names and the revision, never a secret value; templates are not in
    this version."""


class TemplateItem(Spec):
    """One key of a Secret or ConfigMap that holds a template."""

    key: DataKey
    """Key within the object."""

    template_as: Literal["Values", "KeysAndValues"] | None = None
    """Values: the text is the template of the key of the same name. KeysAndValues: the text gives a YAML mapping, so that
    keys are made by the template too. Default: Values."""


class TemplateObject(Spec):
    """A Secret or ConfigMap of the ManagedSecret's own namespace that holds templates."""

    name: Subdomain
    """Name of the object."""

    items: list[TemplateItem] = Field(min_length=1, max_length=100)
    """The keys to use as templates."""


class TemplateFrom(Spec):
    """Templates that are kept elsewhere, or written here as one text."""

    config_map: TemplateObject | None = None
    """A ConfigMap that holds templates."""

    secret: TemplateObject | None = None
    """A Secret that holds templates."""

    literal: TemplateText | None = None
    """A template that gives a YAML mapping of keys to values."""

    target: Literal["Data", "Annotations", "Labels"] | None = None
    """What the result becomes. Annotations and Labels see names and the revision only. Default: Data."""

    rules = (
        one_of(
            "exactly one of configMap, secret and literal is needed; keep one, and write a second entry for another",
            "config_map",
            "secret",
            "literal",
        ),
    )


class Template(Spec):
    """How the Secret is made from the fetched values."""

    type: SecretType | None = None
    """Type of the Secret. Allowed are Opaque, kubernetes.io/tls, kubernetes.io/dockerconfigjson, kubernetes.io/dockercfg,
    kubernetes.io/basic-auth, kubernetes.io/ssh-auth, and those that the operator's flag --allow-secret-type adds. The type
    of a Secret cannot be changed, so another type means that it is deleted and made anew. Default: Opaque."""

    metadata: TemplateMetadata | None = None
    """Labels and annotations of the Secret."""

    data: dict[DataKey, TemplateText] | None = Field(default=None, max_length=256)
    """Keys of the Secret, each with the template that gives its value, such as postgresql://{{ username }}@db/shop. The
    templates see the fetched values by their keys. Not in this version."""

    template_from: list[TemplateFrom] | None = Field(default=None, max_length=32)
    """More templates, from objects of the same namespace. Keys in data win over these. Not in this version."""

    merge_policy: Literal["Replace", "Merge"] | None = None
    """Whether the fetched keys stay beside those that templates make: Replace leaves them out, Merge keeps them. Without
    templates both mean the same. Default: Replace."""


class TargetSpec(Spec):
    """The Secret to write."""

    name: SecretName | None = None
    """Name of the Secret. Default: the name of the ManagedSecret."""

    creation_policy: Literal["Owner", "Orphan", "Merge", "CreateOrMerge", "None"] | None = None
    """Owner: the Secret is created and goes with the ManagedSecret. Orphan: it is created and stays. Merge: keys are added to
    a Secret that somebody else creates. CreateOrMerge: as Merge, and created where it is missing. None: nothing is written.
    Merge, CreateOrMerge and None are not in this version. Default: Owner."""

    deletion_policy: Literal["Retain", "Delete", "Merge"] | None = None
    """What happens when all sources are gone at the provider. Retain: the Secret stays as it is. Delete: it is deleted, and
    made anew when they return; needs creationPolicy Owner or Orphan. Merge: only our keys are taken out; not in this version.
    An outage or a denial never counts as gone. Default: Retain."""

    adopt: bool | None = None
    """Whether an existing Secret that nobody else controls may be taken over; its other keys stay. Default: false."""

    immutable: bool | None = None
    """Whether the Secret is created immutable; a new value is then reported and not written. true is not in this version.
    Default: false."""

    template: Template | None = None
    """How the Secret is made from the fetched values. Left out: the fetched keys as they are, in an Opaque Secret."""

    rules = (
        Rule(
            "!has(self.deletionPolicy) || self.deletionPolicy != 'Delete'"
            " || !has(self.creationPolicy) || self.creationPolicy in ['Owner', 'Orphan']",
            "deletionPolicy Delete needs creationPolicy Owner or Orphan, since only then the Secret is ours to delete; use Retain or Merge",
            lambda t: t.deletion_policy != "Delete" or t.creation_policy in (None, "Owner", "Orphan"),
        ),
        Rule(
            "!has(self.deletionPolicy) || self.deletionPolicy != 'Merge' || !has(self.creationPolicy) || self.creationPolicy != 'None'",
            "deletionPolicy Merge needs a creationPolicy that writes; use Retain",
            lambda t: t.deletion_policy != "Merge" or t.creation_policy != "None",
        ),
    )
