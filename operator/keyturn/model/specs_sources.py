"""Where the values of a ManagedSecret come from: one by one in ``data``, or many at once in ``dataFrom``."""

from typing import Annotated, Literal

from pydantic import Field

from keyturn.model.specs_base import Rule, Spec, one_of
from keyturn.model.specs_types import DataKey, Subdomain, Text

Key = Annotated[str, Field(min_length=1, max_length=2048)]
Conversion = Literal["Default", "Unicode", "None"]
DecodingStrategy = Literal["None", "Base64", "Base64URL", "Auto"]
Regex = Annotated[str, Field(min_length=1, max_length=1024)]


class ProviderRefSpec(Spec):
    """A SecretProvider of the same namespace, or a ClusterSecretProvider."""

    name: Subdomain
    """Name of the provider object."""

    kind: Literal["SecretProvider", "ClusterSecretProvider"] | None = None
    """Kind of the provider object: SecretProvider, of the same namespace, or ClusterSecretProvider. Default: SecretProvider."""


class RemoteRef(Spec):
    """Which value at the provider."""

    key: Key
    """Name of the secret at the provider, as the provider spells it."""

    property: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Member of a JSON value: a member of exactly this name, else a path such as a.b.0.c. Scalars become their JSON text,
    objects and arrays stay JSON. A missing member is a missing source. Left out: the whole value."""

    version: Text | None = None
    """Version or stage at the provider, such as 3, AWSPREVIOUS or uuid/<id>. Left out: the newest."""

    decoding_strategy: DecodingStrategy | None = None
    """How the value is decoded before it is written: None, Base64, Base64URL, or Auto, which decodes whatever happens to be
    valid. Default: None."""

    metadata_policy: Literal["None", "Fetch"] | None = None
    """Fetch gives the secret's tags or labels as JSON instead of its value; not in this version. Default: None."""


class ExtractRef(RemoteRef):
    """A JSON object at the provider, each member of which becomes a key."""

    conversion_strategy: Conversion | None = None
    """What becomes of characters that no Secret key may hold. Default: each becomes _. Unicode: each becomes _U and its code
    point. None: such a name is an error. Default: Default."""


class DataEntry(Spec):
    """One key of the Secret and where its value comes from."""

    secret_key: DataKey
    """Key of the Secret. Each key may be written by one entry only."""

    remote_ref: RemoteRef
    """Which value at the provider."""

    provider_ref: ProviderRefSpec | None = None
    """Provider of this one value. Left out: the provider of the ManagedSecret."""

    optional: bool | None = None
    """Whether a value that is missing at the provider is simply left out. Excludes default. Default: false."""

    default: Annotated[str, Field(max_length=65_536)] | None = None
    """Text to write where the value is missing at the provider; never after an outage or a denial. It is readable by everybody
    who may read the ManagedSecret, so it is no place for a secret. Excludes optional."""

    rules = (
        Rule(
            "!(has(self.optional) && self.optional && has(self.default))",
            "optional and default exclude each other; remove one of them",
            lambda entry: not (entry.optional and entry.default is not None),
        ),
    )


class FindName(Spec):
    """A condition on names."""

    regexp: Regex
    """Regular expression (RE2) that is found somewhere in the name; anchor it with ^ and $."""


class Find(Spec):
    """All secrets of the provider that meet the conditions."""

    path: Key | None = None
    """Prefix of the names, pushed down to the provider where it can. Left out: everything that the provider lets us list."""

    name: FindName | None = None
    """Condition on the name."""

    tags: dict[Annotated[str, Field(min_length=1, max_length=256)], Annotated[str, Field(max_length=256)]] | None = Field(
        default=None, max_length=32
    )
    """Tags or labels that a secret must have, with exactly these values."""

    conversion_strategy: Conversion | None = None
    """What becomes of characters that no Secret key may hold. Default: each becomes _. Unicode: each becomes _U and its code
    point. None: such a name is an error. Default: Default."""

    decoding_strategy: DecodingStrategy | None = None
    """How the values are decoded: None, Base64, Base64URL, or Auto. Default: None."""

    rules = (
        Rule(
            "has(self.path) || has(self.name) || has(self.tags)",
            "at least one of path, name and tags is needed; to take everything, say so with name.regexp: .*",
            lambda find: find.path is not None or find.name is not None or find.tags is not None,
        ),
    )


class RewriteRegexp(Spec):
    """Replaces what a regular expression finds in a key."""

    source: Regex
    """Regular expression (RE2) to look for."""

    target: Annotated[str, Field(max_length=1024)]
    """What replaces it; $1 stands for the first group."""


class RewriteTransform(Spec):
    """Makes a key by a template."""

    template: Annotated[str, Field(min_length=1, max_length=4096)]
    """Template that sees the key as value."""


class RewriteMerge(Spec):
    """Merges JSON objects that were found into one set of keys, or into one key."""

    into: DataKey | None = None
    """Key that takes the merged object; needed with strategy JSON."""

    strategy: Literal["Extract", "JSON"] | None = None
    """Extract: the members become keys. JSON: the merged object becomes the value of the key into. Default: Extract."""

    priority: list[Key] | None = Field(default=None, max_length=100)
    """Sources whose members win, the last one most."""

    priority_policy: Literal["Strict", "IgnoreNotFound"] | None = None
    """Whether a source in priority that is not there is an error. Default: Strict."""

    conflict_policy: Literal["Error", "Ignore"] | None = None
    """Whether two members of one name that priority does not settle are an error. Default: Error."""

    rules = (
        Rule(
            "has(self.into) == (has(self.strategy) && self.strategy == 'JSON')",
            "into is needed with strategy JSON, and only there; add it, or remove it",
            lambda merge: (merge.into is not None) == (merge.strategy == "JSON"),
        ),
    )


class Rewrite(Spec):
    """One step that changes keys. Two sources that end in one key are an error that names both."""

    regexp: RewriteRegexp | None = None
    """Replaces what a regular expression finds in each key."""

    transform: RewriteTransform | None = None
    """Makes each key anew by a template."""

    merge: RewriteMerge | None = None
    """Merges what was found."""

    rules = (
        one_of(
            "exactly one of regexp, transform and merge is needed; keep one, and write a second step for another",
            "regexp",
            "transform",
            "merge",
        ),
    )


class DataFrom(Spec):
    """Many keys from one entry; not in this version. Later entries win over earlier ones, and data wins over all of them."""

    extract: ExtractRef | None = None
    """A JSON object at the provider, each member of which becomes a key. Not in this version: name each member by property, in
    data."""

    find: Find | None = None
    """All secrets that meet a condition, each of which becomes a key. Not in this version: name each secret in data."""

    rewrite: list[Rewrite] | None = Field(default=None, max_length=16)
    """Steps that change the keys, one after the other. Not in this version."""

    provider_ref: ProviderRefSpec | None = None
    """Provider of this entry. Left out: the provider of the ManagedSecret."""

    rules = (one_of("exactly one of extract and find is needed; keep one, and write a second entry for the other", "extract", "find"),)
