"""From what users wrote to what the operator works with: total, and the last word on every spec.

Any JSON gives a noun, or `Rejected` with a message that names the field and the remedy. All that
the API server checks is checked here again, and what no schema can know comes on top: features
that are not built yet, keys that are written twice. What the operator's flags decide (more Secret types
and prefixes, roots of files) is asked in ``decide/``. No message quotes a value that could be secret.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, assert_never

from keyturn.model.errors import KeyConflict, Rejected
from keyturn.model.ids import Kind
from keyturn.model.material import SourceRef
from keyturn.model.order import (
    DEFAULT_INTERVAL_S,
    DEFAULT_SECRET_TYPE,
    ENV_PREFIX,
    Access,
    Admission,
    ConfigWithLogin,
    CreationPolicy,
    Decoding,
    DeletionPolicy,
    Entry,
    EnvConfig,
    FakeConfig,
    FileConfig,
    FileFormat,
    Order,
    ProviderConfig,
    ProviderOrder,
    ProviderRef,
    RefreshPolicy,
    Selector,
    Target,
)
from keyturn.model.parse_aws import parse_aws
from keyturn.model.parse_azure import parse_azure
from keyturn.model.parse_database import parse_database
from keyturn.model.parse_google import parse_google
from keyturn.model.parse_kubernetes import parse_kubernetes
from keyturn.model.parse_refs import NOT_BUILT, check_steering
from keyturn.model.parse_vault import parse_vault
from keyturn.model.sensitive import Sensitive
from keyturn.model.specs import ManagedSecretSpec
from keyturn.model.specs_aws import AwsSecretsManager
from keyturn.model.specs_azure import AzureKeyVault
from keyturn.model.specs_google import GoogleSecretManager
from keyturn.model.specs_kubernetes import Kubernetes
from keyturn.model.specs_provider import (
    ClusterSecretProviderSpec,
    Database,
    Env,
    Fake,
    File,
    Member,
    NamespaceCondition,
    SecretProviderSpec,
)
from keyturn.model.specs_sources import DataEntry, ProviderRefSpec
from keyturn.model.specs_target import RESERVED_NAME, TargetSpec, Template, TemplateMetadata
from keyturn.model.specs_types import LabelSelector
from keyturn.model.specs_vault import HashicorpVault
from keyturn.model.tries import MOST, tries

# Fields whose feature is not built yet. A value that asks for nothing (immutable: false, restart: None) is none of them.
_UNBUILT: Final[tuple[tuple[str, Callable[[ManagedSecretSpec], object], str], ...]] = (
    ("dataFrom", lambda spec: spec.data_from, "remove it, and name each key in data"),
    ("delivery.mode", lambda spec: spec.delivery and spec.delivery.mode == "Envelope", "use Plain"),
    ("rollout.restart", lambda spec: spec.rollout and spec.rollout.restart not in (None, "None"), "use None"),
)
_UNBUILT_IN_TARGET: Final[tuple[tuple[str, Callable[[TargetSpec], object], str], ...]] = (
    ("creationPolicy", lambda target: target.creation_policy not in (None, *CreationPolicy), "use Owner or Orphan"),
    ("deletionPolicy", lambda target: target.deletion_policy not in (None, *DeletionPolicy), "use Retain or Delete"),
    ("immutable", lambda target: target.immutable, "remove it"),
    ("template.data", lambda target: target.template and target.template.data, "remove it"),
    ("template.templateFrom", lambda target: target.template and target.template.template_from, "remove it"),
)
_NO_TARGET: Final = TargetSpec.model_construct()
_NO_TEMPLATE: Final = Template.model_construct()
_NO_METADATA: Final = TemplateMetadata.model_construct()


def parse_managed_secret(name: str, spec: object, *, strict: bool = False) -> Order:
    """Reads a ManagedSecret's spec. ``strict`` refuses unknown fields too, as a check before a manifest is applied wants it."""
    wish = ManagedSecretSpec.read(spec, strict=strict)
    for field, is_asked_for, remedy in _UNBUILT:
        if is_asked_for(wish):
            raise Rejected(f"spec.{field}: {NOT_BUILT}; {remedy}")
    return Order(
        entries=_entries(wish),
        target=_target(name, wish.target or _NO_TARGET),
        refresh=RefreshPolicy(wish.refresh_policy or RefreshPolicy.PERIODIC),
        interval_s=DEFAULT_INTERVAL_S if wish.refresh_interval is None else wish.refresh_interval,
        suspend=bool(wish.suspend),
    )


def parse_provider(kind: Kind, spec: object, namespace: str = "", *, strict: bool = False) -> ProviderOrder:
    """Reads the spec of a SecretProvider, whose references are of its own ``namespace``, or of a ClusterSecretProvider."""
    model = ClusterSecretProviderSpec if kind is Kind.CLUSTER_SECRET_PROVIDER else SecretProviderSpec
    wish = model.read(spec, kind=kind, strict=strict)
    conditions = (wish.conditions or ()) if isinstance(wish, ClusterSecretProviderSpec) else ()
    config = _config(wish.provider.member, namespace)
    if isinstance(config, ConfigWithLogin):
        check_steering(f"spec.provider.{wish.provider.member_name}", config.credential, config.references)
    return ProviderOrder(
        config=config,
        access=Access(wish.access or Access.READ_ONLY),
        admissions=tuple(_admission(f"spec.conditions[{i}]", condition) for i, condition in enumerate(conditions)),
        controller_class=wish.controller_class or "",
        member=wish.provider.member_name,
    )


def _entries(wish: ManagedSecretSpec) -> tuple[Entry, ...]:
    standard = _provider_ref(wish.provider_ref) if wish.provider_ref else None
    entries = tuple(_entry(f"spec.data[{i}]", entry, standard) for i, entry in enumerate(wish.data or ()))
    first: dict[str, Entry] = {}
    for entry in entries:
        other = first.setdefault(entry.secret_key, entry)
        if other is not entry:
            raise KeyConflict(f"{other.field} and {entry.field} both write the key {entry.secret_key}; rename or remove one of them")
    return entries


def _entry(field: str, entry: DataEntry, standard: ProviderRef | None) -> Entry:
    remote = entry.remote_ref
    if remote.metadata_policy == "Fetch":
        raise Rejected(f"{field}.remoteRef.metadataPolicy: {NOT_BUILT}; use None")
    return Entry(
        secret_key=entry.secret_key,
        provider=_provider_ref(entry.provider_ref) if entry.provider_ref else standard,
        source=SourceRef(remote.key, remote.version or ""),
        property=remote.property or "",
        decoding=Decoding(remote.decoding_strategy or Decoding.NONE),
        optional=bool(entry.optional),
        default=entry.default,
        field=field,
    )


def _provider_ref(ref: ProviderRefSpec) -> ProviderRef:
    return ProviderRef(Kind(ref.kind or Kind.SECRET_PROVIDER), ref.name)


def _target(name: str, target: TargetSpec) -> Target:
    for field, is_asked_for, remedy in _UNBUILT_IN_TARGET:
        if is_asked_for(target):
            raise Rejected(f"spec.target.{field}: {NOT_BUILT}; {remedy}")
    if target.name is None and name.startswith(RESERVED_NAME):
        raise Rejected("metadata.name: names that begin with keyturn- are the operator's own; set spec.target.name to another name")
    template = target.template or _NO_TEMPLATE
    metadata = template.metadata or _NO_METADATA
    return Target(
        name=target.name or name,
        type=template.type or DEFAULT_SECRET_TYPE,
        labels=_plain("labels", metadata.labels or {}),
        annotations=_plain("annotations", metadata.annotations or {}),
        creation=CreationPolicy(target.creation_policy or CreationPolicy.OWNER),
        deletion=DeletionPolicy(target.deletion_policy or DeletionPolicy.RETAIN),
        adopt=bool(target.adopt),
    )


def _plain(field: str, texts: Mapping[str, str]) -> Mapping[str, str]:
    for key, text in texts.items():
        if "{{" in text or "{%" in text:
            raise Rejected(f"spec.target.template.metadata.{field}[{key}]: a template {NOT_BUILT}; write the text itself")
    return texts


def _config(config: Member, namespace: str) -> ProviderConfig:
    match config:
        case Env(prefix=prefix):
            return EnvConfig(prefix or ENV_PREFIX)
        case File():
            return FileConfig(config.path, FileFormat(config.format or FileFormat.DIRECTORY))
        case Fake():
            return _fake(config)
        case HashicorpVault():
            return parse_vault(config, namespace)
        case Kubernetes():
            return parse_kubernetes(config, namespace)
        case Database():
            return parse_database(config, namespace)
        case AwsSecretsManager():
            return parse_aws(config, namespace)
        case AzureKeyVault():
            return parse_azure(config, namespace)
        case GoogleSecretManager():
            return parse_google(config, namespace)
        case _:
            assert_never(config)


def _fake(fake: Fake) -> FakeConfig:
    values: dict[SourceRef, Sensitive] = {}
    for i, item in enumerate(fake.data):
        ref = SourceRef(item.key, item.version or "")
        if ref in values:
            raise Rejected(f"spec.provider.fake.data[{i}]: this key and version is there twice; remove one of the two")
        values[ref] = Sensitive.of(item.value)
    return FakeConfig(values)


def _admission(field: str, condition: NamespaceCondition) -> Admission:
    regexes = tuple(condition.namespace_regexes or ())
    for i, regex in enumerate(regexes):
        try:
            re.compile(regex)
        except (re.error, OverflowError, RecursionError):
            raise Rejected(f"{field}.namespaceRegexes[{i}]: is not a regular expression; correct it") from None
        if tries(regex) > MOST:
            raise Rejected(
                f"{field}.namespaceRegexes[{i}]: could take too long on some names; begin it with ^, repeat less, and repeat"
                " no group that has repetitions or alternatives in it"
            )
    return Admission(
        namespaces=frozenset(condition.namespaces or ()),
        selector=_selector(condition.namespace_selector) if condition.namespace_selector else None,
        regexes=regexes,
        access=Access(condition.access or Access.READ_ONLY),
    )


def _selector(selector: LabelSelector) -> Selector:
    return Selector(
        labels=selector.match_labels or {},
        expressions=tuple((e.key, e.operator, tuple(e.values or ())) for e in selector.match_expressions or ()),
    )
